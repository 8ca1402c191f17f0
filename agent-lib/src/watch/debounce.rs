//! Debouncing where the kernel does not: an edge counts once its level has been stable for a while.

use core::time::Duration;

use hal_core::{EdgeEvent, Instant};

/// The debouncing of one line, by the times of its edges.
#[derive(Debug)]
pub(crate) struct Filter {
    period: Duration,
    /// The logical level last told.
    told: bool,
    /// The edge away from it, after which the level may come to rest.
    pending: Option<EdgeEvent>,
}

impl Filter {
    /// A line at rest at this logical level.
    pub(crate) fn new(period: Duration, level: bool) -> Self {
        Self { period, told: level, pending: None }
    }

    /// The level last told, which is the one that counts.
    pub(crate) fn level(&self) -> bool {
        self.told
    }

    /// When the pending edge counts, if none comes before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.map(|edge| edge.at.saturating_add(self.period))
    }

    /// Takes in an edge; answers an earlier one that has come to count by then.
    pub(crate) fn edge(&mut self, edge: EdgeEvent) -> Option<EdgeEvent> {
        let settled = self.settled(edge.at);
        self.pending = (edge.rising != self.told).then_some(edge);
        settled
    }

    /// The edge that has come to count by `now`.
    pub(crate) fn settled(&mut self, now: Instant) -> Option<EdgeEvent> {
        let settled = self.pending.take_if(|edge| edge.at.saturating_add(self.period) <= now)?;
        self.told = settled.rising;
        Some(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hal_core::{LineId, Lost};

    fn edge(rising: bool, micros: u64) -> EdgeEvent {
        let at = Instant::from_nanos(micros * 1_000);
        EdgeEvent { line: LineId(4), rising, at, seq: None, lost: Lost::None }
    }

    #[test]
    fn a_level_counts_once_it_is_stable() {
        let mut filter = Filter::new(Duration::from_micros(100), false);
        for (rising, at) in [(true, 0), (false, 30), (true, 60)] {
            assert_eq!(filter.edge(edge(rising, at)), None);
        }
        assert_eq!(filter.settled(Instant::from_nanos(159_999)), None);
        assert_eq!(filter.deadline(), Some(Instant::from_nanos(160_000)));
        assert_eq!(filter.settled(Instant::from_nanos(160_000)), Some(edge(true, 60)));
        assert_eq!((filter.level(), filter.deadline()), (true, None));
    }

    #[test]
    fn a_short_disturbance_never_counts() {
        let mut filter = Filter::new(Duration::from_micros(100), false);
        filter.edge(edge(true, 0));
        filter.edge(edge(false, 99));
        assert_eq!(filter.settled(Instant::from_nanos(1_000_000)), None);
    }

    #[test]
    fn a_late_look_still_finds_the_earlier_edge() {
        let mut filter = Filter::new(Duration::from_micros(100), false);
        filter.edge(edge(true, 0));
        assert_eq!(filter.edge(edge(false, 500)), Some(edge(true, 0)));
        assert_eq!(filter.settled(Instant::from_nanos(600_000)), Some(edge(false, 500)));
    }
}
