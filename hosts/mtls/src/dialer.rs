//! From an address to a channel to a known peer.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::crypto::ring as provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error, version};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::clock::{Clock, ClockFault};
use crate::credentials::{OwnCertificate, Validity};
use crate::explain::clock_fault;
use crate::server_verifier::{Expect, Roots, ServerVerifier, Strictness};
use crate::token::JoinToken;
use crate::trust::Trust;

/// A connection that takes longer is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

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
    clock: Arc<Clock>,
    /// Whether a server may say what time it is.
    learns: bool,
}

impl Dialer {
    /// Shows `own`, believes `trust`.
    pub fn new(own: Arc<OwnCertificate>, trust: Arc<Trust>) -> Self {
        Self { own, roots: Roots::Trusted(trust), clock: Clock::system(), learns: false }
    }

    /// Shows the token's certificate and believes the CA that the token pins.
    pub fn joining(own: Arc<OwnCertificate>, token: &JoinToken) -> Self {
        let roots = Roots::Pinned(token.ca_pin(), token.cluster().to_owned());
        Self { own, roots, clock: Clock::system(), learns: false }
    }

    /// Judges certificates by `clock`, and raises it by what the control plane proves: for a machine that may have booted
    /// without a clock.
    ///
    /// A server whose certificate is not valid yet by `clock`, but good in everything else, is connected to once more, to
    /// have it prove its key. That connection is closed before anything is sent on it. Then it is not earlier than the
    /// beginning of that certificate, and the connection that was asked for is made, as strictly as any.
    #[must_use]
    pub fn with_clock(self, clock: Arc<Clock>) -> Self {
        Self { clock, learns: true, ..self }
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
        let name = expect.server_name(self.roots.cluster()).ok_or_else(|| DialError::Address(address.to_owned()))?;
        let connector = |strictness| self.connector(expect.clone(), strictness).map_err(DialError::Tls);
        let (tls, clock) = (connector(Strictness::Full)?, self.clock.clone());
        let to_learn = self.learns.then(|| connector(Strictness::ButForTheTime)).transpose()?;
        Ok(Way { target, tls, to_learn, name, clock })
    }

    fn connector(&self, expect: Expect, strictness: Strictness) -> Result<TlsConnector, Error> {
        let verifier = ServerVerifier { roots: self.roots.clone(), expect, clock: self.clock.clone(), strictness };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous() // the word is rustls' for "own verifier"; ours is stricter than the stock one
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(self.own.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        config.time_provider = self.clock.clone();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// All that a connection to one peer takes.
#[derive(Clone)]
struct Way {
    target: String,
    tls: TlsConnector,
    /// For the one connection that is made to learn the time.
    to_learn: Option<TlsConnector>,
    name: ServerName<'static>,
    clock: Arc<Clock>,
}

impl Way {
    async fn connect(self) -> io::Result<BufReader<TlsStream<TcpStream>>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s");
        timeout(CONNECT_TIMEOUT, self.shake_hands()).await.map_err(late)?
    }

    async fn shake_hands(self) -> io::Result<BufReader<TlsStream<TcpStream>>> {
        let tls = match (self.handshake(&self.tls).await, &self.to_learn) {
            (Err(error), Some(to_learn)) if is_behind(&error) => {
                self.learn_time(to_learn).await?;
                self.handshake(&self.tls).await?
            }
            (outcome, _) => outcome?,
        };
        if let Some(issued) = not_before(&tls) {
            self.clock.prove(issued);
        }
        self.clock.found_ahead(None);
        let mut connection = BufReader::new(tls);
        // In TLS 1.3 our handshake ends before the server has judged our certificate. An HTTP/2 server speaks first, so
        // wait for its word: a refusal then says why, instead of a connection that just closes.
        connection.fill_buf().await?;
        Ok(connection)
    }

    async fn handshake(&self, tls: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(&self.target).await?;
        tcp.set_nodelay(true)?;
        tls.connect(self.name.clone(), tcp).await
    }

    /// The server proves the key of its certificate, and with it that the certificate's beginning is over. Nothing is sent
    /// or read after the handshake.
    async fn learn_time(&self, to_learn: &TlsConnector) -> io::Result<()> {
        let mut connection = self.handshake(to_learn).await?;
        let issued = not_before(&connection);
        let _ = connection.shutdown().await; // a courtesy: it is closed in any case
        if let Some(issued) = issued {
            self.clock.prove(issued);
            tracing::info!(by = ?self.clock.behind(), "this clock is behind; the control plane's certificate proves it");
        }
        Ok(())
    }
}

fn not_before(connection: &TlsStream<TcpStream>) -> Option<SystemTime> {
    let leaf = connection.get_ref().1.peer_certificates()?.first()?;
    Validity::of(leaf).map(|validity| validity.not_before)
}

fn is_behind(error: &io::Error) -> bool {
    matches!(clock_fault(error), Some(ClockFault::Behind { .. }))
}
