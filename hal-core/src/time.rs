//! Points in time, as a board counts them.

use core::time::Duration;

/// Nanoseconds since an arbitrary start that does not change while the board is open.
///
/// It never goes backwards and has nothing to do with the wall clock. On Linux it is `CLOCK_MONOTONIC`, the clock of the
/// kernel's edge timestamps (GPIO character device, since Linux 5.7); in a simulation it is virtual. 64 bits last 584
/// years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// The point `nanos` nanoseconds after the start of the clock.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of the clock.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This point moved by `later`, or `None` past the end of the clock.
    pub fn checked_add(self, later: Duration) -> Option<Self> {
        let nanos = u64::try_from(later.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Self)
    }

    /// This point moved by `later`, or the last point of the clock.
    pub fn saturating_add(self, later: Duration) -> Self {
        self.checked_add(later).unwrap_or(Self(u64::MAX))
    }

    /// Time passed since `earlier`; zero if `earlier` is not earlier.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_and_subtracts() {
        let start = Instant::from_nanos(5);
        let end = start.saturating_add(Duration::from_micros(1));
        assert_eq!(end.as_nanos(), 1_005);
        assert_eq!(end.saturating_since(start), Duration::from_micros(1));
    }

    #[test]
    fn stops_at_both_ends() {
        let last = Instant::from_nanos(u64::MAX);
        assert_eq!(last.checked_add(Duration::from_nanos(1)), None);
        assert_eq!(Instant::ZERO.checked_add(Duration::MAX), None);
        assert_eq!(last.saturating_add(Duration::MAX), last);
        assert_eq!(Instant::ZERO.saturating_since(last), Duration::ZERO);
    }
}
