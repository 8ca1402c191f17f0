//! Answers that nobody takes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep};

/// How long a peer may leave lie what waits for it, if it has taken nothing at all yet or if that is much.
const PATIENCE: Duration = Duration::from_secs(25);
/// How often that is looked at: it ends within 30 s.
const LOOK: Duration = Duration::from_secs(5);
/// Handed to HTTP/2 at a time, which holds it until the peer has opened its window.
const PIECE: usize = 16 * 1024;
/// More than this of an answer does not wait for ever.
const MUCH: usize = 64 * 1024;

const NEVER: u64 = u64::MAX;

tokio::task_local! {
    static OF_THIS_CALL: Arc<Waiting>;
}

/// How long the answer of a call has waited for its peer. A peer that pauses costs little and may do so for as long as it
/// likes, as somebody who reads the output of a command page by page does; handlers that lose by it have limits of their own.
struct Waiting {
    began: Instant,
    /// Milliseconds after `began` at which patience ends.
    until: AtomicU64,
}

impl Waiting {
    fn set(&self, waits: bool) {
        let until = || u64::try_from((self.began.elapsed() + PATIENCE).as_millis()).unwrap_or(NEVER);
        self.until.store(if waits { until() } else { NEVER }, Ordering::Relaxed);
    }

    async fn is_over(&self) {
        loop {
            sleep(LOOK).await;
            if self.began.elapsed().as_millis() >= self.until.load(Ordering::Relaxed).into() {
                return;
            }
        }
    }
}

/// Runs a call to its end; answers false if it was ended because its peer did not take the [`Answer`].
pub(crate) async fn until_stalled(call: impl Future<Output = ()>) -> bool {
    let waiting = Arc::new(Waiting { began: Instant::now(), until: AtomicU64::new(NEVER) });
    tokio::select! {
        () = OF_THIS_CALL.scope(waiting.clone(), call) => true,
        () = waiting.is_over() => false,
    }
}

/// An answer's body: handed on in pieces, so that what a peer does not take waits here and not in HTTP/2's buffers, and can
/// be let go.
pub(crate) struct Answer<B> {
    inner: B,
    rest: Bytes,
    taken_any: bool,
    waiting: Option<Arc<Waiting>>,
}

impl<B> Answer<B> {
    /// To be made within the call.
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, rest: Bytes::new(), taken_any: false, waiting: OF_THIS_CALL.try_with(Arc::clone).ok() }
    }

    fn piece(&mut self, first: bool) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        if let Some(waiting) = &self.waiting {
            waiting.set(first || self.rest.len() > MUCH);
        }
        Frame::data(piece)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    /// HTTP/2 asks for more only when the peer's window took what it has.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if let Some(waiting) = &this.waiting {
            waiting.set(false);
        }
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece(false))));
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    let first = !std::mem::replace(&mut this.taken_any, true);
                    this.piece(first)
                }
                Err(trailers) => trailers,
            }))),
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest.len() {
            0 => self.inner.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::poll_fn;

    /// A message of this size and then nothing for ever.
    struct Endless(Option<usize>);

    impl Body for Endless {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            match self.0.take() {
                Some(size) => Poll::Ready(Some(Ok(Frame::data(vec![7; size].into())))),
                None => Poll::Pending,
            }
        }
    }

    /// A peer that takes so many pieces and then none; after how many seconds it was given up, of an hour.
    async fn given_up(size: usize, pieces: usize) -> Option<u64> {
        let began = Instant::now();
        let call = async {
            let mut answer = Answer::new(Endless(Some(size)));
            for _ in 0..pieces {
                let piece = poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)).await.unwrap().unwrap();
                assert!(piece.into_data().unwrap().len() <= PIECE);
            }
            sleep(Duration::from_secs(3600)).await;
        };
        (!until_stalled(call).await).then(|| began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_within_thirty_seconds() {
        assert!(given_up(10, 1).await.is_some_and(|seconds| (25..=30).contains(&seconds)));
        assert!(given_up(1 << 20, 2).await.is_some_and(|seconds| (25..=30).contains(&seconds)), "much waits");
        assert_eq!(given_up(PIECE + MUCH, 2).await, None, "little waits");
        assert_eq!(given_up(10, 0).await, None, "nothing to take yet");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_all_may_wait_for_more() {
        let call = async {
            let mut answer = Answer::new(Endless(Some(10)));
            let mut next = async || poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)).await;
            next().await.unwrap().unwrap();
            let more = tokio::time::timeout(Duration::from_secs(3600), next()).await;
            assert!(more.is_err(), "there is no more");
        };
        assert!(until_stalled(call).await);
    }
}
