//! Readings of the system, and what they come to.

use core::mem;
use core::time::Duration;

use hal_core::{CpuTime, Instant, MetricsSource, Sample};

/// Takes readings and keeps the last two, so that asking for metrics never waits for a window to pass.
#[derive(Debug)]
pub struct Meter<S> {
    source: S,
    before: Option<Taken>,
    last: Option<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    at: Instant,
    sample: Sample,
}

/// What the last readings come to. What could not be read is absent, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// The share of processor time that was busy between the last two readings, 0 to 100. Absent before the second
    /// reading, and when the counters stood still or went backwards.
    pub cpu_usage_percent: Option<f64>,
    /// The time between the two readings; present with `cpu_usage_percent`.
    pub cpu_window: Option<Duration>,
    /// The share of main memory that is not available, 0 to 100.
    pub memory_usage_percent: Option<f64>,
    /// The share of the root file system that users without privileges cannot write to any more, 0 to 100.
    pub disk_usage_percent: Option<f64>,
    /// The processor's temperature in degrees Celsius.
    pub temperature_celsius: Option<f64>,
    /// When the last reading was taken; absent before the first.
    pub at: Option<Instant>,
    /// The last reading itself.
    pub sample: Sample,
}

impl<S: MetricsSource> Meter<S> {
    /// A meter that has read nothing yet.
    pub fn new(source: S) -> Self {
        Self { source, before: None, last: None }
    }

    /// Takes a reading. How often is the host's choice; it is the length of the window.
    pub fn sample(&mut self, now: Instant) {
        mem::swap(&mut self.before, &mut self.last);
        let taken = self.last.get_or_insert_default(); // the reading before last, whose memory is used again
        taken.at = now;
        self.source.sample(&mut taken.sample);
    }

    /// What the last readings come to; nothing is read for this.
    pub fn latest(&self) -> Metrics {
        let Some(Taken { at, sample }) = &self.last else {
            return Metrics::default();
        };
        let window = self.before.as_ref().map(|before| at.saturating_since(before.at));
        let cpu_usage_percent = self.before.as_ref().and_then(|before| busy(before.sample.cpu?, sample.cpu?));
        Metrics {
            cpu_usage_percent,
            cpu_window: window.filter(|_| cpu_usage_percent.is_some()),
            memory_usage_percent: sample.memory.and_then(|memory| used(memory.total_bytes, memory.available_bytes)),
            disk_usage_percent: sample.disk.and_then(|disk| used(disk.total_bytes, disk.available_bytes)),
            temperature_celsius: sample.temperature_millicelsius.map(|temperature| f64::from(temperature) / 1000.0),
            at: Some(*at),
            sample: sample.clone(),
        }
    }
}

fn busy(before: CpuTime, last: CpuTime) -> Option<f64> {
    let total = last.total_ticks.checked_sub(before.total_ticks)?;
    let busy = last.busy_ticks.checked_sub(before.busy_ticks)?;
    percent(busy, total)
}

fn used(total: u64, available: u64) -> Option<f64> {
    percent(total.checked_sub(available)?, total)
}

/// Multiplies first: 7 of 100 is then 7 to the last bit, and not 7.000000000000001.
fn percent(part: u64, whole: u64) -> Option<f64> {
    (0 < whole && part <= whole).then(|| 100.0 * part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hal_core::Memory;

    /// Answers one prepared reading after the other.
    struct Prepared<const N: usize>([Option<(u64, u64)>; N], usize);

    impl<const N: usize> MetricsSource for Prepared<N> {
        fn sample(&mut self, out: &mut Sample) {
            let cpu = |(busy_ticks, total_ticks)| CpuTime { busy_ticks, total_ticks };
            *out = Sample { cpu: self.0[self.1].map(cpu), ..Sample::default() };
            self.1 += 1;
        }
    }

    fn cpu_after<const N: usize>(readings: [Option<(u64, u64)>; N]) -> Option<f64> {
        let mut meter = Meter::new(Prepared(readings, 0));
        (0..N as u64).for_each(|second| meter.sample(Instant::from_nanos(second * 1_000_000_000)));
        meter.latest().cpu_usage_percent
    }

    #[test]
    fn the_first_reading_has_no_window() {
        assert_eq!(cpu_after([Some((10, 100))]), None);
        assert_eq!(Meter::new(Prepared([], 0)).latest(), Metrics::default());
    }

    #[test]
    fn the_window_is_between_the_last_two() {
        assert_eq!(cpu_after([Some((0, 0)), Some((900, 1000)), Some((1052, 2000))]), Some(15.2));
    }

    #[test]
    fn counters_that_stand_still_or_turn_back_tell_nothing() {
        assert_eq!(cpu_after([Some((10, 100)), Some((10, 100))]), None);
        assert_eq!(cpu_after([Some((10, 100)), Some((9, 200))]), None);
        assert_eq!(cpu_after([Some((10, 100)), Some((11, 99))]), None);
        assert_eq!(cpu_after([Some((10, 100)), None]), None);
        assert_eq!(cpu_after([None, Some((10, 100))]), None);
    }

    #[test]
    fn shares_are_of_the_whole() {
        let memory = Memory { total_bytes: 1000, available_bytes: 250 };
        assert_eq!(used(memory.total_bytes, memory.available_bytes), Some(75.0));
        assert_eq!(percent(7, 100), Some(7.0));
        assert_eq!(used(0, 0), None);
        assert_eq!(used(10, 11), None);
    }
}
