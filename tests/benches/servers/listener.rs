//! The listening socket that the benchmark hands over as standard input.

use std::io;
use std::os::fd::AsFd;

use tokio::net::TcpListener;

/// Takes it. A caller can connect before this process has come up: the kernel lets the connection wait. So the time
/// from start to first answer holds no guessing when the port will be open.
pub(crate) fn inherited() -> io::Result<TcpListener> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
