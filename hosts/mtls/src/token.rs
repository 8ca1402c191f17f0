//! The join token: one line of text whose secret never crosses the wire.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, Encoding};
use rcgen::{CertificateParams, KeyPair};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use crate::credentials::{Credentials, CredentialsError};
use crate::identity::is_label;

const PREFIX: &str = "pijoin1";
/// PKCS #8 header of an Ed25519 private key (RFC 8410, section 7); the 32 bytes of the seed follow.
const PKCS8_ED25519: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
const CHECKSUM_BYTES: usize = 5;
/// No token is longer: prefix, two names of at most 63 characters, two keys in base32, checksum and dots have 250.
const MAXIMUM_BYTES: usize = 250;

/// `pijoin1.<cluster>.<SHA-256 of the CA's public key>.<token id>.<seed>.<checksum>`, the last four in base32.
///
/// Whoever holds the text can join a node. The seed yields an Ed25519 key pair: the control plane knows the public
/// half, the joining node proves the private half in the TLS handshake. `Debug` shows no secret; [`JoinToken::to_text`]
/// does, and is meant for a file of mode 0600.
///
/// No secret is ever compared, so that no comparison can tell of it by its time: possession is shown by a signature.
#[derive(Clone)]
pub struct JoinToken {
    cluster: String,
    ca_pin: [u8; 32],
    id: String,
    seed: Zeroizing<[u8; 32]>,
}

/// A text is not a join token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not six parts, or not our prefix.
    #[error("not a join token: expected one line that begins with {PREFIX}.")]
    Form,
    /// Right form, but altered or cut.
    #[error("the join token is damaged, its checksum does not match: copy it again, whole")]
    Damaged,
    /// The system's random source failed.
    #[error("no random bytes for a new join token")]
    Random,
}

impl JoinToken {
    /// The seed of a new token, from the system's random source.
    ///
    /// # Errors
    ///
    /// [`TokenError::Random`] if there is none.
    pub fn new_seed() -> Result<Zeroizing<[u8; 32]>, TokenError> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(seed.as_mut()).map_err(|_| TokenError::Random)?;
        Ok(seed)
    }

    /// The public key that belongs to a seed.
    ///
    /// # Errors
    ///
    /// None in practice: any 32 bytes are a seed.
    pub fn public_key_of(seed: &[u8; 32]) -> Result<[u8; 32], CredentialsError> {
        let key = key_pair(seed)?;
        <[u8; 32]>::try_from(key.public_key_raw()).map_err(|_| CredentialsError::KeyMismatch)
    }

    /// Puts a token together from its seed and what the control plane answered.
    ///
    /// # Errors
    ///
    /// [`TokenError::Form`] if `cluster` or `id` could not stand in a token.
    pub fn new(cluster: &str, ca_pin: [u8; 32], id: &str, seed: Zeroizing<[u8; 32]>) -> Result<Self, TokenError> {
        let well_formed = is_label(cluster) && is_label(id);
        let token = Self { cluster: cluster.to_owned(), ca_pin, id: id.to_owned(), seed };
        well_formed.then_some(token).ok_or(TokenError::Form)
    }

    /// The cluster to join.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// SHA-256 of the SubjectPublicKeyInfo of the CA that the controller must prove.
    pub fn ca_pin(&self) -> [u8; 32] {
        self.ca_pin
    }

    /// Names the token in lists and logs; not secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole token, secret included.
    pub fn to_text(&self) -> Zeroizing<String> {
        let body = Zeroizing::new(format!(
            "{PREFIX}.{}.{}.{}.{}",
            self.cluster,
            base32().encode(&self.ca_pin),
            self.id,
            base32().encode(self.seed.as_ref()),
        ));
        Zeroizing::new(format!("{}.{}", *body, checksum(&body)))
    }

    /// A certificate of the token's key, signed by itself: what a joining node shows in the handshake.
    ///
    /// # Errors
    ///
    /// If the certificate cannot be made; none in practice.
    pub fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let key = key_pair(&self.seed)?;
        let certificate = CertificateParams::default().self_signed(&key).map_err(CredentialsError::Make)?;
        Ok(Credentials {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            roots: Vec::new(),
        })
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    /// Accepts surrounding white space, as a file has it.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() > MAXIMUM_BYTES {
            return Err(TokenError::Form);
        }
        let (body, sum) = text.rsplit_once('.').ok_or(TokenError::Form)?;
        let parts: Vec<&str> = body.split('.').collect();
        let [PREFIX, cluster, ca_pin, id, seed] = parts[..] else {
            return Err(TokenError::Form);
        };
        if checksum(body) != sum {
            return Err(TokenError::Damaged);
        }
        Self::new(cluster, bytes32(ca_pin)?, id, Zeroizing::new(bytes32(seed)?))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("cluster", &self.cluster).field("id", &self.id).finish_non_exhaustive()
    }
}

