//! Calls of any method with any bytes.

use std::time::Duration;

use http::uri::PathAndQuery;
use prost::bytes::{Buf, BufMut};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A body that is no message, whatever the message: its first field has a type that there is not.
pub const UNREADABLE: &[u8] = b"\x0f\xff\xff";

/// Bytes as they are.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// Calls `method` (its full path) with one message of these bytes, with a node in the metadata if there is one; what comes
/// back first, be it an answer or how the call ended.
///
/// # Errors
///
/// The status that the call ended with, or that of the connection.
///
/// # Panics
///
/// If the method is no path or the node no name.
pub async fn call_raw(
    channel: &Channel,
    method: &str,
    node: Option<&str>,
    bytes: &[u8],
) -> Result<Option<Vec<u8>>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(tokio_stream::once(bytes.to_vec()));
    request.set_timeout(Duration::from_secs(10));
    if let Some(node) = node {
        request.metadata_mut().insert("pi-node", node.parse().expect("a name"));
    }
    let path = PathAndQuery::try_from(method.to_owned()).expect("a path");
    let answers = grpc.streaming(request, path, Raw).await?;
    answers.into_inner().message().await
}
