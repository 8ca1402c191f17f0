//! One server set-up for every host.

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tower::layer::util::{Identity, Stack};

use crate::acceptor::Acceptor;
use crate::deadline::Deadline;

/// How long calls in flight may go on after the signal to stop.
pub const DRAIN: Duration = Duration::from_secs(5);

const STREAMS_PER_CONNECTION: u32 = 64;
const CALLS_PER_CONNECTION: usize = 64;
/// Without an earlier deadline of its own a call that has not begun to answer ends here.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const HEADER_BYTES: u32 = 8 * 1024;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What stands round every service of [`server`].
pub type Limited = Stack<Deadline, Identity>;

/// A server with the limits that every listener has: 64 streams a connection, what is more is refused rather than
/// queued, 30 s a call and then `DEADLINE_EXCEEDED`, 8 KiB of headers, keepalive 20 s.
pub fn server() -> Server<Limited> {
    Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION)
        .load_shed(true)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(Deadline(CALL_TIMEOUT))
}

/// Serves `routes` until `shutdown`, then lets calls in flight end for at most [`DRAIN`].
///
/// # Errors
///
/// If the HTTP server fails; a failing connection does not fail it.
pub async fn serve(
    routes: Router<Limited>,
    acceptor: Acceptor,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let serving = routes.serve_with_incoming_shutdown(acceptor.incoming(listener), stopped);
    tokio::pin!(serving, shutdown);
    tokio::select! {
        ended = &mut serving => return ended,
        () = &mut shutdown => drop(stop),
    }
    if timeout(DRAIN, serving).await.is_err() {
        tracing::warn!("calls still in flight after {DRAIN:?} were ended");
    }
    Ok(())
}
