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
    /// Two rows of reports go on side by side, each in its own order: two machines report as one node.
    Interleaved,
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
    heard: BTreeMap<Name, Heard>,
    denied: BTreeMap<Name, u64>,
}

/// What is remembered of one node.
#[derive(Debug)]
struct Heard {
    at: Instant,
    last: Report,
    /// The row of reports that the present one broke off, and when it was heard last.
    before: Option<(Instant, Report)>,
    /// How often a row was taken up again while another went on. A late report does so once; a restart never.
    returns: u32,
}

impl Presence {
    /// How often nodes report, unless told otherwise.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// Nobody heard of yet; nodes are to report once in `interval`.
    pub fn new(interval: Duration) -> Presence {
        Presence { interval, heard: BTreeMap::new(), denied: BTreeMap::new() }
    }

    /// Takes a report that came in at `now`.
    pub fn report(&mut self, node: &Name, now: Instant, report: Report) -> Arrival {
        let forgotten = self.interval * 6;
        match self.heard.get_mut(node) {
            Some(heard) => heard.take(now, report, forgotten),
            None => {
                self.heard.insert(node.clone(), Heard { at: now, last: report, before: None, returns: 0 });
                Arrival::InOrder
            }
        }
    }

    /// Takes down that `node`, which is enrolled, was denied something: it spoke of another one, for instance.
    pub fn deny(&mut self, node: &Name) {
        *self.denied.entry(node.clone()).or_default() += 1;
    }

    /// How often `node` was denied something since the control plane started.
    pub fn denied(&self, node: &Name) -> u64 {
        self.denied.get(node).copied().unwrap_or_default()
    }

    /// Whether `node` is there.
    pub fn state(&self, node: &Name, now: Instant) -> State {
        let Some(at) = self.heard_at(node) else {
            return State::Unknown;
        };
        match now.saturating_duration_since(at) {
            silence if silence < self.interval * 3 => State::Ready,
            silence if silence < self.interval * 6 => State::Suspect,
            _ => State::Offline,
        }
    }

    /// The last report of `node`.
    pub fn last(&self, node: &Name) -> Option<&Report> {
        self.heard.get(node).map(|heard| &heard.last)
    }

    /// When `node` was last heard of.
    pub fn heard_at(&self, node: &Name) -> Option<Instant> {
        self.heard.get(node).map(|heard| heard.at)
    }
}

impl Heard {
    fn take(&mut self, now: Instant, report: Report, forgotten: Duration) -> Arrival {
        if self.before.as_ref().is_some_and(|(at, _)| now.saturating_duration_since(*at) > forgotten) {
            (self.before, self.returns) = (None, 0);
        }
        let arrival = follows(&self.last, &report);
        let is_next = report.boot_id == self.last.boot_id && arrival == Arrival::InOrder;
        let returns = !is_next && self.before.as_ref().is_some_and(|(_, before)| continues(before, &report));
        let breaks_off = returns || arrival == Arrival::Again || report.boot_id != self.last.boot_id;
        let last = std::mem::replace(&mut self.last, report);
        if breaks_off {
            self.before = Some((self.at, last));
        }
        self.at = now;
        self.returns += u32::from(returns);
        if returns && self.returns > 1 { Arrival::Interleaved } else { arrival }
    }
}

/// Whether `next` takes up the row that `last` ended; a few reports may have been lost in between.
fn continues(last: &Report, next: &Report) -> bool {
    last.boot_id == next.boot_id && (1..=6).contains(&next.sequence.saturating_sub(last.sequence))
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
