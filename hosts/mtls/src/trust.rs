//! Whose certificates are accepted.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use ring::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, ring as provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::{PeerCertificate, PeerIdentity};

/// Answers whether an Ed25519 public key is that of a live join token. Asked in the handshake: must not block.
pub type TokenKeys = Arc<dyn Fn(&[u8; 32]) -> bool + Send + Sync>;

/// Why a good certificate is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// For a time.
    Locked,
    /// For good.
    Revoked,
}

/// What stands in logs.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Locked => "locked",
            Self::Revoked => "revoked",
        })
    }
}

/// As the other end is told: there are alerts for both (`access_denied`, `certificate_revoked`).
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(match refusal {
            Refusal::Locked => CertificateError::ApplicationVerificationFailure,
            Refusal::Revoked => CertificateError::Revoked,
        })
    }
}

type Admit = Box<dyn Fn(&PeerCertificate) -> Result<(), Refusal> + Send + Sync>;

/// The cluster and the roots that a process believes; can be replaced while connections are served.
pub struct Trust {
    cluster: String,
    current: ArcSwap<Roots>,
    admit: OnceLock<Admit>,
}

struct Roots {
    store: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

/// The roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A root is no certificate.
    #[error("a CA certificate cannot be used as a root")]
    Root(#[source] Error),
    /// There are none.
    #[error("no CA certificate to trust")]
    Empty(#[source] rustls::server::VerifierBuilderError),
}

impl Trust {
    /// Trusts what `roots` issued for `cluster`, and nothing else.
    ///
    /// # Errors
    ///
    /// If there are no roots, or one of them is no certificate.
    pub fn new(cluster: &str, roots: &[CertificateDer<'static>]) -> Result<Arc<Self>, TrustError> {
        let current = ArcSwap::from_pointee(Roots::new(roots)?);
        Ok(Arc::new(Self { cluster: cluster.to_owned(), current, admit: OnceLock::new() }))
    }

    /// From the next handshake on, trusts `roots` instead.
    ///
    /// # Errors
    ///
    /// As [`Trust::new`], and nothing is replaced.
    pub fn replace(&self, roots: &[CertificateDer<'static>]) -> Result<(), TrustError> {
        self.current.store(Arc::new(Roots::new(roots)?));
        Ok(())
    }

    /// From now on, of those whose certificates are good only they are let in, as servers and as clients, whom `admit`
    /// admits. Asked in each handshake and by [`Sessions::judge_again`](crate::Sessions::judge_again): must not block. The
    /// first call counts.
    pub fn admit_by(&self, admit: impl Fn(&PeerCertificate) -> Result<(), Refusal> + Send + Sync + 'static) {
        let _ = self.admit.set(Box::new(admit)); // said above
    }

    pub(crate) fn admit(&self, shown: &PeerCertificate) -> Result<(), Refusal> {
        self.admit.get().map_or(Ok(()), |admit| admit(shown))
    }

    /// The cluster's id.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(crate) fn store(&self) -> Arc<RootCertStore> {
        self.current.load().store.clone()
    }

    /// The identity of a certificate, if it is one of this cluster's and let in.
    pub(crate) fn identify(&self, certificate: &CertificateDer<'_>) -> Result<PeerIdentity, Error> {
        let shown = self.read(certificate)?;
        self.admit(&shown)?;
        Ok(Arc::unwrap_or_clone(shown.identity))
    }

    /// What a certificate says, if it is one of this cluster's.
    pub(crate) fn read(&self, certificate: &CertificateDer<'_>) -> Result<PeerCertificate, Error> {
        let shown = PeerCertificate::read(certificate).map_err(|error| Error::General(error.to_string()))?;
        if shown.identity.cluster != self.cluster {
            let refusal = format!("the certificate is for cluster {}, not {}", shown.identity.cluster, self.cluster);
            return Err(Error::General(refusal));
        }
        Ok(shown)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Roots {
    fn new(roots: &[CertificateDer<'static>]) -> Result<Self, TrustError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone()).map_err(TrustError::Root)?;
        }
        let store = Arc::new(store);
        let provider = Arc::new(provider::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(store.clone(), provider).build().map_err(TrustError::Empty)?;
        Ok(Self { store, clients })
    }
}

/// Judges clients: a certificate of the cluster's CA with one identity in it, or the key of a live join token.
pub(crate) struct ClientVerifier {
    pub(crate) trust: Arc<Trust>,
    pub(crate) token_keys: Option<TokenKeys>,
}

impl ClientVerifier {
    /// The token's key, if the certificate is one of a live token.
    pub(crate) fn token_key(&self, certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
        let is_live = self.token_keys.as_ref()?;
        ed25519_key(certificate).filter(|key| is_live(key))
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[] // no hints: a client has one certificate, and token keys have no issuer
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.token_key(end_entity).is_some() {
            return Ok(ClientCertVerified::assertion());
        }
        let clients = self.trust.current.load().clients.clone();
        let verified = clients.verify_client_cert(end_entity, intermediates, now)?;
        self.trust.identify(end_entity).map(|_| verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier").field("trust", &self.trust).finish_non_exhaustive()
    }
}

pub(crate) fn algorithms() -> WebPkiSupportedAlgorithms {
    provider::default_provider().signature_verification_algorithms
}

pub(crate) fn only_tls13() -> Error {
    Error::General("TLS 1.3 only".to_owned())
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo: what a join token pins.
///
/// # Errors
///
/// If `certificate` is not X.509.
pub fn public_key_pin(certificate: &CertificateDer<'_>) -> Result<[u8; 32], TrustError> {
    let bad = || TrustError::Root(Error::InvalidCertificate(CertificateError::BadEncoding));
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| bad())?;
    digest::digest(&digest::SHA256, parsed.public_key().raw).as_ref().try_into().map_err(|_| bad())
}

/// The public key of a certificate, if it is Ed25519.
pub(crate) fn ed25519_key(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let key = parsed.public_key();
    (key.algorithm.algorithm == OID_SIG_ED25519).then(|| key.subject_public_key.data.as_ref().try_into().ok())?
}
