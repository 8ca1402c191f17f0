//! Whose server is talked to: chain, validity and identity of its certificate.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use crate::clock::{Clock, ClockFault, unix};
use crate::credentials::Validity;
use crate::identity::{Kind, PeerIdentity};
use crate::trust::{Trust, algorithms, only_tls13, public_key_pin};

/// Who is expected at the other end. Peers are known by their certificate's identity, never by an address.
#[derive(Clone, Debug)]
pub enum Expect {
    /// Any instance of the cluster's control plane.
    Controller,
    /// This node and no other.
    Node(String),
}

impl Expect {
    fn matches(&self, identity: &PeerIdentity) -> bool {
        match self {
            Self::Controller => identity.kind == Kind::Controller,
            Self::Node(name) => identity.kind == Kind::Node && identity.name == *name,
        }
    }

    /// In messages to people.
    fn who(&self) -> String {
        match self {
            Self::Controller => "the control plane".to_owned(),
            Self::Node(name) => format!("node/{name}"),
        }
    }

    /// Sent as server name; nothing is decided by it.
    pub(crate) fn server_name(&self, cluster: &str) -> Option<ServerName<'static>> {
        let name = match self {
            Self::Controller => format!("controller.{cluster}"),
            Self::Node(name) => format!("{name}.node.{cluster}"),
        };
        ServerName::try_from(name).ok()
    }
}

/// Which CA is believed.
#[derive(Clone)]
pub(crate) enum Roots {
    /// Those of the cluster.
    Trusted(Arc<Trust>),
    /// While joining: the CA whose public key has this SHA-256, of this cluster.
    Pinned([u8; 32], String),
}

impl Roots {
    /// Whose certificates are looked for.
    pub(crate) fn cluster(&self) -> &str {
        match self {
            Self::Trusted(trust) => trust.cluster(),
            Self::Pinned(_, cluster) => cluster,
        }
    }
}

/// What is certain of a server's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// All of it.
    Full,
    /// All of it at the moment when it was issued: to learn that this moment is over.
    ButForTheTime,
}

/// Checks the chain as webpki does, then the identity instead of a host name.
pub(crate) struct ServerVerifier {
    pub(crate) roots: Roots,
    pub(crate) expect: Expect,
    pub(crate) clock: Arc<Clock>,
    pub(crate) strictness: Strictness,
}

impl ServerVerifier {
    fn roots(&self, sent: &[CertificateDer<'_>]) -> Result<Arc<RootCertStore>, Error> {
        match &self.roots {
            Roots::Trusted(trust) => Ok(trust.store()),
            Roots::Pinned(pin, _) => {
                let pinned = sent.iter().find(|ca| public_key_pin(ca).is_ok_and(|found| found == *pin));
                let foreign = || Error::General("the CA is not the one that the join token names".to_owned());
                let mut store = RootCertStore::empty();
                store.add(pinned.ok_or_else(foreign)?.clone().into_owned())?;
                Ok(Arc::new(store))
            }
        }
    }

    fn identify(&self, certificate: &CertificateDer<'_>) -> Result<PeerIdentity, Error> {
        match &self.roots {
            Roots::Trusted(trust) => trust.identify(certificate),
            Roots::Pinned(_, cluster) => PeerIdentity::from_certificate(certificate)
                .ok()
                .filter(|identity| identity.cluster == *cluster)
                .ok_or_else(|| Error::General("the certificate is not of the join token's cluster".to_owned())),
        }
    }

    /// Chain, validity and identity, at a certain time.
    fn verify_at(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        time: UnixTime,
    ) -> Result<(), Error> {
        let roots = self.roots(intermediates)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, time, algorithms().all)?;
        let identity = self.identify(end_entity)?;
        if !self.expect.matches(&identity) {
            return Err(Error::General(format!("the other end is {identity}, expected {:?}", self.expect)));
        }
        Ok(())
    }

    /// What a certificate that is good but for the time says of this clock.
    fn clock_fault(&self, validity: Validity, now: UnixTime) -> ClockFault {
        let (of, start, end) = (self.expect.who(), unix(validity.not_before), unix(validity.not_after));
        let by = |later: UnixTime, earlier: UnixTime| Duration::from_secs(later.as_secs() - earlier.as_secs());
        if now.as_secs() < start.as_secs() {
            return ClockFault::Behind { of, by: by(start, now) };
        }
        // whatever has expired, it is at least not valid any more
        let late = now.as_secs().max(end.as_secs());
        let by = by(UnixTime::since_unix_epoch(Duration::from_secs(late)), end);
        match unix(self.clock.floor()).as_secs() > end.as_secs() {
            true => ClockFault::Expired { of, by },
            false => ClockFault::Ahead { of, by },
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let validity = Validity::of(end_entity).ok_or(CertificateError::BadEncoding)?;
        let issued = unix(validity.not_before);
        let time = if self.strictness == Strictness::ButForTheTime { issued } else { now };
        match self.verify_at(end_entity, intermediates, time) {
            Ok(()) => return Ok(ServerCertVerified::assertion()),
            Err(Error::InvalidCertificate(refused)) if is_about_time(&refused) => {}
            Err(refused) => return Err(refused),
        }
        // only what is good in everything else says anything about the time
        self.verify_at(end_entity, intermediates, issued)?;
        let fault = self.clock_fault(validity, now);
        if let (ClockFault::Ahead { by, .. }, Expect::Controller) = (&fault, &self.expect) {
            self.clock.found_ahead(Some(*by));
        }
        Err(OtherError(Arc::new(fault)).into())
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

fn is_about_time(error: &CertificateError) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(error, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}

impl std::fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerVerifier").field("expect", &self.expect).finish_non_exhaustive()
    }
}
