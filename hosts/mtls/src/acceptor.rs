//! From a listener to authenticated connections.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustls::crypto::ring as provider;
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::clock::Clock;
use crate::counters::{Cause, Counters};
use crate::credentials::OwnCertificate;
use crate::crowd::Crowd;
use crate::identity::Peer;
use crate::limits::Limits;
use crate::sessions::{Session, Sessions};
use crate::throttle::Throttle;
use crate::trust::{ClientVerifier, Guests, Trust};

/// How long to wait when the system has no descriptor left, instead of asking again at once.
const WHEN_OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

const TOO_OFTEN: &str = "its address connects more often than [limits] of the configuration allows";

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
    // shared by all listeners of a process
    throttle: Arc<Throttle>,
    counters: Arc<Counters>,
}

/// Why there is no connection, and in words.
type Refusal = (Cause, Box<dyn Error + Send + Sync>);

impl Acceptor {
    /// Shows `own` and accepts whom `trust` accepts, and `guests` if there are any.
    ///
    /// # Errors
    ///
    /// If the TLS library cannot be set up; none in practice.
    pub fn new(
        own: Arc<OwnCertificate>,
        trust: Arc<Trust>,
        guests: Option<Guests>,
        limits: Limits,
    ) -> Result<Self, rustls::Error> {
        let sessions = Sessions::new(trust.clone());
        let verifier = Arc::new(ClientVerifier { trust, guests });
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(own);
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.time_provider = Clock::system();
        let (throttle, counters) = (Arc::new(Throttle::new(&limits)), Arc::default());
        Ok(Self { tls: TlsAcceptor::from(Arc::new(config)), verifier, sessions, limits, throttle, counters })
    }

    /// The connections that this acceptor and its clones have let in and that are still open.
    pub fn sessions(&self) -> Arc<Sessions> {
        self.sessions.clone()
    }

    /// What was refused so far, on all listeners of this acceptor.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Judges certificates by `clock`, which may know more than [`Clock::system`].
    #[must_use]
    pub fn with_clock(self, clock: Arc<Clock>) -> Self {
        let mut config = ServerConfig::clone(self.tls.config());
        config.time_provider = clock;
        Self { tls: TlsAcceptor::from(Arc::new(config)), ..self }
    }

    /// Accepts from `listener` until the stream is dropped. Refused handshakes are counted and told in the log
    /// ([`Counters`]): they never end the stream.
    pub fn incoming(self, listener: TcpListener) -> ReceiverStream<io::Result<Connection>> {
        let (ready, incoming) = mpsc::channel(16);
        tokio::spawn(self.accept_all(listener, ready));
        ReceiverStream::new(incoming)
    }

    async fn accept_all(self, listener: TcpListener, ready: mpsc::Sender<io::Result<Connection>>) {
        let connections = Arc::new(Semaphore::new(self.limits.possible_connections()));
        let crowd = Crowd::new(self.limits.handshakes);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&listener, &connections) => accepted,
                () = ready.closed() => return,
            };
            let Some((tcp, address, place)) = accepted else { continue };
            let (acceptor, crowd, ready) = (self.clone(), crowd.clone(), ready.clone());
            tokio::spawn(async move {
                match acceptor.handshake(tcp, address, place, &crowd).await {
                    // nobody takes it while shutting down
                    Ok(connection) => drop(ready.send(Ok(connection)).await),
                    Err((cause, why)) => {
                        acceptor.throttle.charge(address.ip(), Instant::now());
                        acceptor.counters.note(cause, Some(address), &why);
                    }
                }
            });
        }
    }

    /// The next connection of an address that does not connect too often, and its place.
    async fn accept(
        &self,
        listener: &TcpListener,
        connections: &Arc<Semaphore>,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let place = match connections.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                self.counters.note(Cause::Full, None, &format_args!("{} are open", self.limits.possible_connections()));
                connections.clone().acquire_owned().await.ok()? // never closed
            }
        };
        match listener.accept().await {
            Ok((tcp, address)) if self.throttle.allows(address.ip(), Instant::now()) => Some((tcp, address, place)),
            Ok((tcp, address)) => {
                // reset: nothing of it stays behind in the kernel
                let _ = tcp.set_zero_linger();
                self.counters.note(Cause::Throttled, Some(address), &TOO_OFTEN);
                None
            }
            Err(error) => {
                if is_shortage(&error) {
                    self.counters.note(Cause::Descriptors, None, &error);
                    sleep(WHEN_OUT_OF_DESCRIPTORS).await;
                }
                None // else it is that connection's error, and the next one is asked for
            }
        }
    }

    async fn handshake(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
        crowd: &Crowd,
    ) -> Result<Connection, Refusal> {
        let _ = tcp.set_nodelay(true); // an optimisation
        let late = |_| (Cause::Timeout, "the handshake took too long".into());
        let tls = timeout(self.limits.handshake_timeout, self.shake_hands(tcp, crowd)).await.map_err(late)??;
        let (peer, session) =
            self.peer(&tls, address).ok_or((Cause::Identity, "the certificate names nobody".into()))?;
        Ok(Connection { tls, peer, session, _place: place })
    }

    async fn shake_hands(&self, tcp: TcpStream, crowd: &Crowd) -> Result<TlsStream<TcpStream>, Refusal> {
        let failed = |error: io::Error| (Cause::of(&error), error.into());
        // who says nothing takes a descriptor, but no place among the handshakes
        tcp.peek(&mut [0]).await.map_err(failed)?;
        let _place = crowd.enter().await;
        let tls = tokio::select! {
            tls = self.tls.accept(tcp) => tls.map_err(failed)?,
            () = crowd.gives_way() => return Err((Cause::Crowded, "others wait for a handshake".into())),
        };
        match tls.get_ref().1.alpn_protocol() {
            Some(b"h2") => Ok(tls),
            _ => Err((Cause::Protocol, "the peer asked for no protocol, expected h2".into())),
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
        // one that expires at this very moment may only renew: it can connect again
        let now = self.tls.config().time_provider.current_time()?;
        let peer = match self.verifier.has_expired(certificate, now) {
            true => Peer::Expired(shown.identity, shown.fingerprint, address),
            false => Peer::Certified(shown.identity, address),
        };
        Some((peer, session))
    }
}

/// Whether the process or the system has no more of what a connection takes.
fn is_shortage(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].map(Some).contains(&Errno::from_io_error(error))
}

/// A connection whose [`Peer`] is known; requests on it carry the peer in their extensions.
pub struct Connection {
    tls: TlsStream<TcpStream>,
    peer: Peer,
    session: Session,
    _place: OwnedSemaphorePermit,
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
