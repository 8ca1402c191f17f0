//! PEM text to DER. The only place that knows rustls-pemfile, which is archived (RUSTSEC-2025-0134): to replace it,
//! replace [`parse`].

use std::fmt::Write as _;

use data_encoding::BASE64;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_pemfile::Item;

/// What a PEM text held.
pub struct Pem {
    /// Certificates in the order of the text.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The first private key, if there is one.
    pub key: Option<PrivateKeyDer<'static>>,
    /// The first certificate request, DER, if there is one.
    pub request: Option<Vec<u8>>,
}

/// A text is not PEM.
#[derive(Debug, thiserror::Error)]
#[error("not a PEM text: expected certificates, a private key or a certificate request between BEGIN and END lines")]
pub struct PemError(#[source] std::io::Error);

/// Reads every certificate, the first private key and the first certificate request of `text`; other items are passed over.
///
/// # Errors
///
/// [`PemError`] if a section is cut off or its base64 is broken. An empty text is no error, but holds nothing.
pub fn parse(text: &[u8]) -> Result<Pem, PemError> {
    let mut pem = Pem { certificates: Vec::new(), key: None, request: None };
    for item in rustls_pemfile::read_all(&mut &*text) {
        let key = match item.map_err(PemError)? {
            Item::X509Certificate(certificate) => {
                pem.certificates.push(certificate);
                continue;
            }
            Item::Csr(request) => {
                pem.request.get_or_insert(request.to_vec());
                continue;
            }
            Item::Pkcs8Key(key) => PrivateKeyDer::Pkcs8(key),
            Item::Sec1Key(key) => PrivateKeyDer::Sec1(key),
            Item::Pkcs1Key(key) => PrivateKeyDer::Pkcs1(key),
            _ => continue,
        };
        pem.key.get_or_insert(key);
    }
    Ok(pem)
}

/// Writes one PEM section (RFC 7468: lines of 64 characters) with the given label, such as `CERTIFICATE`.
pub fn write(label: &str, der: &[u8]) -> String {
    let base64 = BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(64) {
        // base64 is ASCII, so that any cut is a character boundary
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote() {
        let text = write("CERTIFICATE", &[7; 100]) + &write("PRIVATE KEY", &[9; 50]);
        let text = text + &write("CERTIFICATE REQUEST", &[8; 70]);
        let pem = parse(text.as_bytes()).unwrap();
        assert_eq!(pem.certificates, [CertificateDer::from(vec![7; 100])]);
        assert_eq!(pem.key.unwrap().secret_der(), [9; 50]);
        assert_eq!(pem.request.unwrap(), [8; 70]);
    }

    #[test]
    fn a_cut_section_is_an_error() {
        let text = write("CERTIFICATE", &[7; 100]);
        assert!(parse(&text.as_bytes()[..80]).is_err());
    }
}
