//! The node's metrics as text for Prometheus, on a listener of its own: plain HTTP on loopback, mutual TLS elsewhere.

mod text;

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use hal_core::Board;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mtls::{Acceptor, Cause, Counters, Peer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;

use crate::access::Right;
use crate::service::Node;

/// Scrapers at once; the next one waits in the kernel's queue.
const CONNECTIONS: usize = 8;
/// For all requests of a connection: a scraper comes every few seconds and connects anew after this.
const CONNECTION: Duration = Duration::from_secs(120);
const HEADERS: Duration = Duration::from_secs(5);
const HEADER_BYTES: usize = 8 * 1024;
/// Of requests, which have no bodies.
const WINDOW: u32 = 16 * 1024;
const WHEN_OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// What a scrape is made of.
struct Source<B: Board> {
    node: Arc<Node<B>>,
    counters: Arc<Counters>,
}

/// Answers scrapes on `listener` for ever; by mutual TLS (`tls`) only those who may see the node's metrics. The acceptor is
/// that of the node's other listener, so that both count together.
pub(crate) async fn serve<B>(node: Arc<Node<B>>, listener: TcpListener, acceptor: Acceptor, tls: bool)
where
    B: Board<Line: Send> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let source = Arc::new(Source { node, counters: acceptor.counters().clone() });
    match tls {
        false => loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((connection, _)) => {
                    let answering = answer_http1(source.clone(), connection);
                    tokio::spawn(async move {
                        answering.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    source.counters.note(Cause::Descriptors, None, &error);
                    sleep(WHEN_OUT_OF_DESCRIPTORS).await;
                }
            }
        },
        true => {
            let mut incoming = acceptor.incoming(listener);
            while let Some(connection) = incoming.next().await {
                let Ok(permit) = connections.clone().acquire_owned().await else { return };
                let Ok(connection) = connection else { continue };
                if !may_see(&source.node, connection.peer()) {
                    continue;
                }
                let answering = answer_http2(source.clone(), connection);
                tokio::spawn(async move {
                    answering.await;
                    drop(permit);
                });
            }
        }
    }
}

/// Whoever may call `GetSystemMetrics` may scrape.
fn may_see<B: Board>(node: &Node<B>, peer: &Peer) -> bool {
    let allowed = node.access.check(Right::Viewer, &HeaderMap::new(), Some(peer));
    if let Err(status) = &allowed {
        tracing::info!(address = %peer.address(), why = status.message(), "refused a scrape");
    }
    allowed.is_ok()
}

/// Of a connection without TLS. Not hyper-util's server for either protocol: it would bring HTTP/1 into the gRPC server too.
async fn answer_http1<B, C>(source: Arc<Source<B>>, connection: C)
where
    B: Board<Line: Send> + Send + 'static,
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADER_BYTES);
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(respond(&source, &request))));
    // What goes wrong on a scraper's connection is the scraper's to tell.
    let _ = timeout(CONNECTION, server.serve_connection(TokioIo::new(connection), service)).await;
}

/// By TLS the protocol was agreed on.
async fn answer_http2<B, C>(source: Arc<Source<B>>, connection: C)
where
    B: Board<Line: Send> + Send + 'static,
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.max_concurrent_streams(CONNECTIONS as u32).max_header_list_size(HEADER_BYTES as u32);
    server.initial_connection_window_size(WINDOW).initial_stream_window_size(WINDOW);
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(respond(&source, &request))));
    let _ = timeout(CONNECTION, server.serve_connection(TokioIo::new(connection), service)).await;
}

fn respond<B: Board>(Source { node, counters }: &Source<B>, request: &Request<Incoming>) -> Response<String> {
    let (status, kind, body) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => {
            let (metrics, _) = node.readings.latest();
            (StatusCode::OK, text::CONTENT_TYPE, text::encoded(&metrics, node.id(), counters))
        }
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET it\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "the metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
    }
    response
}
