//! Join tokens, of which the control plane knows the public half only.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use data_encoding::BASE32_NOPAD;

use crate::audit::{AuditRow, Outcome};
use crate::control::{Change, Control, Decision};
use crate::identity::{Identity, Name};

/// The longest a token can live.
const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The most nodes that one token can enrol.
const MAX_USES: u32 = 1000;

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
    /// How many more nodes it can enrol.
    pub uses_left: u32,
    /// The only name that it can enrol; any name if absent.
    pub bound_name: Option<Name>,
    /// Who had it made.
    pub created_by: Identity,
    /// When it was made.
    pub created_at: SystemTime,
}

impl TokenRecord {
    /// Whether its time is not over. Says nothing of the uses that are left.
    pub fn is_live(&self, now: SystemTime) -> bool {
        now < self.expires
    }
}

/// What a new token is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSpec {
    /// The Ed25519 public key of the seed, which stays with whoever drew it.
    pub public_key: [u8; 32],
    /// How long it lives from now: more than 0, at most 7 days.
    pub ttl: Duration,
    /// How many nodes it can enrol: 1 to 1000.
    pub uses: u32,
    /// The only name that it can enrol.
    pub bound_name: Option<Name>,
}

/// Why no token was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateTokenRefusal {
    /// The lifetime is 0 or too long.
    #[error("choose a lifetime of at most 7 days")]
    Ttl,
    /// The number of uses is out of range.
    #[error("choose 1 to 1000 uses")]
    Uses,
    /// The key is that of a token that was made before, live or not.
    #[error("draw a new seed: the token {0} has this key")]
    Exists(TokenId),
}

impl Control {
    /// Makes a join token. Whether `who` may is asked of [`Control::authorize`] before.
    pub fn create_token(
        &self,
        now: SystemTime,
        who: &Identity,
        spec: TokenSpec,
    ) -> Decision<Result<TokenRecord, CreateTokenRefusal>> {
        let id = TokenId::of(&spec.public_key);
        let row = |outcome, detail| AuditRow {
            at: now,
            who: who.to_string(),
            action: "token.create".into(),
            subject: format!("token/{id}"),
            outcome,
            detail,
        };
        if let Err(refusal) = self.check_token(&spec) {
            let row = row(Outcome::Denied, refusal.to_string());
            return Decision { changes: vec![Change::Audit(row)], answer: Err(refusal) };
        }
        let record = TokenRecord {
            id,
            public_key: spec.public_key,
            expires: now + spec.ttl,
            uses_left: spec.uses,
            bound_name: spec.bound_name,
            created_by: who.clone(),
            created_at: now,
        };
        let row = row(Outcome::Allowed, format!("{} uses, {} s", spec.uses, spec.ttl.as_secs()));
        Decision { changes: vec![Change::PutToken(record.clone()), Change::Audit(row)], answer: Ok(record) }
    }

    fn check_token(&self, spec: &TokenSpec) -> Result<(), CreateTokenRefusal> {
        if spec.ttl.is_zero() || spec.ttl > MAX_TTL {
            return Err(CreateTokenRefusal::Ttl);
        }
        if !(1..=MAX_USES).contains(&spec.uses) {
            return Err(CreateTokenRefusal::Uses);
        }
        match self.token(&spec.public_key) {
            Some(token) => Err(CreateTokenRefusal::Exists(token.id)),
            None => Ok(()),
        }
    }
}
