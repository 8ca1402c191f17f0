//! The agent's monotonic clock.

use hal_core::Instant;

/// Nanoseconds since the agent started. Follows tokio's clock, so that a paused runtime pauses it too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    pub(crate) fn now(&self) -> Instant {
        // 2^64 ns are 584 years
        Instant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
