//! The time of a simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as StdInstant};

use hal_core::Instant;

/// A clock that all parts of a simulation share; clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// Nanoseconds; moved by hand.
    Virtual(AtomicU64),
    /// Follows the machine's monotonic clock from here.
    Paced(StdInstant),
}

impl Clock {
    /// A clock that stands still at zero until it is advanced.
    pub fn new() -> Self {
        Self(Arc::new(Source::Virtual(AtomicU64::new(0))))
    }

    /// A clock that runs from zero at the speed of real time.
    pub fn paced() -> Self {
        Self(Arc::new(Source::Paced(StdInstant::now())))
    }

    /// The time on this clock.
    pub fn now(&self) -> Instant {
        match &*self.0 {
            Source::Virtual(nanos) => Instant::from_nanos(nanos.load(Ordering::SeqCst)),
            Source::Paced(start) => Instant::ZERO.saturating_add(start.elapsed()),
        }
    }

    /// Moves a virtual clock; a paced clock runs by itself and takes no notice.
    pub fn advance(&self, by: Duration) {
        if let Source::Virtual(nanos) = &*self.0 {
            let later = |now| Some(Instant::from_nanos(now).saturating_add(by).as_nanos());
            _ = nanos.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_virtual_time() {
        let clock = Clock::new();
        let other = clock.clone();
        other.advance(Duration::from_millis(3));
        assert_eq!(clock.now().as_nanos(), 3_000_000);
    }

    #[test]
    fn paced_time_passes_by_itself() {
        let clock = Clock::paced();
        let before = clock.now();
        clock.advance(Duration::from_secs(3600));
        std::thread::sleep(Duration::from_millis(2));
        let passed = clock.now().saturating_since(before);
        assert!(passed >= Duration::from_millis(2) && passed < Duration::from_secs(60));
    }
}
