//! From an address to a channel to a known peer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{ring as provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore};
use rustls::{SignatureScheme, version};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::credentials::OwnCertificate;
use crate::identity::{Kind, PeerIdentity};
use crate::token::JoinToken;
use crate::trust::{Trust, algorithms, only_tls13, public_key_pin};

/// A connection that takes longer is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

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

    /// Sent as server name; nothing is decided by it.
    fn server_name(&self, cluster: &str) -> Option<ServerName<'static>> {
        let name = match self {
            Self::Controller => format!("controller.{cluster}"),
            Self::Node(name) => format!("{name}.node.{cluster}"),
        };
        ServerName::try_from(name).ok()
    }
}

/// Bytes of a stream that may be under way unread.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Of all streams of a connection: enough for the 64 that a server allows, so that those that nobody reads take nothing
/// from the others.
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;

/// An address cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Not an address.
    #[error("{0} is not an address: expected HOST:PORT")]
    Address(String),
    /// The TLS library cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] Error),
}

/// Makes channels that show one certificate and believe one trust.
#[derive(Clone)]
pub struct Dialer {
    own: Arc<OwnCertificate>,
    roots: Roots,
}

#[derive(Clone)]
enum Roots {
    Trusted(Arc<Trust>),
    /// While joining: the CA whose public key has this SHA-256, of this cluster.
    Pinned([u8; 32], String),
}

impl Dialer {
    /// Shows `own`, believes `trust`.
    pub fn new(own: Arc<OwnCertificate>, trust: Arc<Trust>) -> Self {
        Self { own, roots: Roots::Trusted(trust) }
    }

    /// Shows the token's certificate and believes the CA that the token pins.
    pub fn joining(own: Arc<OwnCertificate>, token: &JoinToken) -> Self {
        Self { own, roots: Roots::Pinned(token.ca_pin(), token.cluster().to_owned()) }
    }

    /// A channel to `address` (`host:port`) that connects at the first call and again after a loss. A call that finds
    /// no peer, or another one than expected, answers `UNAVAILABLE`; [`explain`](crate::explain) says why.
    ///
    /// # Errors
    ///
    /// If `address` is not one. Nothing is connected yet.
    pub fn channel(&self, address: &str, expect: Expect) -> Result<Channel, DialError> {
        let way = self.way(address, expect)?;
        let uri =
            Uri::try_from(format!("http://{}", way.target)).map_err(|_| DialError::Address(address.to_owned()))?;
        let connector = service_fn(move |_: Uri| {
            let way = way.clone();
            async move { way.connect().await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from(uri)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        Ok(endpoint.connect_with_connector_lazy(connector))
    }

    /// One connection to `address`, for whoever speaks HTTP/2 on it by other means than tonic's.
    ///
    /// # Errors
    ///
    /// If `address` is none, nobody answers there, or somebody else than expected.
    pub async fn connect(
        &self,
        address: &str,
        expect: Expect,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        self.way(address, expect).map_err(io::Error::other)?.connect().await
    }

    fn way(&self, address: &str, expect: Expect) -> Result<Way, DialError> {
        let uri: Uri = format!("http://{address}").parse().map_err(|_| DialError::Address(address.to_owned()))?;
        let authority = uri.authority().filter(|authority| authority.port_u16().is_some());
        let target = authority.map(ToString::to_string).ok_or_else(|| DialError::Address(address.to_owned()))?;
        let cluster = match &self.roots {
            Roots::Trusted(trust) => trust.cluster(),
            Roots::Pinned(_, cluster) => cluster,
        };
        let name = expect.server_name(cluster).ok_or_else(|| DialError::Address(address.to_owned()))?;
        let tls = TlsConnector::from(Arc::new(self.config(expect).map_err(DialError::Tls)?));
        Ok(Way { target, tls, name })
    }

    fn config(&self, expect: Expect) -> Result<ClientConfig, Error> {
        let verifier = ServerVerifier { roots: self.roots.clone(), expect };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous() // the word is rustls' for "own verifier"; ours is stricter than the stock one
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(self.own.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// All that a connection to one peer takes.
#[derive(Clone)]
struct Way {
    target: String,
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Way {
    async fn connect(self) -> io::Result<BufReader<TlsStream<TcpStream>>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s");
        timeout(CONNECT_TIMEOUT, self.shake_hands()).await.map_err(late)?
    }

    async fn shake_hands(self) -> io::Result<BufReader<TlsStream<TcpStream>>> {
        let tcp = TcpStream::connect(&self.target).await?;
        tcp.set_nodelay(true)?;
        let mut connection = BufReader::new(self.tls.connect(self.name, tcp).await?);
        // In TLS 1.3 our handshake ends before the server has judged our certificate. An HTTP/2 server speaks first, so
        // wait for its word: a refusal then says why, instead of a connection that just closes.
        connection.fill_buf().await?;
        Ok(connection)
    }
}

/// Checks the chain as webpki does, then the identity instead of a host name.
struct ServerVerifier {
    roots: Roots,
    expect: Expect,
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
        let roots = self.roots(intermediates)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms().all)?;
        let identity = self.identify(end_entity)?;
        if !self.expect.matches(&identity) {
            return Err(Error::General(format!("the other end is {identity}, expected {:?}", self.expect)));
        }
        Ok(ServerCertVerified::assertion())
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

impl std::fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerVerifier").field("expect", &self.expect).finish_non_exhaustive()
    }
}
