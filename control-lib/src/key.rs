//! Public keys: the two kinds we accept, in the one encoding we accept.

use x509_parser::prelude::{FromDer, X509Certificate};

/// A SubjectPublicKeyInfo of a P-256 key up to the point itself (RFC 5480).
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// A SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410).
const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a public key was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither a P-256 point in full (uncompressed) nor an Ed25519 key.
    #[error("use a P-256 or an Ed25519 key")]
    Algorithm,
    /// The bytes are no certificate, or more than one.
    #[error("send exactly one certificate in DER")]
    Certificate,
}

/// A P-256 or Ed25519 public key as DER SubjectPublicKeyInfo.
///
/// Each key has exactly one accepted encoding, so equal keys are equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(Box<[u8]>);

impl PublicKey {
    /// Takes a DER SubjectPublicKeyInfo. Whether a P-256 point lies on the curve shows when it is first used.
    pub fn from_spki(der: &[u8]) -> Result<PublicKey, KeyError> {
        let known = |prefix: &[u8], rest: usize| der.strip_prefix(prefix).is_some_and(|key| key.len() == rest);
        if known(P256, 64) || known(ED25519, 32) { Ok(PublicKey(der.into())) } else { Err(KeyError::Algorithm) }
    }

    /// The public key inside a DER certificate. The certificate's signature and dates are not looked at.
    pub fn from_certificate(der: &[u8]) -> Result<PublicKey, KeyError> {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => PublicKey::from_spki(certificate.public_key().raw),
            _ => Err(KeyError::Certificate),
        }
    }

    /// The key as DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.0
    }

    /// SHA-256 of the key as DER SubjectPublicKeyInfo.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &self.0).as_ref());
        fingerprint
    }

    /// The bare 32 bytes of an Ed25519 key; `None` for P-256.
    pub fn ed25519(&self) -> Option<[u8; 32]> {
        self.0.strip_prefix(ED25519)?.try_into().ok()
    }
}
