//! What an operator carries: one file with everything that is needed to call the cluster.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::credentials::{Credentials, CredentialsError, OwnCertificate};
use crate::dialer::Dialer;
use crate::files::{read_private, write_private};
use crate::identity::{Kind, PeerIdentity};
use crate::pem;
use crate::trust::Trust;

/// Nothing that was issued is larger.
const ISSUED_BYTES: u64 = 64 * 1024;

/// An operator's certificate, key and roots, and where the control plane listens. Secret: it holds the key.
#[derive(Debug)]
pub struct Context {
    /// `host:port` of the control plane.
    pub controller: String,
    /// Who the operator is.
    pub identity: PeerIdentity,
    /// Certificate, key and roots.
    pub credentials: Credentials,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    controller: String,
    ca: String,
    certificate: String,
    key: String,
}

/// The same without the key, which whoever issued it never saw.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuedFile {
    controller: String,
    ca: String,
    certificate: String,
}

/// All of a context but its key, for whoever has that. Not secret.
#[derive(Clone, Debug)]
pub struct Issued {
    /// `host:port` of the control plane.
    pub controller: String,
    /// The operator's certificate, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// CA certificates to be trusted.
    pub roots: Vec<CertificateDer<'static>>,
}

/// A context cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// One of its parts, or the file itself.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It is no context.
    #[error("{0} is not a context: expected controller, ca, certificate and, in a context, key")]
    Form(String, #[source] Box<toml::de::Error>),
    /// It cannot be put into a file.
    #[error("the context cannot be written")]
    Write(#[source] toml::ser::Error),
    /// It cannot be read.
    #[error("cannot read {0}")]
    Read(String, #[source] std::io::Error),
    /// It holds no certificate, or one for another key.
    #[error(
        "{0} holds no certificate for this key: expected controller, ca and certificate, for the request that was made with it"
    )]
    NotForKey(String),
    /// Its certificate is not an operator's.
    #[error("the certificate in {0} is not an operator's")]
    NotAnOperator(String),
    /// Its roots cannot be used.
    #[error(transparent)]
    Trust(#[from] crate::trust::TrustError),
}

impl Issued {
    /// Writes it to `path`.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn store(&self, path: &Path) -> Result<(), ContextError> {
        let Self { controller, chain, roots } = self;
        let pem = |certificates: &[CertificateDer<'_>]| {
            certificates.iter().map(|certificate| pem::write("CERTIFICATE", certificate)).collect::<String>()
        };
        let file = IssuedFile { controller: controller.clone(), ca: pem(roots), certificate: pem(chain) };
        let text = toml::to_string_pretty(&file).map_err(ContextError::Write)?;
        write_private(path, text.as_bytes()).map_err(CredentialsError::from)?;
        Ok(())
    }
}

impl Context {
    /// Reads a file of mode 0600.
    ///
    /// # Errors
    ///
    /// If it is missing, can be read by others, or is no context of an operator.
    pub fn load(path: &Path) -> Result<Self, ContextError> {
        let place = path.display().to_string();
        let text = String::from_utf8_lossy(&read_private(path).map_err(CredentialsError::from)?).into_owned();
        let File { controller, ca, certificate, key } =
            toml::from_str(&text).map_err(|error| ContextError::Form(place.clone(), Box::new(error)))?;
        let credentials = Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes(), &place)?;
        let identity = credentials.chain.first().and_then(|leaf| PeerIdentity::from_certificate(leaf).ok());
        match identity.filter(|identity| identity.kind == Kind::Operator) {
            Some(identity) => Ok(Self { controller, identity, credentials }),
            None => Err(ContextError::NotAnOperator(place)),
        }
    }

    /// Writes it to `path`, with mode 0600.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn store(path: &Path, controller: &str, credentials: &Credentials) -> Result<(), ContextError> {
        let file = File {
            controller: controller.to_owned(),
            ca: credentials.roots_pem(),
            certificate: credentials.chain_pem(),
            key: credentials.key_pem(),
        };
        let text = toml::to_string_pretty(&file).map_err(ContextError::Write)?;
        write_private(path, text.as_bytes()).map_err(CredentialsError::from)?;
        Ok(())
    }

    /// Writes a context to `path`, with mode 0600, of a key and the file `issued` that [`Issued::store`] wrote for it.
    ///
    /// # Errors
    ///
    /// If one of the files is missing or something else, or they do not belong together.
    pub fn put_together(issued: &Path, key: &Path, path: &Path) -> Result<(), ContextError> {
        let place = issued.display().to_string();
        let mut text = String::new();
        let read = std::fs::File::open(issued).and_then(|file| file.take(ISSUED_BYTES).read_to_string(&mut text));
        read.map_err(|error| ContextError::Read(place.clone(), error))?;
        let IssuedFile { controller, ca, certificate } =
            toml::from_str(&text).map_err(|error| ContextError::Form(place.clone(), Box::new(error)))?;
        let key = read_private(key).map_err(CredentialsError::from)?;
        let credentials = Credentials::from_pem(certificate.as_bytes(), &key, ca.as_bytes(), &place)?;
        OwnCertificate::new(&credentials).map_err(|_| ContextError::NotForKey(place))?;
        Self::store(path, &controller, &credentials)
    }

    /// A dialer that shows the operator's certificate.
    ///
    /// # Errors
    ///
    /// If certificate and key do not fit, or the roots cannot be used.
    pub fn dialer(&self) -> Result<Dialer, ContextError> {
        let own: Arc<OwnCertificate> = OwnCertificate::new(&self.credentials)?;
        Ok(Dialer::new(own, Trust::new(&self.identity.cluster, &self.credentials.roots)?))
    }
}
