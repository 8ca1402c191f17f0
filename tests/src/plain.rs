//! A call without tonic's client, whose own timer would answer before the server does.

use std::time::Duration;

use http::{HeaderMap, Request};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mtls::{Dialer, Expect};
use prost::Message;
use tonic::Status;
use tonic::body::Body;

/// One unary call of this method; what the server says of its end when there is no answer.
///
/// # Panics
///
/// If there is no connection, or the server answers.
pub async fn refusal(
    (dialer, address, expect): (&Dialer, &str, Expect),
    method: &str,
    (timeout, node): (Duration, Option<&str>),
    message: &impl Message,
) -> Status {
    let connection = dialer.connect(address, expect).await.expect("a connection");
    let builder = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(connection)).await.expect("HTTP/2");
    tokio::spawn(connection); // ends with its sender
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.encoded_len()).expect("a short message").to_be_bytes());
    message.encode(&mut bytes).expect("room");
    let mut request = Request::post(format!("http://{address}{method}")).header("content-type", "application/grpc");
    request = request.header("te", "trailers").header("grpc-timeout", format!("{}m", timeout.as_millis()));
    if let Some(node) = node {
        request = request.header("pi-node", node);
    }
    let body = Body::new(String::from_utf8(bytes).expect("fields so short that their lengths are ASCII, too"));
    let response = sender.send_request(request.body(body).expect("a request")).await.expect("an answer");
    let headers: &HeaderMap = response.headers();
    Status::from_header_map(headers).expect("a status instead of an answer")
}
