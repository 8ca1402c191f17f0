//! Certificate requests, of which nothing but the public key is believed.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::key::{KeyError, PublicKey};

/// A request for an accepted key has a few hundred bytes; what is larger asks for something else.
const MAX_BYTES: usize = 8 * 1024;

/// Why a certificate request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// More than 8 KiB.
    #[error("send a certificate request of at most 8192 bytes, not {0}")]
    TooLarge(usize),
    /// The bytes are no PKCS #10 request in DER.
    #[error("send a certificate request in DER, not in PEM")]
    Malformed,
    /// Bytes after the request.
    #[error("remove the {0} bytes after the certificate request")]
    Trailing(usize),
    /// The key is of a kind or in an encoding that is not accepted.
    #[error("make the certificate request for another key")]
    Key(#[source] KeyError),
    /// The request is not signed by its own key.
    #[error("sign the certificate request with its own key")]
    Signature,
}

impl PublicKey {
    /// Takes the public key out of a DER certificate request and nothing else: names, usages, extensions and
    /// attributes are ignored, whatever they wish for.
    ///
    /// The request is signed by its own key, so whoever sent it (or an earlier sender, if it was copied) has that key.
    pub fn from_csr(der: &[u8]) -> Result<PublicKey, CsrError> {
        if der.len() > MAX_BYTES {
            return Err(CsrError::TooLarge(der.len()));
        }
        let (rest, csr) = X509CertificationRequest::from_der(der).map_err(|_| CsrError::Malformed)?;
        if !rest.is_empty() {
            return Err(CsrError::Trailing(rest.len()));
        }
        let key = PublicKey::from_spki(csr.certification_request_info.subject_pki.raw).map_err(CsrError::Key)?;
        csr.verify_signature().map_err(|_| CsrError::Signature)?;
        Ok(key)
    }
}
