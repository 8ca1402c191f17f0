//! `WatchGPIO`: records as a stream. A client that does not read makes its own queue overflow, which becomes a gap
//! record, and costs nobody else anything.

use std::sync::Arc;

use agent_lib::{Record, WatchId};
use futures_util::{Stream, stream};
use hal_core::{Board, LineId};
use proto::agent::v1::{GpioRecord, WatchGpioRequest};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use crate::access::Principal;
use crate::service::Node;
use crate::{gpio, wire};

/// Records that wait for a client before they become a gap.
const CAPACITY: usize = 1024;

/// One client's watch; ends when the stream is dropped.
struct Watching<B: Board> {
    node: Arc<Node<B>>,
    id: WatchId,
    /// Its place among all watches.
    _place: OwnedSemaphorePermit,
}

/// Starts to follow what `request` names.
pub(crate) fn watch<B: Board<Line: Send> + Send + 'static>(
    node: Arc<Node<B>>,
    principal: &Principal,
    request: WatchGpioRequest,
) -> Result<impl Stream<Item = Result<GpioRecord, Status>> + Send + 'static, Status> {
    let WatchGpioRequest { lines, resume_epoch, resume_sequence } = request;
    node.charge(principal, gpio::lines_cost(lines.len())).map_err(wire::rate_limited)?;
    let place = node.limits.watch()?;
    let resume = wire::position(resume_epoch, resume_sequence);
    let id = {
        let mut agent = node.agent();
        let lines: Vec<LineId> = gpio::watched(&agent, principal, &lines)?;
        let now = agent.board().now();
        let id = agent.watch(now, &lines, CAPACITY, resume).map_err(wire::refusal)?;
        node.touched(&mut agent);
        id
    };
    let watching = Watching { node, id, _place: place };
    Ok(stream::unfold(watching, |watching| async move {
        let record = watching.next().await;
        Some((Ok(wire::record(record)), watching))
    }))
}

impl<B: Board> Watching<B> {
    async fn next(&self) -> Record {
        loop {
            let mut more = std::pin::pin!(self.node.records.notified());
            more.as_mut().enable(); // before the look, so that no record slips in between
            if let Some(record) = self.node.agent().next(self.id) {
                return record;
            }
            more.await;
        }
    }
}

impl<B: Board> Drop for Watching<B> {
    fn drop(&mut self) {
        self.node.agent().unwatch(self.id);
    }
}
