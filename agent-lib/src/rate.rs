//! How many operations each caller may ask for, so that nobody keeps a node from the others.

use alloc::collections::BTreeMap;
use core::time::Duration;

use hal_core::Instant;

use crate::Holder;

/// Callers that are remembered at once. One is forgotten when its allowance is whole again, at most a burst later.
const CALLERS: usize = 1024;

const SECOND: u64 = 1_000_000_000;

/// A limit of operations a second for each caller, with a second's worth at once (the generic cell rate algorithm, which
/// needs one number a caller).
///
/// Rate limiters from the registry bring a clock and shared maps of atomics; this one takes `now` and has neither, like
/// everything here.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// 0: no limit.
    per_second: u32,
    /// When each caller's allowance is whole again. Who is not here has all of it.
    whole: BTreeMap<Holder, Instant>,
}

/// A caller has used up its allowance. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {per_second} line operations a second; try again in {} ms", self.retry_after_ms())]
pub struct RateLimited {
    /// The limit.
    pub per_second: u32,
    /// When the same would be allowed, if nothing else is asked for.
    pub retry_after: Duration,
}

impl RateLimited {
    /// The same in whole milliseconds, rounded up.
    pub fn retry_after_ms(&self) -> u128 {
        self.retry_after.as_nanos().div_ceil(1_000_000)
    }
}

impl RateLimit {
    /// What one call may cost at most; what costs more is charged this. The largest write has as many lines.
    pub const MOST_AT_ONCE: u32 = 64;

    /// A limit of so many operations a second; 0 is no limit.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, whole: BTreeMap::new() }
    }

    /// Charges a caller for so many operations. What costs nothing is always allowed.
    ///
    /// # Errors
    ///
    /// If that is more than is left of its allowance: a second's worth, [`MOST_AT_ONCE`](Self::MOST_AT_ONCE) at least. Also
    /// a newcomer for whom there is no room, because 1024 others were here within the last burst.
    pub fn charge(&mut self, now: Instant, caller: &Holder, operations: u32) -> Result<(), RateLimited> {
        if self.per_second == 0 || operations == 0 {
            return Ok(());
        }
        let operations = operations.min(Self::MOST_AT_ONCE);
        match self.whole.get_mut(caller) {
            Some(whole) => {
                *whole = charged(self.per_second, now, *whole, operations)?;
            }
            None => {
                self.make_room(now)?;
                let whole = charged(self.per_second, now, now, operations)?;
                self.whole.insert(caller.clone(), whole);
            }
        }
        Ok(())
    }

    /// Forgets those whose allowance is whole, when there is no room for another.
    fn make_room(&mut self, now: Instant) -> Result<(), RateLimited> {
        if self.whole.len() >= CALLERS {
            self.whole.retain(|_, whole| *whole > now);
        }
        match self.whole.values().min() {
            Some(next) if self.whole.len() >= CALLERS => {
                Err(RateLimited { per_second: self.per_second, retry_after: next.saturating_since(now) })
            }
            _ => Ok(()),
        }
    }
}

/// When an allowance is whole again that was to be at `whole`, after so many operations more.
fn charged(per_second: u32, now: Instant, whole: Instant, operations: u32) -> Result<Instant, RateLimited> {
    let lasting = |operations: u32| Duration::from_nanos(SECOND * u64::from(operations) / u64::from(per_second));
    let burst = lasting(per_second.max(RateLimit::MOST_AT_ONCE));
    let whole = whole.max(now).saturating_add(lasting(operations));
    match whole.saturating_since(now).checked_sub(burst) {
        None | Some(Duration::ZERO) => Ok(whole),
        Some(retry_after) => Err(RateLimited { per_second, retry_after }),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    fn caller(name: &str) -> Holder {
        Holder::new(name).unwrap()
    }

    fn millis(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn allowed(limit: &mut RateLimit, now: Instant, who: &Holder) -> usize {
        (0..100_000).take_while(|_| limit.charge(now, who, 1).is_ok()).count()
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_the_rate() {
        let (mut limit, anna) = (RateLimit::new(1000), caller("operator/anna"));
        assert_eq!(allowed(&mut limit, millis(0), &anna), 1000);
        let refused = limit.charge(millis(0), &anna, 1).unwrap_err();
        assert_eq!(refused, RateLimited { per_second: 1000, retry_after: Duration::from_millis(1) });
        assert_eq!(refused.to_string(), "more than 1000 line operations a second; try again in 1 ms");
        assert_eq!(allowed(&mut limit, millis(1), &anna), 1, "a refused call costs nothing");
        assert_eq!(allowed(&mut limit, millis(251), &anna), 250);
        assert_eq!(allowed(&mut limit, millis(100_000), &anna), 1000, "no more than a burst is saved up");
    }

    #[test]
    fn one_caller_costs_another_nothing() {
        let mut limit = RateLimit::new(100);
        assert_eq!(allowed(&mut limit, millis(0), &caller("operator/anna")), 100);
        assert_eq!(allowed(&mut limit, millis(0), &caller("operator/ben")), 100);
    }

    #[test]
    fn what_costs_nothing_and_what_has_no_limit_is_always_allowed() {
        let (mut limit, anna) = (RateLimit::new(64), caller("operator/anna"));
        assert_eq!(allowed(&mut limit, millis(0), &anna), 64);
        assert_eq!(limit.charge(millis(0), &anna, 0), Ok(()));
        assert_eq!(allowed(&mut RateLimit::new(0), millis(0), &anna), 100_000);
    }

    #[test]
    fn the_largest_write_is_possible_at_the_lowest_rate() {
        let (mut limit, anna) = (RateLimit::new(1), caller("operator/anna"));
        assert_eq!(limit.charge(millis(0), &anna, 1_000_000), Ok(()));
        assert_eq!(limit.charge(millis(0), &anna, 1).unwrap_err().retry_after, Duration::from_secs(1));
        assert_eq!(limit.charge(millis(64_000), &anna, RateLimit::MOST_AT_ONCE), Ok(()));
        let mut fastest = RateLimit::new(u32::MAX);
        assert_eq!(fastest.charge(millis(0), &anna, 64), Ok(()));
    }

    #[test]
    fn idle_callers_are_forgotten_and_the_number_of_others_is_bounded() {
        let mut limit = RateLimit::new(100);
        for number in 0..CALLERS {
            limit.charge(millis(0), &caller(&format!("operator/{number}")), 1).unwrap();
        }
        let late = caller("operator/late");
        assert_eq!(limit.charge(millis(9), &late, 1).unwrap_err().retry_after, Duration::from_millis(1));
        assert_eq!(limit.charge(millis(9), &caller("operator/7"), 1), Ok(()), "who is known goes on");
        assert_eq!(limit.charge(millis(10), &late, 1), Ok(()));
        assert_eq!(limit.whole.len(), 2);
    }
}
