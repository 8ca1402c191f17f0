//! Counting what is repeated. A row for each would wear out a card and fill a disk; none would hide it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant, SystemTime};

/// What is kept at once. Beyond it nothing is counted, and everything written.
const CAPACITY: usize = 4096;

/// Whether something has been seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Not lately: write it.
    First,
    /// Within the window since it was written: it was counted, [`Tally::due`] will tell it.
    Again,
}

/// How often something was repeated after it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeats {
    /// So many times, at least one.
    pub count: u64,
    /// The first of them.
    pub first: SystemTime,
    /// The last of them.
    pub last: SystemTime,
}

impl Repeats {
    /// Once.
    pub fn once(at: SystemTime) -> Self {
        Self { count: 1, first: at, last: at }
    }

    /// The same as a sentence's part.
    pub fn told(&self) -> String {
        format!("{} times more until {}", self.count, crate::rfc3339(self.last))
    }
}

struct Kept {
    since: Instant,
    repeats: Option<Repeats>,
}

/// What was written within the last window, and how often it was repeated since.
pub struct Tally<K> {
    window: Duration,
    kept: HashMap<K, Kept>,
}

impl<K: Hash + Eq + Clone> Tally<K> {
    /// An empty one: what is repeated within `window` is counted.
    pub fn new(window: Duration) -> Self {
        Self { window, kept: HashMap::new() }
    }

    /// Takes note of `key`, seen so often, and says whether it is to be written.
    pub fn see(&mut self, now: Instant, key: &K, seen: Repeats) -> Seen {
        if self.repeat(now, key, seen) {
            return Seen::Again;
        }
        self.wrote(now, key);
        Seen::First
    }

    /// Counts `key`, if it was written within the window; else it is to be written, and [`wrote`](Self::wrote) to be told.
    pub fn repeat(&mut self, now: Instant, key: &K, seen: Repeats) -> bool {
        let Some(kept) = self.kept.get_mut(key) else { return false };
        if let Some(repeats) = &mut kept.repeats {
            (repeats.count, repeats.last) = (repeats.count + seen.count, seen.last);
            return true;
        }
        let is_recent = now.saturating_duration_since(kept.since) < self.window;
        if is_recent {
            kept.repeats = Some(seen);
        }
        is_recent
    }

    /// `key` was written.
    pub fn wrote(&mut self, now: Instant, key: &K) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.since = now;
        } else if self.kept.len() < CAPACITY {
            self.kept.insert(key.clone(), Kept { since: now, repeats: None });
        }
    }

    /// What was repeated in windows that are over: to be written. What was not is forgotten.
    pub fn due(&mut self, now: Instant) -> Vec<(K, Repeats)> {
        let (mut due, window) = (Vec::new(), self.window);
        self.kept.retain(|key, kept| {
            if now.saturating_duration_since(kept.since) < window {
                return true;
            }
            let repeats = kept.repeats.take();
            kept.since = now;
            due.extend(repeats.map(|repeats| (key.clone(), repeats)));
            repeats.is_some()
        });
        due
    }

    /// Everything that was repeated, whatever the time: nothing comes after.
    pub fn rest(&mut self) -> Vec<(K, Repeats)> {
        let all = self.kept.drain();
        all.filter_map(|(key, kept)| kept.repeats.map(|repeats| (key, repeats))).collect()
    }

    /// When there is something [`due`](Self::due) or to be forgotten next; `None` if nothing is kept.
    pub fn next(&self) -> Option<Instant> {
        self.kept.values().map(|kept| kept.since + self.window).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn once(at: u64) -> Repeats {
        Repeats::once(SystemTime::UNIX_EPOCH + Duration::from_secs(at))
    }

    #[test]
    fn the_first_is_written_and_the_rest_of_a_window_is_counted() {
        let (start, mut tally) = (Instant::now(), Tally::new(WINDOW));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(tally.see(at(0), &"a", once(0)), Seen::First);
        assert_eq!(tally.see(at(1), &"b", once(1)), Seen::First);
        for second in 2..50 {
            assert_eq!(tally.see(at(second), &"a", once(second)), Seen::Again);
        }
        assert_eq!(tally.next(), Some(at(60)));
        assert_eq!(tally.due(at(59)), []);
        let due = tally.due(at(61));
        assert_eq!(due, [("a", Repeats { count: 48, last: once(49).last, ..once(2) })]);
        assert_eq!(due[0].1.told(), "48 times more until 1970-01-01T00:00:49Z");
        // what was written a moment ago is counted again, what was not repeated is forgotten
        assert_eq!(tally.see(at(62), &"a", once(62)), Seen::Again);
        assert_eq!(tally.see(at(62), &"b", once(62)), Seen::First);
        assert_eq!(tally.rest(), [("a", once(62))]);
        assert_eq!((tally.next(), tally.see(at(63), &"a", once(63))), (None, Seen::First));
    }

    #[test]
    fn nothing_is_lost_when_nobody_asks_in_time() {
        let (start, mut tally) = (Instant::now(), Tally::new(WINDOW));
        assert_eq!(tally.see(start, &"a", once(0)), Seen::First);
        assert_eq!(tally.see(start + WINDOW / 2, &"a", once(30)), Seen::Again);
        assert_eq!(tally.see(start + WINDOW * 9, &"a", once(540)), Seen::Again);
        assert_eq!(tally.due(start + WINDOW * 9)[0].1.count, 2);
        assert_eq!(tally.due(start + WINDOW * 10), []);
        assert_eq!(tally.see(start + WINDOW * 10, &"a", once(600)), Seen::First);
    }

    #[test]
    fn what_is_kept_is_bounded_and_then_everything_is_written() {
        let (now, mut tally) = (Instant::now(), Tally::new(WINDOW));
        for key in 0..2 * CAPACITY {
            assert_eq!(tally.see(now, &key, once(0)), Seen::First);
        }
        assert_eq!(tally.kept.len(), CAPACITY);
        assert_eq!(tally.see(now, &(CAPACITY + 1), once(0)), Seen::First);
        assert_eq!(tally.see(now, &1, once(0)), Seen::Again);
    }
}
