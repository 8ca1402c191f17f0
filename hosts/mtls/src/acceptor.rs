//! From a listener to authenticated connections.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::crypto::ring as provider;
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::credentials::OwnCertificate;
use crate::identity::Peer;
use crate::sessions::{Session, Sessions};
use crate::trust::{ClientVerifier, TokenKeys, Trust};

/// How much a listener takes on at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A handshake that takes longer is ended.
    pub handshake_timeout: Duration,
    /// Handshakes in progress; the next one waits in the kernel's queue.
    pub handshakes: usize,
    /// Connections, handshakes included; the next one waits in the kernel's queue.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handshake_timeout: Duration::from_secs(5), handshakes: 256, connections: 2048 }
    }
}

/// How long to wait when the system has no descriptor left, instead of asking again at once.
const WHEN_OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Turns TCP connections into connections of a known [`Peer`].
///
/// tonic's own TLS set-up would resume sessions, and a resumed session is accepted without a look at the client's
/// certificate, so that one that was revoked or has expired would go on working.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    verifier: Arc<ClientVerifier>,
    sessions: Arc<Sessions>,
    limits: Limits,
}

impl Acceptor {
    /// Shows `own` and accepts whom `trust` accepts; with `token_keys`, also the keys of live join tokens.
    ///
    /// # Errors
    ///
    /// If the TLS library cannot be set up; none in practice.
    pub fn new(
        own: Arc<OwnCertificate>,
        trust: Arc<Trust>,
        token_keys: Option<TokenKeys>,
        limits: Limits,
    ) -> Result<Self, rustls::Error> {
        let sessions = Sessions::new(trust.clone());
        let verifier = Arc::new(ClientVerifier { trust, token_keys });
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(own);
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { tls: TlsAcceptor::from(Arc::new(config)), verifier, sessions, limits })
    }

    /// The connections that this acceptor and its clones have let in and that are still open.
    pub fn sessions(&self) -> Arc<Sessions> {
        self.sessions.clone()
    }

    /// Accepts from `listener` until the stream is dropped. Refused handshakes are logged, one line each, and counted
    /// nowhere else: they never end the stream.
    pub fn incoming(self, listener: TcpListener) -> ReceiverStream<io::Result<Connection>> {
        let (ready, incoming) = mpsc::channel(16);
        tokio::spawn(self.accept_all(listener, ready));
        ReceiverStream::new(incoming)
    }

    async fn accept_all(self, listener: TcpListener, ready: mpsc::Sender<io::Result<Connection>>) {
        let connections = Arc::new(Semaphore::new(self.limits.connections));
        let handshakes = Arc::new(Semaphore::new(self.limits.handshakes));
        loop {
            // Neither semaphore is ever closed.
            let Ok(connection) = connections.clone().acquire_owned().await else {
                return;
            };
            let Ok(handshake) = handshakes.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ready.closed() => return,
            };
            match accepted {
                Ok((tcp, address)) => {
                    let (acceptor, ready) = (self.clone(), ready.clone());
                    tokio::spawn(async move {
                        let connection = acceptor.handshake(tcp, address, connection).await;
                        drop(handshake);
                        if let Some(connection) = connection {
                            let _ = ready.send(Ok(connection)).await; // nobody takes it while shutting down
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections for the moment");
                    sleep(WHEN_OUT_OF_DESCRIPTORS).await;
                }
            }
        }
    }

    async fn handshake(&self, tcp: TcpStream, address: SocketAddr, permit: OwnedSemaphorePermit) -> Option<Connection> {
        let _ = tcp.set_nodelay(true); // an optimisation
        match timeout(self.limits.handshake_timeout, self.tls.accept(tcp)).await {
            Ok(Ok(tls)) => {
                let (peer, session) = self.peer(&tls, address)?;
                Some(Connection { tls, peer, session, _permit: permit })
            }
            Ok(Err(error)) => {
                tracing::info!(%address, %error, "refused a connection");
                None
            }
            Err(_) => {
                tracing::info!(%address, "refused a connection: the handshake took too long");
                None
            }
        }
    }

    fn peer(&self, tls: &TlsStream<TcpStream>, address: SocketAddr) -> Option<(Peer, Session)> {
        let certificate = tls.get_ref().1.peer_certificates()?.first()?;
        if let Some(key) = self.verifier.token_key(certificate) {
            return Some((Peer::Token(key, address), self.sessions.enter(None, address)));
        }
        let trust = &self.verifier.trust;
        let shown = trust.read(certificate).ok()?;
        let session = self.sessions.enter(Some(shown.clone()), address);
        // again, now that it can be ended: it may have been revoked since the handshake's look
        trust.admit(&shown).ok()?;
        Some((Peer::Certified(shown.identity, address), session))
    }
}

/// A connection whose [`Peer`] is known; requests on it carry the peer in their extensions.
pub struct Connection {
    tls: TlsStream<TcpStream>,
    peer: Peer,
    session: Session,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.session.check(cx)?;
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.session.check(cx)?;
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.check(cx)?;
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.session.check(cx)?;
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}
