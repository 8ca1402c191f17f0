//! Who has been heard of lately. In memory only: a heartbeat is not worth a write, and is stale after a restart.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::identity::Name;
use crate::text::Text;

/// What a node last said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The boot that it runs in.
    pub boot_id: Text,
    /// Counts the reports of one boot.
    pub sequence: u64,
    /// How it is, in a word: `OK`, `DEGRADED` or `NOT_SERVING`.
    pub status: Text,
}

/// How a report follows the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The first of its node or of its boot, or the next in order.
    InOrder,
    /// This many reports before it were lost.
    After {
        /// How many reports are missing, at least 1.
        lost: u64,
    },
    /// Its number was reached before in the same boot: the agent was started again, or two machines report as one
    /// node. Taken all the same: a node that speaks is there.
    Again,
}

/// What the silence of a node means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Heard of lately.
    Ready,
    /// Silent for three intervals.
    Suspect,
    /// Silent for six intervals.
    Offline,
    /// Not heard of since the control plane started.
    Unknown,
}

/// The last report of each node and when it came, by the receiver's monotonic clock. What a node says of the time
/// does not matter.
#[derive(Debug)]
pub struct Presence {
    interval: Duration,
    heard: BTreeMap<Name, (Instant, Report)>,
}

impl Presence {
    /// How often nodes report, unless told otherwise.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// Nobody heard of yet; nodes are to report once in `interval`.
    pub fn new(interval: Duration) -> Presence {
        Presence { interval, heard: BTreeMap::new() }
    }

    /// Takes a report that came in at `now`.
    pub fn report(&mut self, node: &Name, now: Instant, report: Report) -> Arrival {
        let arrival = self.last(node).map_or(Arrival::InOrder, |last| follows(last, &report));
        self.heard.insert(node.clone(), (now, report));
        arrival
    }

    /// Whether `node` is there.
    pub fn state(&self, node: &Name, now: Instant) -> State {
        let Some((at, _)) = self.heard.get(node) else {
            return State::Unknown;
        };
        match now.saturating_duration_since(*at) {
            silence if silence < self.interval * 3 => State::Ready,
            silence if silence < self.interval * 6 => State::Suspect,
            _ => State::Offline,
        }
    }

    /// The last report of `node`.
    pub fn last(&self, node: &Name) -> Option<&Report> {
        self.heard.get(node).map(|(_, report)| report)
    }

    /// When `node` was last heard of.
    pub fn heard_at(&self, node: &Name) -> Option<Instant> {
        self.heard.get(node).map(|(at, _)| *at)
    }
}

fn follows(last: &Report, next: &Report) -> Arrival {
    if last.boot_id != next.boot_id {
        return Arrival::InOrder;
    }
    match next.sequence.checked_sub(last.sequence) {
        None | Some(0) => Arrival::Again,
        Some(1) => Arrival::InOrder,
        Some(step) => Arrival::After { lost: step - 1 },
    }
}
