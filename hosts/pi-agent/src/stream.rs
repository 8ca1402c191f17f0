//! `StreamGPIO`: an answer for each request, and a turn for everybody else in between.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use hal_core::Board;
use proto::agent::v1::{GpioRequest, StreamGpioResponse};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::coop;
use tonic::{Status, Streaming};

use crate::access::Principal;
use crate::service::Node;
use crate::wire;

/// One client's requests, and their answers.
pub(crate) struct Answers<B: Board> {
    pub(crate) node: Arc<Node<B>>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) requests: Turns<Streaming<GpioRequest>>,
    /// Its place among all streams.
    pub(crate) _place: OwnedSemaphorePermit,
}

impl<B: Board> Answers<B> {
    /// A refusal by the rate limit is made without a status and its details: a flood of them stays cheap.
    fn answer(&self, request: GpioRequest) -> StreamGpioResponse {
        match self.node.charge_and_operate(&self.principal, request) {
            Ok(outcome) => wire::outcome(outcome),
            Err(limited) => wire::limited_outcome(&limited),
        }
    }
}

impl<B: Board> Unpin for Answers<B> {}

impl<B: Board> Stream for Answers<B> {
    type Item = Result<StreamGpioResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let request = ready!(Pin::new(&mut self.requests).poll_next(cx));
        Poll::Ready(request.map(|request| request.map(|request| self.answer(request))))
    }
}

/// A stream that may always have more at once, and yet does not keep a thread from other tasks: it gives way after as many
/// items as tokio lets a task have in a row, which is 128.
pub(crate) struct Turns<S>(pub(crate) S);

impl<S: Stream + Unpin> Stream for Turns<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let turn = ready!(coop::poll_proceed(cx));
        let item = ready!(Pin::new(&mut self.0).poll_next(cx));
        turn.made_progress();
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt;

    use super::*;

    /// How often another task has its turn while a stream without a pause has so many items.
    async fn turns_of_another(items: impl Stream<Item = u32> + Unpin) -> usize {
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = turns.clone();
        let other = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        items.for_each(|_| std::future::ready(())).await;
        other.abort();
        turns.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn others_have_their_turns_beside_a_stream_that_never_runs_dry() {
        let endless = || futures_util::stream::iter(0..12_800);
        assert_eq!(turns_of_another(endless()).await, 0, "the control");
        assert!((99..=101).contains(&turns_of_another(Turns(endless())).await));
    }
}
