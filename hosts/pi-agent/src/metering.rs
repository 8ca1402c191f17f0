//! `StreamMetrics`: the newest readings at the client's interval. Nothing is queued: the next message is made when the
//! connection takes it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use hal_core::{Board, Groups};
use proto::agent::v1::SystemMetrics;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::Status;

use crate::sampler::Wanted;
use crate::service::Node;

struct Metering<B: Board> {
    node: Arc<Node<B>>,
    ticks: Interval,
    /// What makes the sampler read these groups at every tick, as long as the stream lives.
    wanted: Wanted,
}

/// Readings of `groups`, at once and then every `period` until the agent stops.
pub(crate) fn metering<B: Board<Line: Send> + Send + 'static>(
    node: Arc<Node<B>>,
    groups: Groups,
    period: Duration,
) -> impl Stream<Item = Result<SystemMetrics, Status>> + Send + 'static {
    let wanted = node.readings.want(groups);
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold(Metering { node, ticks, wanted }, |mut metering| async move {
        tokio::select! {
            _ = metering.ticks.tick() => {}
            () = metering.node.stopping() => return None,
        }
        Some((Ok(metering.node.metrics(metering.wanted.groups())), metering))
    })
}
