//! Request bodies that do not come to an end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;

/// A message may keep us waiting so long in all, once it has begun. Between messages a stream may be silent as long as it
/// likes: whether its peer is alive is the keepalive's business.
const MESSAGE: Duration = Duration::from_secs(30);

/// A request body whose messages, once begun, come to their end. What does not is a refusal instead of more of the body.
///
/// Only waiting for the peer counts: a handler that does not ask for the next message may take its time.
pub(crate) struct Timed<B> {
    inner: B,
    framing: Framing,
    /// Spent on the message that has begun.
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B> Timed<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, framing: Framing::default(), waited: Duration::ZERO, waiting: None }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.framing.is_inside() {
            return false;
        }
        let left = MESSAGE.saturating_sub(self.waited);
        let (_, timer) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        timer.as_mut().poll(cx).is_ready()
    }

    fn came(&mut self, data: &Bytes) {
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
        if self.framing.feed(data) {
            self.waited = Duration::ZERO;
        }
    }
}

impl<B> Body for Timed<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            return match this.is_late(cx) {
                true => Poll::Ready(Some(Err(late().into()))),
                false => Poll::Pending,
            };
        };
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.came(data);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn late() -> Status {
    Status::deadline_exceeded(format!("a message that had begun did not come to its end within {MESSAGE:?}"))
}

/// Where in gRPC's framing a body is: five bytes of header, the last four of them the message's length, then the message.
#[derive(Default)]
struct Framing {
    header: [u8; 5],
    of_header: usize,
    of_message: usize,
}

impl Framing {
    /// Whether a message has begun and not ended.
    fn is_inside(&self) -> bool {
        self.of_header > 0 || self.of_message > 0
    }

    /// Answers whether a message ended.
    fn feed(&mut self, mut data: &[u8]) -> bool {
        let mut ended = false;
        while !data.is_empty() {
            if self.of_message > 0 {
                let part = data.len().min(self.of_message);
                self.of_message -= part;
                data.advance(part);
            } else {
                self.header[self.of_header] = data.get_u8();
                self.of_header += 1;
                if self.of_header < self.header.len() {
                    continue;
                }
                let [_, length @ ..] = self.header;
                (self.of_header, self.of_message) = (0, u32::from_be_bytes(length) as usize);
            }
            ended |= !self.is_inside();
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::poll_fn;
    use std::collections::VecDeque;
    use std::task::ready;

    /// Chunks, each after its time.
    struct Slow(VecDeque<(Duration, &'static [u8])>, Option<Pin<Box<Sleep>>>);

    impl Body for Slow {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            let Some((after, chunk)) = self.0.front().copied() else { return Poll::Ready(None) };
            ready!(self.1.get_or_insert_with(|| Box::pin(sleep(after))).as_mut().poll(cx));
            self.0.pop_front();
            self.1 = None;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(chunk)))))
        }
    }

    /// How many bytes came, and whether the end did.
    async fn read(chunks: &[(u64, &'static [u8])]) -> (usize, bool) {
        let chunks = chunks.iter().map(|(seconds, chunk)| (Duration::from_secs(*seconds), *chunk)).collect();
        let mut body = Timed::new(Slow(chunks, None));
        let mut bytes = 0;
        loop {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(frame)) => bytes += frame.into_data().unwrap().len(),
                Some(Err(error)) => {
                    assert!(error.is::<Status>(), "{error}");
                    return (bytes, false);
                }
                None => return (bytes, true),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_between_messages_is_free_and_dribbling_is_not() {
        const WHOLE: &[u8] = b"\0\0\0\0\x02ab";
        assert_eq!(read(&[(3600, WHOLE), (3600, WHOLE)]).await, (14, true));
        assert_eq!(read(&[(0, b"\0\0\0\0\x02"), (20, b"a"), (9, b"b"), (3600, WHOLE)]).await, (14, true));
        assert_eq!(read(&[(0, b"\0\0\0\0\x02"), (20, b"a"), (11, b"b")]).await, (6, false));
        assert_eq!(read(&[(0, b"\0"), (31, b"\0\0\0\0")]).await, (1, false), "a header, too");
        assert_eq!(read(&[(0, b"\0\0\0\0\0"), (31, WHOLE)]).await, (12, true), "an empty message is whole");
        assert_eq!(read(&[(0, b"\0\0\0\0\x01a\0"), (29, b"\0\0\0\x02"), (2, b"ab")]).await, (11, false));
    }

    /// Control: whatever way the bytes are cut, the same messages end.
    #[test]
    fn framing_does_not_depend_on_how_bytes_are_cut() {
        let bytes: Vec<u8> = (0..40_u8).flat_map(|n| [&[0, 0, 0, 0, n], &*vec![n; n.into()]].concat()).collect();
        for size in 1..bytes.len() {
            let mut framing = Framing::default();
            for chunk in bytes.chunks(size) {
                framing.feed(chunk);
            }
            assert!(!framing.is_inside(), "cut by {size}");
        }
        let mut framing = Framing::default();
        framing.feed(&bytes[..bytes.len() - 1]);
        assert!(framing.is_inside());
    }
}
