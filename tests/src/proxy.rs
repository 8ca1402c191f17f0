//! A TCP connection that can be held up or cut.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Passes bytes on between its callers and one address. Dropping it closes both ends of all its connections.
pub struct Proxy {
    /// Where to call.
    pub address: SocketAddr,
    held: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy on a port of its own.
    ///
    /// # Panics
    ///
    /// If there is no port.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (held, hold) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((caller, _)) = listener.accept().await {
                links.spawn(relay(caller, target, hold.clone()));
            }
        });
        Self { address, held, task }
    }

    /// From now on nothing arrives, in either direction, and nobody is told: a pulled cable.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// What was held arrives now, in its order.
    pub fn let_go(&self) {
        self.held.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends with the first direction that does.
async fn relay(caller: TcpStream, target: SocketAddr, held: watch::Receiver<bool>) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    caller.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_caller, to_caller), (from_server, to_server)) = (caller.into_split(), server.into_split());
    tokio::select! {
        ended = pump(from_caller, to_server, held.clone()) => ended,
        ended = pump(from_server, to_caller, held) => ended,
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut held: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if held.wait_for(|held| !held).await.is_err() || length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}
