//! The certificate authority of one cluster.

use std::fmt;
use std::time::SystemTime;

use rcgen::{KeyPair, PublicKeyData, SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use crate::certificate::{BACKDATED, Certificate, Lifetime};
use crate::identity::{ClusterId, Identity};
use crate::key::PublicKey;
use crate::profile::{self, ROOT_LIFETIME};

/// Why no certificate authority could be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateCaError {
    /// The key could not be made or the certificate not signed.
    #[error("try again once the system has random numbers")]
    Sign(#[source] rcgen::Error),
    /// As for a certificate of a member.
    #[error("see that the system's clock and random numbers work")]
    Prepare(#[source] IssueError),
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

/// Issues the certificates of one cluster with a P-256 key. The names in a certificate are the issuer's alone.
pub struct Issuer {
    cluster: ClusterId,
    ca: rcgen::Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
    not_after: SystemTime,
}

impl Issuer {
    /// Makes a new authority: a P-256 key and a root of ten years that can sign members but no further authority.
    ///
    /// P-256 and not Ed25519, because clients built on BoringSSL, gRPC's for Python and C++ among them, refuse the latter.
    pub fn create(cluster: &ClusterId, now: SystemTime) -> Result<Issuer, CreateCaError> {
        let key = KeyPair::generate().map_err(CreateCaError::Sign)?;
        let params = profile::root(cluster, now).map_err(CreateCaError::Prepare)?;
        let certificate = params.self_signed(&key).map_err(CreateCaError::Sign)?.der().to_vec();
        let not_after = profile::whole_seconds(now).map_err(CreateCaError::Prepare)? + ROOT_LIFETIME;
        Ok(Issuer { cluster: cluster.clone(), ca: rcgen::Issuer::new(params, key), certificate, not_after })
    }

    /// Takes an authority up again from what [`Issuer::certificate_der`] and [`Issuer::key`] gave.
    pub fn from_der(certificate: &[u8], key: &[u8]) -> Result<Issuer, OpenCaError> {
        let (cluster, not_after, spki) = profile::read_root(certificate).ok_or(OpenCaError::Certificate)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key.into(), &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(OpenCaError::Key)?;
        if key.subject_public_key_info() != spki {
            return Err(OpenCaError::Mismatch);
        }
        let ca = rcgen::Issuer::from_ca_cert_der(&certificate.into(), key).map_err(|_| OpenCaError::Certificate)?;
        Ok(Issuer { cluster, ca, certificate: certificate.to_vec(), not_after })
    }

    /// The cluster whose identities it can vouch for.
    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// The CA's certificate, in DER: what every member of the cluster trusts.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The last moment at which the CA's certificate is valid.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The CA's private key.
    pub fn key(&self) -> CaKey {
        CaKey(Zeroizing::new(self.ca.key().serialize_der()))
    }

    /// SHA-256 of the CA's SubjectPublicKeyInfo: what a join token pins.
    pub fn ca_public_key_pin(&self) -> [u8; 32] {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.ca.key().subject_public_key_info());
        let mut pin = [0; 32];
        pin.copy_from_slice(digest.as_ref());
        pin
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
        let now = profile::whole_seconds(now)?;
        let (not_before, not_after) = (now - BACKDATED, self.not_after.min(now + lifetime.duration()));
        if not_after <= now {
            return Err(IssueError::CaExpired);
        }
        let params = profile::leaf(&self.cluster, identity, not_before, not_after)?;
        let subject = SubjectPublicKeyInfo::from_der(key.spki()).map_err(IssueError::Sign)?;
        let certificate = params.signed_by(&subject, &self.ca).map_err(IssueError::Sign)?;
        Ok(Certificate { der: certificate.der().to_vec(), not_before, not_after })
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}
