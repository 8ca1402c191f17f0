//! Who failed lately, and how long they have to wait before they may try again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Failures that cost nothing yet.
const FREE: u32 = 5;
/// In which time they are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// The first time to wait; doubled with each further failure after it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Whoever has not failed for so long starts anew.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// The most that are remembered; of more, the half goes that failed longest ago.
const MOST: usize = 4096;

/// At most five failures a second for each `K`, then a pause that grows from 1 to 60 s. What succeeds is never counted:
/// a thousand nodes may join at once. Nor does it wipe out failures, or one success now and then would be a way round.
///
/// In memory only: a restart forgives.
#[derive(Debug)]
pub struct Attempts<K> {
    failures: BTreeMap<K, Failures>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    window: Instant,
    count: u32,
    last: Instant,
    pause: Duration,
    blocked_until: Option<Instant>,
}

impl<K> Default for Attempts<K> {
    fn default() -> Self {
        Attempts { failures: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Attempts<K> {
    /// Whether `who` may try now.
    ///
    /// # Errors
    ///
    /// How long they have to wait.
    pub fn check(&self, now: Instant, who: &K) -> Result<(), Duration> {
        let until = self.failures.get(who).and_then(|failures| failures.blocked_until);
        match until.map(|until| until.saturating_duration_since(now)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    /// Counts a failure of `who`.
    pub fn failed(&mut self, now: Instant, who: K) {
        self.forget(now);
        let fresh = Failures { window: now, count: 0, last: now, pause: FIRST_PAUSE, blocked_until: None };
        let failures = self.failures.entry(who).or_insert(fresh);
        if now.saturating_duration_since(failures.last) >= FORGOTTEN {
            *failures = fresh;
        }
        if now.saturating_duration_since(failures.window) >= WINDOW {
            (failures.window, failures.count) = (now, 0);
        }
        failures.count += 1;
        failures.last = now;
        // who was blocked before gets one try, not five more
        if failures.count >= FREE || failures.blocked_until.is_some() {
            failures.blocked_until = Some(now + failures.pause);
            failures.pause = (failures.pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn forget(&mut self, now: Instant) {
        if self.failures.len() < MOST {
            return;
        }
        self.failures.retain(|_, failures| now.saturating_duration_since(failures.last) < FORGOTTEN);
        if self.failures.len() >= MOST {
            let mut times: Vec<_> = self.failures.values().map(|failures| failures.last).collect();
            times.sort_unstable();
            let median = times[times.len() / 2];
            self.failures.retain(|_, failures| failures.last > median);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn five_failures_in_a_second_are_free_and_then_pauses_grow() {
        let (mut attempts, mut now) = (Attempts::default(), Instant::now());
        for _ in 0..FREE {
            assert_eq!(attempts.check(now, &"a"), Ok(()));
            attempts.failed(now, "a");
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(attempts.check(now, &"a"), Err(wait));
            assert_eq!(attempts.check(now + wait - MS, &"a"), Err(MS));
            assert_eq!(attempts.check(now, &"b"), Ok(()), "others are not concerned");
            now += wait;
            assert_eq!(attempts.check(now, &"a"), Ok(()));
            attempts.failed(now, "a");
        }
        attempts.failed(now + FORGOTTEN, "a");
        assert_eq!(attempts.check(now + FORGOTTEN, &"a"), Ok(()), "long ago");
    }

    #[test]
    fn slow_failures_are_free() {
        let (mut attempts, mut now) = (Attempts::default(), Instant::now());
        for _ in 0..100 {
            attempts.failed(now, "a");
            assert_eq!(attempts.check(now, &"a"), Ok(()));
            now += MS * 250;
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        for who in 0..2 * MOST as u32 {
            attempts.failed(start + MS * who, who);
        }
        assert!(attempts.failures.len() <= MOST && attempts.failures.contains_key(&(2 * MOST as u32 - 1)));
    }
}
