//! HTTP/2 by hand, for what no library would send.

use std::io;
use std::time::Duration;

use mtls::{Dialer, Expect};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Frame types and flags of RFC 9113.
#[allow(missing_docs, reason = "they are the RFC's")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// What the server sent.
#[derive(Clone, Debug)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// See [`kind`].
    pub flags: u8,
    /// The stream; 0: the connection.
    pub stream: u32,
    /// Its content.
    pub payload: Vec<u8>,
}

/// One frame as it goes over the wire.
///
/// # Panics
///
/// If the payload is longer than a frame's length can say.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The headers of a gRPC call, uncompressed.
pub fn call(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    literal(&mut block, Name::Known(4), path);
    literal(&mut block, Name::Known(1), "target");
    literal(&mut block, Name::Known(31), "application/grpc");
    literal(&mut block, Name::New("te"), "trailers");
    block
}

/// A header's name: of HPACK's static table, or another.
pub enum Name<'a> {
    /// Its number there.
    Known(u8),
    /// In full.
    New(&'a str),
}

/// One header that is not to be remembered (RFC 7541, 6.2.2).
pub fn literal(block: &mut Vec<u8>, name: Name<'_>, value: &str) {
    match name {
        Name::Known(index) if index < 15 => block.push(index),
        Name::Known(index) => block.extend([15, index - 15]),
        Name::New(name) => {
            block.push(0);
            string(block, name);
        }
    }
    string(block, value);
}

/// One header that the server is to remember (RFC 7541, 6.2.1).
pub fn remembered(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0x40);
    string(block, name);
    string(block, value);
}

fn string(block: &mut Vec<u8>, text: &str) {
    // an integer with a prefix of seven bits
    let mut length = text.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128) as u8 | 128);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend(text.as_bytes());
}

/// A connection whose frames are written by hand; what the server sends is read all the time, and its settings and pings
/// are acknowledged, so that it takes us for alive.
pub struct Raw {
    write: tokio::sync::mpsc::Sender<Vec<u8>>,
    frames: tokio::sync::mpsc::UnboundedReceiver<Frame>,
    writing: JoinHandle<io::Result<()>>,
}

impl Raw {
    /// Connects as the dialer does, and greets with these settings (see RFC 9113, 6.5.1).
    ///
    /// # Panics
    ///
    /// If there is no connection.
    pub async fn connect(dialer: &Dialer, address: &str, expect: Expect, settings: &[(u16, u32)]) -> Self {
        let connection = dialer.connect(address, expect).await.expect("a connection");
        let mut greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        greeting.extend(frame(kind::SETTINGS, 0, 0, &settings));
        Self::over(connection, greeting).await
    }

    async fn over(connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, greeting: Vec<u8>) -> Self {
        let (mut from, mut to) = tokio::io::split(connection);
        let (write, mut to_write) = tokio::sync::mpsc::channel::<Vec<u8>>(64);
        let (told, frames) = tokio::sync::mpsc::unbounded_channel();
        write.send(greeting).await.expect("room"); // before anything is acknowledged
        let acknowledge = write.downgrade();
        tokio::spawn(async move {
            while let Ok(frame) = read_frame(&mut from).await {
                let reply = match (frame.kind, frame.flags & kind::ACK) {
                    (kind::SETTINGS, 0) => Some(self::frame(kind::SETTINGS, kind::ACK, 0, &[])),
                    (kind::PING, 0) => Some(self::frame(kind::PING, kind::ACK, 0, &frame.payload)),
                    _ => None,
                };
                if let (Some(reply), Some(write)) = (reply, acknowledge.upgrade()) {
                    let _ = write.try_send(reply); // while we flood, the flood is sign of life enough
                }
                if told.send(frame).is_err() {
                    break;
                }
            }
        });
        let writing = tokio::spawn(async move {
            while let Some(bytes) = to_write.recv().await {
                to.write_all(&bytes).await?;
            }
            std::future::pending().await // the connection stays open as long as we live
        });
        Self { write, frames, writing }
    }

    /// Sends; answers false if the connection is closed.
    pub async fn send(&self, bytes: Vec<u8>) -> bool {
        self.write.send(bytes).await.is_ok() && !self.writing.is_finished()
    }

    /// The next frame that is asked for, or none if the server closes before; gives up after this time.
    ///
    /// # Panics
    ///
    /// If neither comes in time.
    pub async fn wait_for(&mut self, within: Duration, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let wait = async {
            loop {
                match self.frames.recv().await {
                    Some(frame) if wanted(&frame) => return Some(frame),
                    Some(_) => {}
                    None => return None,
                }
            }
        };
        timeout(within, wait).await.expect("the server neither answers nor closes")
    }

    /// What came so far.
    pub fn received(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.frames.try_recv().ok()).collect()
    }

    /// Whether the server has closed; what it said before is then still to be had.
    pub fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut header = [0; 9];
    from.read_exact(&mut header).await?;
    let [a, b, c, kind, flags, stream @ ..] = header;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    from.read_exact(&mut payload).await?;
    Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream) & !(1 << 31), payload })
}
