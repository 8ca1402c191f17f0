//! Join tokens, of which the control plane knows the public half only.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use data_encoding::BASE32_NOPAD;

use crate::identity::{Identity, Name};
use crate::labels::Labels;
use crate::text::Text;

/// The name of a token: 16 characters of base32 in lower case, the start of its public key's SHA-256.
///
/// It is derived from the key, so whoever has the token can tell its name, and nobody has to draw one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 10]);

impl TokenId {
    /// The name of the token whose Ed25519 public key this is.
    pub fn of(public_key: &[u8; 32]) -> TokenId {
        let digest = ring::digest::digest(&ring::digest::SHA256, public_key);
        let mut id = [0; 10];
        id.copy_from_slice(&digest.as_ref()[..10]);
        TokenId(id)
    }
}

/// The text is no [`TokenId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give the 16 characters that name the token")]
pub struct TokenIdError;

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<TokenId, TokenIdError> {
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| TokenIdError)?;
        bytes.try_into().map(TokenId).map_err(|_| TokenIdError)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

/// What is kept of a token. Whoever has the seed can join; the seed is not here and cannot be had from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its name, [`TokenId::of`] its key.
    pub id: TokenId,
    /// Its Ed25519 public key.
    pub public_key: [u8; 32],
    /// The first moment at which it is no longer good.
    pub expires: SystemTime,
    /// How many nodes it was made for.
    pub uses: u32,
    /// How many more nodes it can enrol.
    pub uses_left: u32,
    /// The only name that it can enrol; any name if absent.
    pub bound_name: Option<Name>,
    /// The serial number of the only board that it can enrol; any board if absent. A board says its serial number itself:
    /// this keeps boards from being mixed up, and thieves out as far as they do not know the number.
    pub bound_serial: Option<Text>,
    /// The labels that its nodes are assigned.
    pub labels: Labels,
    /// Whether its nodes may add labels of their own. Rights that are limited by label then depend on what a node says.
    pub own_labels: bool,
    /// Whether its nodes wait until an operator approves them.
    pub approval: bool,
    /// When an operator took it back; absent if nobody did.
    pub revoked_at: Option<SystemTime>,
    /// Who had it made.
    pub created_by: Identity,
    /// When it was made.
    pub created_at: SystemTime,
}

impl TokenRecord {
    /// Whether its time is not over and nobody took it back. Says nothing of the uses that are left.
    pub fn is_live(&self, now: SystemTime) -> bool {
        now < self.expires && self.revoked_at.is_none()
    }
}
