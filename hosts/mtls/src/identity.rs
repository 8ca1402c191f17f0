//! Certificate to identity.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ring::digest;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What kind of peer a certificate was issued to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A Pi.
    Node,
    /// A person or a program acting for one.
    Operator,
    /// An instance of the control plane.
    Controller,
}

impl Kind {
    /// As it stands in identities: `node`, `operator`, `controller`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Operator => "operator",
            Self::Controller => "controller",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Node, Self::Operator, Self::Controller].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The identity that an issuer wrote into a certificate: `spiffe://<cluster>/<kind>/<name>`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerIdentity {
    /// The cluster whose CA issued the certificate.
    pub cluster: String,
    /// What kind of peer it is.
    pub kind: Kind,
    /// Its name, unique within cluster and kind.
    pub name: String,
}

/// A certificate names no peer of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not X.509.
    #[error("the certificate cannot be parsed")]
    Unreadable,
    /// Not exactly one URI among the subject alternative names.
    #[error("the certificate has {0} URI names where exactly one is expected")]
    UriCount(usize),
    /// The URI has another shape.
    #[error("the certificate's URI name is not spiffe://<cluster>/<kind>/<name>")]
    Form,
}

impl PeerIdentity {
    /// Reads the identity of a certificate. Does not check who issued it: [`crate::Trust`] does.
    ///
    /// # Errors
    ///
    /// If the certificate cannot be parsed, or has not exactly one URI SAN of our form.
    pub fn from_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Unreadable)?;
        Self::of(&certificate)
    }

    fn of(certificate: &X509Certificate<'_>) -> Result<Self, IdentityError> {
        let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let uris: Vec<&str> = names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        match uris[..] {
            [uri] => Self::from_uri(uri).ok_or(IdentityError::Form),
            _ => Err(IdentityError::UriCount(uris.len())),
        }
    }

    fn from_uri(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("spiffe://")?.split('/');
        let (cluster, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = parts.next().is_none() && is_label(cluster) && is_label(name);
        ours.then_some(Self { cluster: cluster.to_owned(), kind: Kind::parse(kind)?, name: name.to_owned() })
    }
}

/// What a certificate says of its holder, as far as anything is decided by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerCertificate {
    /// Who it was issued to.
    pub identity: Arc<PeerIdentity>,
    /// SHA-256 of its key's SubjectPublicKeyInfo.
    pub fingerprint: [u8; 32],
    /// The first moment at which it is valid.
    pub not_before: SystemTime,
}

impl PeerCertificate {
    /// Reads a certificate. Does not check who issued it: [`crate::Trust`] does.
    ///
    /// # Errors
    ///
    /// As [`PeerIdentity::from_certificate`].
    pub fn read(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Unreadable)?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, certificate.public_key().raw).as_ref());
        let seconds = certificate.validity().not_before.timestamp().try_into().unwrap_or_default(); // none is before 1970
        let not_before = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Ok(Self { identity: Arc::new(PeerIdentity::of(&certificate)?), fingerprint, not_before })
    }
}

/// `kind/name`, such as `operator/anna`.
impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// Whether `text` is a DNS label in lower case, as clusters and peers are named.
pub(crate) fn is_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}

/// Who is at the other end of a connection. Made once per connection; every request of it carries a clone in its
/// extensions, which costs a reference count.
#[derive(Clone, Debug)]
pub enum Peer {
    /// A certificate that the cluster's CA issued.
    Certified(Arc<PeerIdentity>, SocketAddr),
    /// The key of a live join token (Ed25519, 32 bytes): may register and nothing else.
    Token([u8; 32], SocketAddr),
}

impl Peer {
    /// Where it called from. For logs; never for a decision.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Certified(_, address) | Self::Token(_, address) => *address,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        for uri in uris {
            params.subject_alt_names.push(rcgen::SanType::URI((*uri).try_into().unwrap()));
        }
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn one_uri_of_our_form_is_the_identity() {
        let identity = PeerIdentity::from_certificate(&certificate(&["spiffe://home/node/pi-7"])).unwrap();
        assert_eq!(identity, PeerIdentity { cluster: "home".to_owned(), kind: Kind::Node, name: "pi-7".to_owned() });
        assert_eq!(identity.to_string(), "node/pi-7");
    }

    #[test]
    fn none_or_two_are_refused() {
        assert_eq!(PeerIdentity::from_certificate(&certificate(&[])), Err(IdentityError::UriCount(0)));
        let two = certificate(&["spiffe://home/node/a", "spiffe://home/node/b"]);
        assert_eq!(PeerIdentity::from_certificate(&two), Err(IdentityError::UriCount(2)));
        assert_eq!(PeerIdentity::from_certificate(b"nonsense"), Err(IdentityError::Unreadable));
    }

    #[test]
    fn other_forms_are_refused() {
        for uri in [
            "https://home/node/a",
            "spiffe://home/node/a/b",
            "spiffe://home/node",
            "spiffe://home/king/a",
            "spiffe://home/node/",
            "spiffe://home/node/A",
            "spiffe:///node/a",
            "spiffe://home/node/-a",
        ] {
            assert_eq!(PeerIdentity::from_certificate(&certificate(&[uri])), Err(IdentityError::Form), "{uri}");
        }
    }
}
