//! One server set-up for every host.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Service, ServiceExt};

use crate::acceptor::{Acceptor, Connection};
use crate::answer::{Answer, until_stalled};
use crate::counters::{Cause, Counters};
use crate::deadline::{in_time, time_of};
use crate::identity::Peer;
use crate::message::Timed;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long calls in flight may go on after the signal to stop.
pub const DRAIN: Duration = Duration::from_secs(5);

const STREAMS_PER_CONNECTION: u32 = 64;
/// Calls that have not begun to answer. More than this can only be if their streams were reset.
const CALLS_PER_CONNECTION: usize = 64;
/// Bytes of a request stream that may be under way unread. A message that is larger is read as it comes.
const STREAM_WINDOW: u32 = 32 * 1024;
/// Of all streams of a connection, so that those that nobody reads take nothing from the others.
const CONNECTION_WINDOW: u32 = STREAMS_PER_CONNECTION * STREAM_WINDOW;
/// What a stream may have waiting to be sent.
const SEND_BUFFER: usize = 64 * 1024;
const HEADER_BYTES: u32 = 8 * 1024;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// Who reads nothing is gone after 28 s.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(8);
/// From the handshake to the first request. Later on a connection may be silent as long as it is alive.
const FIRST_REQUEST: Duration = Duration::from_secs(20);

/// What is served: gRPC services by their names.
#[derive(Clone, Debug, Default)]
pub struct Router(Routes);

/// Nothing yet, with the limits that every listener has: 64 streams a connection, what is more is refused rather than
/// queued, 30 s a call and then `DEADLINE_EXCEEDED`, 30 s for a message that has begun, 8 KiB of headers, keepalive 20 s.
pub fn server() -> Router {
    Router::default()
}

impl Router {
    /// With one more service.
    #[must_use]
    pub fn add_service<S, B>(self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
        S: tonic::server::NamedService + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(self.0.add_service(service))
    }

    /// With one more service, if there is one.
    #[must_use]
    pub fn add_optional_service<S, B>(self, service: Option<S>) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
        S: tonic::server::NamedService + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        match service {
            Some(service) => self.add_service(service),
            None => self,
        }
    }
}

/// Serves `routes` until `shutdown`, then lets calls in flight end for at most [`DRAIN`]. What is connected ends with it.
/// Requests carry their [`Peer`] in their extensions.
pub async fn serve(routes: Router, acceptor: Acceptor, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let routes = routes.0.prepare();
    let counters = acceptor.counters().clone();
    let mut incoming = acceptor.incoming(listener);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            Some(Ok(connection)) = incoming.next() => {
                connections.spawn(answer(connection, routes.clone(), counters.clone(), stopped.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop((incoming, stop)); // nobody comes in any more, and who is in is told
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, ended).await.is_err() {
        tracing::warn!("calls still in flight after {DRAIN:?} were ended");
    }
}

/// All calls of one connection.
async fn answer(connection: Connection, routes: Routes, counters: Arc<Counters>, mut stopped: watch::Receiver<()>) {
    let peer = connection.peer().clone();
    let address = peer.address();
    let calls = Arc::new(Calls {
        peer,
        routes,
        asked: AtomicBool::new(false),
        places: Arc::new(Semaphore::new(CALLS_PER_CONNECTION)),
    });
    let called = calls.clone();
    let streams = Streams { counters: counters.clone(), address };
    let serving = http2(streams)
        .serve_connection(TokioIo::new(connection), service_fn(move |request| called.clone().answer(request)));
    tokio::pin!(serving);
    let nothing_asked = async {
        sleep(FIRST_REQUEST).await;
        if calls.asked.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    };
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = nothing_asked => return counters.note(Cause::NoRequest, Some(address), &"no request came"),
        _ = stopped.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "a connection failed");
    }
}

fn http2(streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADER_BYTES)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
}

/// Runs the calls of a connection.
#[derive(Clone)]
struct Streams {
    counters: Arc<Counters>,
    address: SocketAddr,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, call: F) {
        let Self { counters, address } = self.clone();
        tokio::spawn(async move {
            // dropping the call resets its stream
            if !until_stalled(call).await {
                counters.note(Cause::Stalled, Some(address), &"its peer took nothing of it for too long");
            }
        });
    }
}

struct Calls {
    peer: Peer,
    routes: Routes,
    /// Whether there was a request.
    asked: AtomicBool,
    places: Arc<Semaphore>,
}

impl Calls {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        self.asked.store(true, Ordering::Relaxed);
        let Ok(place) = self.places.try_acquire() else {
            let refusal = format!("{CALLS_PER_CONNECTION} calls of this connection are waiting for their answers");
            return Ok(Status::resource_exhausted(refusal).into_http());
        };
        let mut request = request.map(|body| Body::new(Timed::new(body)));
        request.extensions_mut().insert(self.peer.clone());
        let time = time_of(request.headers());
        let response = in_time(time, self.routes.clone().oneshot(request)).await;
        drop(place);
        let response = response.map_or_else(Status::into_http, |Ok(response)| response);
        Ok(response.map(|body| Body::new(Answer::new(body))))
    }
}
