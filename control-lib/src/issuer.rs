//! One root of a cluster, and what its key does.

use std::fmt;
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use rcgen::{KeyPair, PublicKeyData, SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use crate::certificate::{BACKDATED, Certificate, Lifetime};
use crate::identity::{ClusterId, Identity};
use crate::key::PublicKey;
use crate::profile::{self, RootFacts};

/// Why no certificate authority could be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateCaError {
    /// The key could not be made or the certificate not signed.
    #[error("try again once the system has random numbers")]
    Sign(#[source] rcgen::Error),
    /// As for a certificate of a member.
    #[error("see that the system's clock and random numbers work")]
    Prepare(#[source] IssueError),
    /// What was made cannot be read back.
    #[error("try again: the new CA cannot be read back")]
    Open(#[source] OpenCaError),
}

/// Why a stored certificate authority could not be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenCaError {
    /// The bytes are no CA certificate made by [`Issuer::create`].
    #[error("restore the CA certificate from a backup: it is not one made by init")]
    Certificate,
    /// The key cannot be read.
    #[error("restore the CA key from a backup: it is no P-256 key in PKCS #8")]
    Key(#[source] rcgen::Error),
    /// Key and certificate are two different authorities.
    #[error("restore CA key and certificate from the same backup: they do not belong together")]
    Mismatch,
}

/// Why no certificate could be issued. None of these is the asker's fault.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// `now` cannot be written into a certificate.
    #[error("set the system's clock: it is before 1970 or after 9999")]
    Clock,
    /// The CA's own certificate is past its end.
    #[error("rotate the CA: its certificate has expired")]
    CaExpired,
    /// The CA's key is not here.
    #[error("restore the CA key from a backup, or make a new one with the recovery key: it is not here")]
    NoKey,
    /// The operating system gave no random serial number.
    #[error("try again once the system has random numbers")]
    Random,
    /// The certificate could not be encoded or signed.
    #[error("look at the CA key: it cannot sign")]
    Sign(#[source] rcgen::Error),
}

/// The CA's private key as PKCS #8 DER. Erased from memory when dropped; `Debug` shows nothing of it.
pub struct CaKey(Zeroizing<Vec<u8>>);

impl CaKey {
    /// The secret, for writing it to where secrets are kept.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CaKey(..)")
    }
}

/// Names a root: the first 8 bytes of the SHA-256 of its public key, in hexadecimal. Not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootId([u8; 8]);

impl fmt::Display for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// A root of one cluster, and if its key is here what issues the cluster's certificates (P-256). The names in a
/// certificate are the issuer's alone.
pub struct Issuer {
    facts: RootFacts,
    pin: [u8; 32],
    certificate: Vec<u8>,
    ca: Option<rcgen::Issuer<'static, KeyPair>>,
}

impl Issuer {
    /// Makes a new authority: a P-256 key and a root of ten years that can sign members, and certify one other root.
    ///
    /// P-256 and not Ed25519, because clients built on BoringSSL, gRPC's for Python and C++ among them, refuse the latter.
    pub fn create(cluster: &ClusterId, now: SystemTime) -> Result<Issuer, CreateCaError> {
        Issuer::create_named(cluster, "root", now)
    }

    /// Makes the root whose key is kept away from the cluster, for the day on which the other key is lost. As
    /// [`Issuer::create`] but for its name.
    pub fn create_recovery(cluster: &ClusterId, now: SystemTime) -> Result<Issuer, CreateCaError> {
        Issuer::create_named(cluster, "recovery", now)
    }

    /// The name holds a part of the key's hash, so that no two roots of a cluster have the same: whoever builds a chain
    /// by names finds the right one.
    fn create_named(cluster: &ClusterId, what: &str, now: SystemTime) -> Result<Issuer, CreateCaError> {
        let key = KeyPair::generate().map_err(CreateCaError::Sign)?;
        let name = format!("{what}-{}", RootId::of(&pin_of(&key.subject_public_key_info())));
        let params = profile::root(cluster, &name, now).map_err(CreateCaError::Prepare)?;
        let certificate = params.self_signed(&key).map_err(CreateCaError::Sign)?;
        Issuer::from_der(certificate.der(), &key.serialize_der()).map_err(CreateCaError::Open)
    }

    /// Takes an authority up again from what [`Issuer::certificate_der`] and [`Issuer::key`] gave.
    pub fn from_der(certificate: &[u8], key: &[u8]) -> Result<Issuer, OpenCaError> {
        let issuer = Issuer::without_key(certificate)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key.into(), &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(OpenCaError::Key)?;
        if key.subject_public_key_info() != issuer.facts.spki {
            return Err(OpenCaError::Mismatch);
        }
        let ca = rcgen::Issuer::from_ca_cert_der(&certificate.into(), key).map_err(|_| OpenCaError::Certificate)?;
        Ok(Issuer { ca: Some(ca), ..issuer })
    }

    /// The root alone: it can be believed, and it can tell what it has signed, but it signs nothing.
    pub fn without_key(certificate: &[u8]) -> Result<Issuer, OpenCaError> {
        let facts = profile::read_root(certificate).ok_or(OpenCaError::Certificate)?;
        Ok(Issuer { pin: pin_of(&facts.spki), facts, certificate: certificate.to_vec(), ca: None })
    }

    /// Its name among the cluster's roots.
    pub fn id(&self) -> RootId {
        RootId::of(&self.pin)
    }

    /// The cluster whose identities it can vouch for.
    pub fn cluster(&self) -> &ClusterId {
        &self.facts.cluster
    }

    /// The CA's certificate, in DER: what every member of the cluster trusts.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The last moment at which the CA's certificate is valid.
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// The CA's private key, if it is here.
    pub fn key(&self) -> Option<CaKey> {
        self.ca.as_ref().map(|ca| CaKey(Zeroizing::new(ca.key().serialize_der())))
    }

    /// Whether it can sign.
    pub fn has_key(&self) -> bool {
        self.ca.is_some()
    }

    /// SHA-256 of the CA's SubjectPublicKeyInfo: what a join token pins.
    pub fn ca_public_key_pin(&self) -> [u8; 32] {
        self.pin
    }

    /// Whether a certificate, in DER, names this root's key as the one that signed it. The signature is not checked: for
    /// certificates that the cluster issued itself.
    pub fn issued(&self, certificate: &[u8]) -> bool {
        profile::signer_identifier(certificate).is_some_and(|signer| signer == self.facts.key_identifier)
    }

    /// Certifies that `key` is `identity`'s, from one hour before `now` until `lifetime` after it, or until the CA's
    /// own end if that comes first.
    ///
    /// The certificate has one URI, one DNS name, the name as its subject, a random 128-bit serial number, and may be
    /// used for a client; for a server only if it is a node's or a controller's.
    pub fn issue(
        &self,
        key: &PublicKey,
        identity: &Identity,
        now: SystemTime,
        lifetime: Lifetime,
    ) -> Result<Certificate, IssueError> {
        let ca = self.ca.as_ref().ok_or(IssueError::NoKey)?;
        let now = profile::whole_seconds(now)?;
        let (not_before, not_after) = (now - BACKDATED, self.not_after().min(now + lifetime.duration()));
        if not_after <= now {
            return Err(IssueError::CaExpired);
        }
        let params = profile::leaf(self.cluster(), identity, not_before, not_after)?;
        let subject = SubjectPublicKeyInfo::from_der(key.spki()).map_err(IssueError::Sign)?;
        let certificate = params.signed_by(&subject, ca).map_err(IssueError::Sign)?;
        Ok(Certificate { der: certificate.der().to_vec(), not_before, not_after })
    }

    /// Certifies another root of the same cluster, under its name: whoever believes this root then believes what the
    /// other signs, as long as both are valid. In DER.
    pub fn certify_root(&self, other: &Issuer) -> Result<Vec<u8>, IssueError> {
        let ca = self.ca.as_ref().ok_or(IssueError::NoKey)?;
        let not_before = self.facts.not_before.max(other.facts.not_before);
        let params = profile::cross(&other.facts, not_before, self.not_after().min(other.not_after()))?;
        let subject = SubjectPublicKeyInfo::from_der(&other.facts.spki).map_err(IssueError::Sign)?;
        Ok(params.signed_by(&subject, ca).map_err(IssueError::Sign)?.der().to_vec())
    }
}

impl RootId {
    fn of(pin: &[u8; 32]) -> RootId {
        let mut id = [0; 8];
        id.copy_from_slice(&pin[..8]);
        RootId(id)
    }
}

fn pin_of(spki: &[u8]) -> [u8; 32] {
    let mut pin = [0; 32];
    pin.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, spki).as_ref());
    pin
}

/// One root is one certificate.
impl PartialEq for Issuer {
    fn eq(&self, other: &Issuer) -> bool {
        self.certificate == other.certificate
    }
}

impl Eq for Issuer {}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("cluster", self.cluster()).field("root", &self.id()).finish_non_exhaustive()
    }
}
