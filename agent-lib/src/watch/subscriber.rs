//! One watcher and its queue.

use alloc::collections::{BTreeSet, VecDeque};

use hal_core::LineId;

use super::{Missed, Position, Record, What};

/// A watcher. When its queue is full it misses what comes, until it has fetched enough; where that happened it finds one
/// gap with the number of records missed. Others do not notice.
#[derive(Debug)]
pub(crate) struct Subscriber {
    lines: BTreeSet<LineId>,
    capacity: usize,
    waiting: VecDeque<Record>,
    /// What it missed after the last record that waits, and the last of that.
    missed: Option<(Missed, Position)>,
}

impl Subscriber {
    /// What it is told first is never dropped, even if it is more than fits. The capacity is one at least.
    pub(crate) fn new(lines: BTreeSet<LineId>, capacity: usize, first: VecDeque<Record>) -> Self {
        Self { lines, capacity: capacity.max(1), waiting: first, missed: None }
    }

    pub(crate) fn watches(&self, line: LineId) -> bool {
        self.lines.contains(&line)
    }

    pub(crate) fn into_lines(self) -> BTreeSet<LineId> {
        self.lines
    }

    pub(crate) fn tell(&mut self, record: Record) {
        let needed = 1 + usize::from(self.missed.is_some());
        if self.waiting.len() + needed > self.capacity {
            self.miss(&record);
            return;
        }
        let gap = self.gap();
        self.waiting.extend(gap);
        self.waiting.push_back(record);
    }

    pub(crate) fn next(&mut self) -> Option<Record> {
        self.waiting.pop_front().or_else(|| self.gap())
    }

    fn miss(&mut self, record: &Record) {
        let dropped = record.what.if_dropped();
        let missed = self.missed.map_or(dropped, |(missed, _)| missed.and(dropped));
        self.missed = Some((missed, record.position));
    }

    fn gap(&mut self) -> Option<Record> {
        let (missed, position) = self.missed.take()?;
        Some(Record { position, what: What::Gap { line: None, missed } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::hub::gap;

    #[test]
    fn a_queue_with_a_gap_in_it_holds_no_more_than_fits() {
        let mut subscriber = Subscriber::new(BTreeSet::new(), 3, VecDeque::new());
        for sequence in 1..=20 {
            let position = Position { epoch: 0, sequence };
            subscriber.tell(Record { position, what: gap(LineId(4), Missed::Exactly(1)) });
            assert!(subscriber.waiting.len() <= 3);
            (sequence % 3 == 0).then(|| subscriber.next());
        }
    }
}
