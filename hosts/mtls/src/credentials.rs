//! A certificate, its key and the roots that come with it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, crypto::ring as provider};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::files::{FileError, read_private, write_private};
use crate::pem;

const CERTIFICATE_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
const ROOTS_FILE: &str = "ca.pem";

/// What a peer needs to prove itself and to know others.
pub struct Credentials {
    /// Leaf first, then what leads to the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKeyDer<'static>,
    /// CA certificates whose peers are trusted. Empty while joining: then the token pins the CA.
    pub roots: Vec<CertificateDer<'static>>,
}

/// Credentials could not be made, loaded or stored.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds something else.
    #[error("{0}")]
    Pem(String, #[source] pem::PemError),
    /// Something is not there.
    #[error("no {what} in {place}")]
    Missing {
        /// Certificate or private key.
        what: &'static str,
        /// Where it was looked for.
        place: String,
    },
    /// Certificate and key are not a pair, or the key is of a type that TLS cannot use.
    #[error("the private key does not belong to the certificate: replace both together")]
    KeyMismatch,
    /// The cryptography failed.
    #[error("cannot make a key or certificate")]
    Make(#[source] rcgen::Error),
}

impl Credentials {
    /// Reads `cert.pem`, `key.pem` and `ca.pem` of a folder.
    ///
    /// # Errors
    ///
    /// If one is missing, is no PEM, or can be read by others.
    pub fn load(folder: &Path) -> Result<Self, CredentialsError> {
        let text = |file| read_private(&folder.join(file));
        Self::from_pem(&text(CERTIFICATE_FILE)?, &text(KEY_FILE)?, &text(ROOTS_FILE)?, &folder.display().to_string())
    }

    /// Takes them from three PEM texts; `place` is named in errors.
    ///
    /// # Errors
    ///
    /// If one of the texts does not hold what it should.
    pub fn from_pem(chain: &[u8], key: &[u8], roots: &[u8], place: &str) -> Result<Self, CredentialsError> {
        let parse = |text| pem::parse(text).map_err(|error| CredentialsError::Pem(place.to_owned(), error));
        let missing = |what| CredentialsError::Missing { what, place: place.to_owned() };
        let (chain, roots) = (parse(chain)?.certificates, parse(roots)?.certificates);
        let key = parse(key)?.key.ok_or_else(|| missing("private key"))?;
        if chain.is_empty() || roots.is_empty() {
            return Err(missing("certificate"));
        }
        Ok(Self { chain, key, roots })
    }

    /// Writes the three files, key first, each whole or not at all.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn store(&self, folder: &Path) -> Result<(), CredentialsError> {
        write_private(&folder.join(KEY_FILE), self.key_pem().as_bytes())?;
        write_private(&folder.join(ROOTS_FILE), certificates_pem(&self.roots).as_bytes())?;
        // Last: whoever finds a certificate finds all three.
        write_private(&folder.join(CERTIFICATE_FILE), self.chain_pem().as_bytes())?;
        Ok(())
    }

    /// Replaces the roots alone, whole or not at all.
    ///
    /// # Errors
    ///
    /// If the system refuses; the old ones are then still there.
    pub fn store_roots(folder: &Path, roots: &[CertificateDer<'_>]) -> Result<(), FileError> {
        write_private(&folder.join(ROOTS_FILE), certificates_pem(roots).as_bytes())
    }

    /// Whether [`Credentials::store`] has completed in this folder.
    pub fn exist(folder: &Path) -> bool {
        folder.join(CERTIFICATE_FILE).exists()
    }

    /// The chain as PEM.
    pub fn chain_pem(&self) -> String {
        certificates_pem(&self.chain)
    }

    /// The roots as PEM.
    pub fn roots_pem(&self) -> String {
        certificates_pem(&self.roots)
    }

    /// The private key as PEM. A secret.
    pub fn key_pem(&self) -> String {
        pem::write("PRIVATE KEY", self.key.secret_der())
    }

    fn certified_key(&self) -> Result<Arc<CertifiedKey>, CredentialsError> {
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider::default_provider())
            .map(Arc::new)
            .map_err(|_| CredentialsError::KeyMismatch)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

fn certificates_pem(certificates: &[CertificateDer<'_>]) -> String {
    certificates.iter().map(|certificate| pem::write("CERTIFICATE", certificate)).collect()
}

/// A key that a process made for itself (P-256); it never leaves the machine.
pub struct OwnKey(KeyPair);

impl OwnKey {
    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
    pub fn generate() -> Result<Self, CredentialsError> {
        KeyPair::generate().map(Self).map_err(CredentialsError::Make)
    }

    /// Reads the key of `path`, or makes one and stores it there first: who asks again after a lost answer
    /// must ask with the same key.
    ///
    /// # Errors
    ///
    /// If the file can neither be read nor made.
    pub fn load_or_create(path: &Path) -> Result<Self, CredentialsError> {
        let text = match read_private(path) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => {
                let key = Self::generate()?;
                write_private(path, pem::write("PRIVATE KEY", key.0.serialized_der()).as_bytes())?;
                return Ok(key);
            }
            Err(error) => return Err(error.into()),
        };
        let place = path.display().to_string();
        let pem = pem::parse(&text).map_err(|error| CredentialsError::Pem(place.clone(), error))?;
        let der = pem.key.ok_or(CredentialsError::Missing { what: "private key", place })?;
        KeyPair::try_from(&der).map(Self).map_err(CredentialsError::Make)
    }

    /// A certificate request (PKCS #10, DER) that proves possession and wishes for nothing.
    ///
    /// # Errors
    ///
    /// If signing fails; none in practice.
    pub fn csr(&self) -> Result<Vec<u8>, CredentialsError> {
        let request = CertificateParams::default().serialize_request(&self.0).map_err(CredentialsError::Make)?;
        Ok(request.der().to_vec())
    }

    /// The key itself.
    pub fn into_private_key(self) -> PrivateKeyDer<'static> {
        self.0.into()
    }
}

/// The certificate that this process shows, as server and as client; can be replaced while connections are served.
#[derive(Debug)]
pub struct OwnCertificate(ArcSwap<CertifiedKey>);

impl OwnCertificate {
    /// Starts with `credentials`.
    ///
    /// # Errors
    ///
    /// [`CredentialsError::KeyMismatch`] if key and certificate do not fit.
    pub fn new(credentials: &Credentials) -> Result<Arc<Self>, CredentialsError> {
        Ok(Arc::new(Self(ArcSwap::new(credentials.certified_key()?))))
    }

    /// From the next handshake on, shows `credentials`. Connections that exist go on.
    ///
    /// # Errors
    ///
    /// [`CredentialsError::KeyMismatch`], and nothing is replaced.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), CredentialsError> {
        self.0.store(credentials.certified_key()?);
        Ok(())
    }
}

impl OwnCertificate {
    /// From when until when the certificate that is shown now is valid; `None` if it cannot be read.
    pub fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        let current = self.0.load();
        let (_, certificate) = X509Certificate::from_der(current.cert.first()?).ok()?;
        let time = |seconds: i64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().ok()?));
        let validity = certificate.validity();
        Some((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
