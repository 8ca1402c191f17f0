//! `StreamGPIO`: an answer for each request. What a client sends without a pause does not keep the agent's one thread
//! from the others: the task gives way after as many messages as tokio lets it have in a row (128).

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
use crate::{gpio, wire};

/// One client's requests, and their answers.
pub(crate) struct Answers<B: Board> {
    pub(crate) node: Arc<Node<B>>,
    pub(crate) principal: Principal,
    pub(crate) requests: Streaming<GpioRequest>,
    /// Its place among all streams.
    pub(crate) _place: OwnedSemaphorePermit,
}

impl<B: Board> Answers<B> {
    /// A refusal by the rate limit is made without a status and its details: a flood of them stays cheap.
    fn answer(&self, request: GpioRequest) -> StreamGpioResponse {
        match self.node.charge(&self.principal, gpio::cost(&request)) {
            Ok(()) => wire::outcome(self.node.operate(&self.principal, request)),
            Err(limited) => wire::limited_outcome(&limited),
        }
    }
}

impl<B: Board> Unpin for Answers<B> {}

impl<B: Board> Stream for Answers<B> {
    type Item = Result<StreamGpioResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let turn = ready!(coop::poll_proceed(cx));
        let request = ready!(Pin::new(&mut self.requests).poll_next(cx));
        turn.made_progress();
        Poll::Ready(request.map(|request| request.map(|request| self.answer(request))))
    }
}
