//! A TCP connection that can be held up, cut and listened to.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Passes bytes on between its callers and one address. Dropping it closes both ends of all its connections.
pub struct Proxy {
    /// Where to call.
    pub address: SocketAddr,
    held: watch::Sender<bool>,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

/// Where a connection ends.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// After so many bytes of the caller: both ends are closed.
    pub asked: u64,
    /// After so many bytes of the caller, the server's bytes are counted,
    pub counted_from: u64,
    /// and after so many of them nothing more of it arrives, and nobody is told.
    pub answered: u64,
}

impl Cut {
    /// Nowhere, but the server's bytes are counted once the caller has sent so many.
    pub fn counting_from(counted_from: u64) -> Self {
        Self { asked: u64::MAX, counted_from, answered: u64::MAX }
    }
}

/// What has passed.
#[derive(Default)]
struct Seen {
    asked: AtomicU64,
    answered: AtomicU64,
    /// Kept if somebody listens.
    bytes: Option<Mutex<Vec<u8>>>,
}

impl Seen {
    fn keep(&self, bytes: &[u8]) {
        if let Some(kept) = &self.bytes {
            kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        }
    }
}

impl Proxy {
    /// A proxy on a port of its own.
    ///
    /// # Panics
    ///
    /// If there is no port.
    pub async fn to(target: SocketAddr) -> Self {
        Self::with(target, None, Cut::counting_from(0), Seen::default()).await
    }

    /// One that connects from an address of its own, such as 127.0.0.9: the server takes each for another machine.
    ///
    /// # Panics
    ///
    /// If there is no port.
    pub async fn from(source: Ipv4Addr, target: SocketAddr) -> Self {
        Self::with(target, Some(source.into()), Cut::counting_from(0), Seen::default()).await
    }

    /// One that cuts its connections.
    ///
    /// # Panics
    ///
    /// If there is no port.
    pub async fn cutting(target: SocketAddr, cut: Cut) -> Self {
        Self::with(target, None, cut, Seen::default()).await
    }

    /// One that keeps what passes, in both directions.
    ///
    /// # Panics
    ///
    /// If there is no port.
    pub async fn listening(target: SocketAddr) -> Self {
        let seen = Seen { bytes: Some(Mutex::default()), ..Seen::default() };
        Self::with(target, None, Cut::counting_from(0), seen).await
    }

    async fn with(target: SocketAddr, source: Option<IpAddr>, cut: Cut, seen: Seen) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (held, hold) = watch::channel(false);
        let seen = Arc::new(seen);
        let link = Link { target, source, cut, held: hold, seen: seen.clone() };
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((caller, _)) = listener.accept().await {
                links.spawn(link.clone().relay(caller));
            }
        });
        Self { address, held, seen, task }
    }

    /// From now on nothing arrives, in either direction, and nobody is told: a pulled cable.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// What was held arrives now, in its order.
    pub fn let_go(&self) {
        self.held.send_replace(false);
    }

    /// How many bytes its callers have sent.
    pub fn asked(&self) -> u64 {
        self.seen.asked.load(Ordering::Relaxed)
    }

    /// How many bytes the server has sent since they are counted.
    pub fn answered(&self) -> u64 {
        self.seen.answered.load(Ordering::Relaxed)
    }

    /// What has passed, in the order in which it came; empty unless it listens.
    pub fn bytes(&self) -> Vec<u8> {
        let kept = self.seen.bytes.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner).clone());
        kept.unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What becomes of one connection.
#[derive(Clone)]
struct Link {
    target: SocketAddr,
    source: Option<IpAddr>,
    cut: Cut,
    held: watch::Receiver<bool>,
    seen: Arc<Seen>,
}

impl Link {
    /// Ends with the first direction that does.
    async fn relay(self, caller: TcpStream) -> io::Result<()> {
        let server = match self.source {
            None => TcpStream::connect(self.target).await?,
            Some(source) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind((source, 0).into())?;
                socket.connect(self.target).await?
            }
        };
        caller.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_caller, to_caller), (from_server, to_server)) = (caller.into_split(), server.into_split());
        let (mut asked, mut answered) = (0, 0);
        let asking = pump(from_caller, to_server, self.held.clone(), |bytes| {
            self.seen.keep(bytes);
            let left = self.cut.asked.saturating_sub(asked);
            asked += bytes.len() as u64;
            self.seen.asked.store(asked, Ordering::Relaxed);
            left
        });
        let answering = pump(from_server, to_caller, self.held.clone(), |bytes| {
            self.seen.keep(bytes);
            if self.seen.asked.load(Ordering::Relaxed) < self.cut.counted_from {
                return u64::MAX;
            }
            let left = self.cut.answered.saturating_sub(answered);
            answered += bytes.len() as u64;
            self.seen.answered.store(answered, Ordering::Relaxed);
            left
        });
        // the caller is told of a cut answer by nobody, and may go on asking
        let answering = async {
            match answering.await? {
                Ended::Closed => Ok(()),
                Ended::Cut => pending().await,
            }
        };
        tokio::select! {
            ended = asking => ended.map(drop),
            ended = answering => ended,
        }
    }
}

enum Ended {
    Closed,
    Cut,
}

/// Passes on as much of each piece as `allowed` says, and ends where it is not the whole.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut held: watch::Receiver<bool>,
    mut allowed: impl FnMut(&[u8]) -> u64,
) -> io::Result<Ended> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if held.wait_for(|held| !held).await.is_err() || length == 0 {
            to.shutdown().await?;
            return Ok(Ended::Closed);
        }
        let allowed = usize::try_from(allowed(&buffer[..length])).unwrap_or(usize::MAX);
        to.write_all(&buffer[..length.min(allowed)]).await?;
        if allowed < length {
            return Ok(Ended::Cut);
        }
    }
}