fn key_pair(seed: &[u8; 32]) -> Result<KeyPair, CredentialsError> {
    let mut der = Zeroizing::new([0; 48]);
    der[..16].copy_from_slice(&PKCS8_ED25519);
    der[16..].copy_from_slice(seed);
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der.as_slice()), &rcgen::PKCS_ED25519)
        .map_err(CredentialsError::Make)
}

fn checksum(body: &str) -> String {
    base32().encode(&digest::digest(&digest::SHA256, body.as_bytes()).as_ref()[..CHECKSUM_BYTES])
}

fn bytes32(text: &str) -> Result<[u8; 32], TokenError> {
    let bytes = base32().decode(text.as_bytes()).map_err(|_| TokenError::Form)?;
    bytes.try_into().map_err(|_| TokenError::Form)
}

/// Base32 of RFC 4648 without padding, in lower case.
fn base32() -> &'static Encoding {
    static LOWER: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
        let mut specification = BASE32_NOPAD.specification();
        specification.symbols.make_ascii_lowercase();
        specification.encoding().unwrap_or(BASE32_NOPAD)
    });
    &LOWER
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> JoinToken {
        JoinToken::new("home", [3; 32], "abc234", Zeroizing::new([5; 32])).unwrap()
    }

    #[test]
    fn text_and_back() {
        let text = token().to_text();
        let back: JoinToken = format!(" {}\n", *text).parse().unwrap();
        assert_eq!((back.cluster(), back.ca_pin(), back.id(), *back.seed), ("home", [3; 32], "abc234", [5; 32]));
        assert_eq!(text.split('.').count(), 6);
    }

    #[test]
    fn the_longest_token_is_taken() {
        let (long, seed) = ("a".repeat(63), Zeroizing::new([255; 32]));
        let text = JoinToken::new(&long, [255; 32], &long, seed).unwrap().to_text();
        assert_eq!(text.len(), MAXIMUM_BYTES);
        assert!(text.parse::<JoinToken>().is_ok());
        assert_eq!(format!("{}a", *text).parse::<JoinToken>().unwrap_err(), TokenError::Form);
    }

    #[test]
    fn debug_shows_no_secret() {
        let seed = base32().encode(&[5; 32]);
        let shown = format!("{:?}", token());
        assert!(!shown.contains(&seed) && shown.contains("abc234"), "{shown}");
    }

    #[test]
    fn the_key_is_that_of_the_certificate() {
        let credentials = token().credentials().unwrap();
        let public = JoinToken::public_key_of(&[5; 32]).unwrap();
        assert_eq!(crate::trust::ed25519_key(&credentials.chain[0]), Some(public));
    }

    /// Every single-character change is noticed: there are few enough to try them all.
    #[test]
    fn one_changed_character_is_refused() {
        let text = token().to_text();
        for at in 0..text.len() {
            for other in "abcxyz237.-A".chars().filter(|other| text.as_bytes()[at] != *other as u8) {
                let mut changed = text.to_string();
                changed.replace_range(at..=at, &other.to_string());
                assert!(changed.parse::<JoinToken>().is_err(), "{changed}");
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,300}") {
            let _ = text.parse::<JoinToken>();
        }
    }
}
