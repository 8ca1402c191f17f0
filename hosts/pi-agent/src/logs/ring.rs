//! A log in memory: the newest entries, bounded in bytes. What is pushed out before a reader had it is counted.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

/// One entry of a [`LogRing`]. Empty is what is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    /// Wall clock.
    pub time: SystemTime,
    /// Since the boot.
    pub monotonic: Option<Duration>,
    /// Which boot.
    pub boot_id: String,
    /// 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// Systemd unit.
    pub unit: String,
    /// Syslog identifier.
    pub identifier: String,
    /// Process.
    pub pid: Option<u32>,
    /// Whether the kernel said it.
    pub is_kernel: bool,
    /// The text.
    pub message: String,
}

impl LogRecord {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.boot_id.len() + self.unit.len() + self.identifier.len() + self.message.len()
    }
}

/// A log in memory. Clones are the same log.
#[derive(Clone, Debug)]
pub struct LogRing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Tells the cursors of one process from those of another.
    epoch: u64,
    capacity: usize,
    kept: Mutex<Kept>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<(u64, Arc<LogRecord>)>,
    bytes: usize,
    /// Of the next record.
    next: u64,
}

/// What a reader gets at once.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    pub(crate) records: Vec<(u64, Arc<LogRecord>)>,
    /// Records that are gone, before the first of these.
    pub(crate) missed: u64,
    /// Where to go on.
    pub(crate) next: u64,
}

impl LogRing {
    /// An empty one that keeps at most `capacity` bytes, and at least one record.
    pub fn new(capacity: usize) -> Self {
        let epoch = RandomState::new().build_hasher().finish();
        Self(Arc::new(Shared { epoch, capacity, kept: Mutex::default(), news: Notify::new() }))
    }

    /// Appends a record; the oldest make room for it.
    pub fn push(&self, record: LogRecord) {
        let mut kept = self.kept();
        kept.bytes += record.weight();
        let number = kept.next;
        kept.records.push_back((number, Arc::new(record)));
        kept.next += 1;
        while kept.bytes > self.0.capacity && kept.records.len() > 1 {
            let oldest = kept.records.pop_front();
            kept.bytes -= oldest.map_or(0, |(_, record)| record.weight());
        }
        drop(kept);
        self.0.news.notify_waiters();
    }

    /// As if `count` records had been pushed and pushed out again: a gap that readers are told of.
    pub fn skip(&self, count: u64) {
        self.kept().next += count;
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.0.epoch
    }

    pub(crate) fn news(&self) -> &Notify {
        &self.0.news
    }

    /// At most `count` records from number `from` on.
    pub(crate) fn read(&self, from: u64, count: usize) -> Portion {
        let kept = self.kept();
        let start = kept.records.partition_point(|(number, _)| *number < from);
        let mut portion = Portion { next: from, ..Portion::default() };
        for (number, record) in kept.records.iter().skip(start).take(count) {
            // a gap in the middle ends the portion, so that it is told in its place
            if *number > portion.next && !portion.records.is_empty() {
                break;
            }
            portion.missed += number - portion.next;
            portion.records.push((*number, record.clone()));
            portion.next = number + 1;
        }
        portion
    }

    /// Number of the first record that is left.
    pub(crate) fn first(&self) -> u64 {
        let kept = self.kept();
        kept.records.front().map_or(kept.next, |(number, _)| *number)
    }

    /// Number of the next record.
    pub(crate) fn next(&self) -> u64 {
        self.kept().next
    }

    /// Number of the record from which on `count` match, or of the first one that is left.
    pub(crate) fn tail(&self, count: u32, matches: impl Fn(u64, &LogRecord) -> bool) -> u64 {
        let kept = self.kept();
        let Some(before) = count.checked_sub(1) else { return kept.next };
        let mut newest = kept.records.iter().rev().filter(|(number, record)| matches(*number, record));
        let at = newest.nth(before as usize).map(|(number, _)| *number);
        at.or_else(|| kept.records.front().map(|(number, _)| *number)).unwrap_or(kept.next)
    }

    /// The boot that is `offset` (0 or negative) from the newest one, if it is still there.
    pub(crate) fn boot(&self, offset: i32) -> Option<String> {
        let kept = self.kept();
        let mut boots: Vec<&str> = kept.records.iter().map(|(_, record)| record.boot_id.as_str()).collect();
        boots.dedup();
        let back = usize::try_from(offset.unsigned_abs()).ok()?;
        boots.iter().rev().nth(back).map(|boot| (*boot).to_owned())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn record(message: &str) -> LogRecord {
        LogRecord {
            time: SystemTime::UNIX_EPOCH,
            monotonic: None,
            boot_id: String::new(),
            priority: 6,
            unit: String::new(),
            identifier: String::new(),
            pid: None,
            is_kernel: false,
            message: message.to_owned(),
        }
    }

    proptest! {
        /// However slow: what a reader got and what it was told to have missed is what was written.
        #[test]
        fn received_and_missed_is_written(steps in prop::collection::vec((0..30u64, 0..5u64, 0..20usize), 0..50)) {
            let ring = LogRing::new(20 * record("0").weight());
            let (mut written, mut received, mut missed, mut at) = (0, 0, 0, 0);
            let mut last = None;
            let mut read = |ring: &LogRing, count| {
                let portion = ring.read(at, count);
                missed += portion.missed;
                for (number, record) in &portion.records {
                    assert_eq!(record.message, number.to_string());
                    assert!(last.is_none_or(|last| last < *number));
                    last = Some(*number);
                    received += 1;
                }
                at = portion.next;
                portion.records.len()
            };
            for (pushed, skipped, count) in steps {
                for _ in 0..pushed {
                    ring.push(record(&written.to_string()));
                    written += 1;
                }
                ring.skip(skipped);
                written += skipped;
                read(&ring, count);
                prop_assert!(ring.kept().bytes <= 20 * record("000000").weight());
            }
            ring.push(record(&written.to_string()));
            written += 1;
            while read(&ring, 7) > 0 {}
            prop_assert_eq!(received + missed, written);
        }
    }

    #[test]
    fn the_tail_counts_what_matches() {
        let ring = LogRing::new(1 << 16);
        (0..10).for_each(|number| ring.push(record(&number.to_string())));
        assert_eq!(ring.tail(3, |_, _| true), 7);
        assert_eq!(ring.tail(3, |number, _| number % 2 == 0), 4);
        assert_eq!(ring.tail(100, |_, _| true), 0);
        assert_eq!(ring.tail(0, |_, _| true), 10);
    }

    #[test]
    fn boots_are_counted_from_the_newest() {
        let ring = LogRing::new(1 << 16);
        for boot in ["a", "a", "b", "c", "c"] {
            ring.push(LogRecord { boot_id: boot.to_owned(), ..record("") });
        }
        let boot = |offset| ring.boot(offset);
        assert_eq!(
            [boot(0), boot(-1), boot(-2), boot(-3)],
            [Some("c".into()), Some("b".into()), Some("a".into()), None]
        );
    }
}
