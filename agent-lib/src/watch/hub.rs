//! The history of the watched lines, and those who follow it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::task::Waker;

use hal_core::{Instant, LineId};

use super::debounce::Filter;
use super::subscriber::Subscriber;
use super::{Missed, Position, Record, WatchId, What};

/// Records that are remembered unless the host says otherwise.
const MEMORY: usize = 1024;

/// The one numbering, the recent records, the watched lines and the watchers.
#[derive(Debug)]
pub(crate) struct Hub {
    last: Position,
    recent: VecDeque<Record>,
    memory: usize,
    lines: BTreeMap<LineId, Watched>,
    subscribers: BTreeMap<WatchId, Subscriber>,
    last_id: u64,
    /// Who wants to know that edges wait.
    pub(crate) waker: Option<Waker>,
}

/// A line that somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// The record with which watching began; from there on the history of this line is whole.
    since: u64,
    /// Edges fetched since there was none.
    pub(crate) burst: u32,
    /// The board does not give its edges; that has been told.
    pub(crate) failing: bool,
    /// The debouncing that is the agent's to do.
    pub(crate) filter: Option<Filter>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            last: Position::default(),
            recent: VecDeque::new(),
            memory: MEMORY,
            lines: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            last_id: 0,
            waker: None,
        }
    }
}

impl Hub {
    pub(crate) fn set_epoch(&mut self, epoch: u64) {
        self.last.epoch = epoch;
    }

    pub(crate) fn set_memory(&mut self, records: usize) {
        self.memory = records;
    }

    pub(crate) fn last(&self) -> Position {
        self.last
    }

    pub(crate) fn watches(&self, line: LineId) -> bool {
        self.lines.contains_key(&line)
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = LineId> {
        self.lines.keys().copied()
    }

    pub(crate) fn watched(&mut self, line: LineId) -> Option<&mut Watched> {
        self.lines.get_mut(&line)
    }

    pub(crate) fn begin(&mut self, line: LineId) {
        self.lines.insert(line, Watched { since: u64::MAX, ..Watched::default() });
    }

    /// The history of a line begins with the last record.
    pub(crate) fn begun(&mut self, line: LineId) {
        let since = self.last.sequence;
        self.lines.entry(line).and_modify(|watched| watched.since = since);
    }

    pub(crate) fn end(&mut self, line: LineId) {
        self.lines.remove(&line);
    }

    /// When the agent has to look at a bouncing line.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.lines.values().filter_map(|watched| watched.filter.as_ref()?.deadline())
    }

    /// Numbers what happened on a watched line, remembers it and tells its watchers.
    pub(crate) fn publish(&mut self, line: LineId, what: What) {
        if !self.watches(line) {
            return;
        }
        self.last.sequence = self.last.sequence.saturating_add(1);
        let record = Record { position: self.last, what };
        let theirs = self.subscribers.values_mut().filter(|subscriber| subscriber.watches(line));
        theirs.for_each(|subscriber| subscriber.tell(record.clone()));
        self.recent.push_back(record);
        let excess = self.recent.len().saturating_sub(self.memory);
        self.recent.drain(..excess);
    }

    /// The records of these lines after `position`, or `None` if some may have been forgotten.
    pub(crate) fn after(&self, position: Position, lines: &BTreeSet<LineId>) -> Option<VecDeque<Record>> {
        let missing = self.last.sequence.checked_sub(position.sequence)?;
        let whole = |line: &LineId| self.lines.get(line).is_some_and(|watched| watched.since <= position.sequence);
        let known = position.epoch == self.last.epoch && missing <= self.recent.len() as u64;
        if !known || !lines.iter().all(whole) {
            return None;
        }
        let later = self.recent.iter().filter(|record| record.position.sequence > position.sequence);
        let theirs = later.filter(|record| record.what.line().is_some_and(|line| lines.contains(&line)));
        Some(theirs.cloned().collect())
    }

    /// A new watcher, who is told these records first.
    pub(crate) fn subscribe(&mut self, lines: BTreeSet<LineId>, capacity: usize, first: VecDeque<Record>) -> WatchId {
        self.last_id = self.last_id.saturating_add(1);
        let id = WatchId(self.last_id);
        self.subscribers.insert(id, Subscriber::new(lines, capacity, first));
        id
    }

    pub(crate) fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
    }

    pub(crate) fn next(&mut self, id: WatchId) -> Option<Record> {
        self.subscribers.get_mut(&id)?.next()
    }

    /// Forgets a watcher; answers the lines that nobody watches any more.
    pub(crate) fn unsubscribe(&mut self, id: WatchId) -> BTreeSet<LineId> {
        let lines = self.subscribers.remove(&id).map(Subscriber::into_lines).unwrap_or_default();
        let others = |line: &LineId| self.subscribers.values().any(|subscriber| subscriber.watches(*line));
        lines.into_iter().filter(|line| !others(line)).collect()
    }
}

/// A gap that all watchers of a line see.
pub(crate) fn gap(line: LineId, missed: Missed) -> What {
    What::Gap { line: Some(line), missed }
}
