//! Readings of the system, and what they come to.

use core::mem;
use core::time::Duration;

use hal_core::{CpuTime, Groups, Instant, MetricsSource};

use crate::sample::Sample;

/// Takes readings and keeps the last two of the processor, so that asking for metrics never waits for a window to pass.
#[derive(Debug)]
pub struct Meter<S> {
    source: S,
    /// The processor's last reading.
    times: Times,
    /// The one before it.
    before: Times,
    metrics: Metrics,
}

/// One reading of the processor.
#[derive(Debug, Default)]
struct Times {
    at: Option<Instant>,
    all: Option<CpuTime>,
    cores: alloc::vec::Vec<(u16, CpuTime)>,
}

/// What the last readings come to. What could not be read is absent, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// The share of processor time that was busy between the last two readings, 0 to 100. Absent before the second
    /// reading, and when the counters stood still or went backwards.
    pub cpu_usage_percent: Option<f64>,
    /// The time between the two readings; present with `cpu_usage_percent`.
    pub cpu_window: Option<Duration>,
    /// What all cores together spent the window on; present with `cpu_usage_percent`.
    pub cpu: Option<Shares>,
    /// The same for each core, by the kernel's number.
    pub cores: alloc::vec::Vec<(u16, Shares)>,
    /// The share of main memory that is not available, 0 to 100.
    pub memory_usage_percent: Option<f64>,
    /// The share of the root file system that users without privileges cannot write to any more, 0 to 100.
    pub disk_usage_percent: Option<f64>,
    /// The processor's temperature in degrees Celsius.
    pub temperature_celsius: Option<f64>,
    /// What of under-voltage, capping, throttling and the soft limit has been seen or was remembered by the firmware,
    /// bits 0 to 3 (see [`hal_core::Throttled`]): kept here, because the firmware's memory is cleared by others. Absent as
    /// long as the firmware was never heard.
    pub throttled_since_boot: Option<u32>,
    /// When the last reading was taken; absent before the first.
    pub at: Option<Instant>,
    /// The last reading of each group.
    pub sample: Sample,
}

/// Shares of a window in percent, which come to 100 together. What the kernel does not count is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// In programs, those of lowered priority included.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
    /// Doing nothing.
    pub idle: f64,
    /// Doing nothing while a task waited for a disk.
    pub iowait: Option<f64>,
    /// In interrupts and in what they left for later.
    pub irq: Option<f64>,
    /// In other systems on the same host, while this one had work.
    pub steal: Option<f64>,
    /// All but `idle` and `iowait`.
    pub busy: f64,
}

impl<S: MetricsSource> Meter<S> {
    /// A meter that has read nothing yet.
    pub fn new(source: S) -> Self {
        Self { source, times: Times::default(), before: Times::default(), metrics: Metrics::default() }
    }

    /// The same, that knows from an earlier agent of this boot what has been seen (`throttled_since_boot`).
    #[must_use]
    pub fn with_throttled(mut self, seen: u32) -> Self {
        self.metrics.throttled_since_boot = Some(seen & 0xf).filter(|seen| *seen != 0);
        self
    }

    /// Takes a reading of some groups. How often is the host's choice; for the processor it is the length of the window.
    pub fn sample(&mut self, now: Instant, groups: Groups) {
        let sample = &mut self.metrics.sample;
        sample.clear(groups);
        self.source.sample(groups, &mut |reading| sample.take(reading));
        if groups.has(Groups::CPU) {
            mem::swap(&mut self.before, &mut self.times);
            self.times.at = Some(now);
            self.times.all = sample.cpu;
            self.times.cores.clone_from(&sample.cores); // the memory of the reading before last is used again
            self.window();
        }
        self.metrics.at = Some(now);
        self.metrics.sum_up();
    }

    /// What the last readings come to; nothing is read for this.
    pub fn latest(&self) -> &Metrics {
        &self.metrics
    }

    fn window(&mut self) {
        let Self { times, before, metrics, .. } = self;
        let window = before.at.zip(times.at).map(|(before, at)| at.saturating_since(before));
        let core = |(number, last): &(u16, CpuTime)| {
            let before = before.cores.iter().find(|(other, _)| other == number);
            Some((*number, shares(before.map(|(_, time)| *time), Some(*last))?))
        };
        metrics.cpu = shares(before.all, times.all);
        metrics.cpu_usage_percent = metrics.cpu.map(|shares| shares.busy);
        metrics.cpu_window = window.filter(|_| metrics.cpu.is_some());
        metrics.cores.clear();
        metrics.cores.extend(times.cores.iter().filter_map(core));
    }
}

impl Metrics {
    /// These groups alone; the others are absent.
    #[must_use]
    pub fn only(&self, groups: Groups) -> Self {
        let mut only = self.clone();
        only.sample.clear(Groups::ALL.without(groups));
        if !groups.has(Groups::CPU) {
            (only.cpu_usage_percent, only.cpu_window, only.cpu) = (None, None, None);
            only.cores.clear();
        }
        if !groups.has(Groups::POWER) {
            only.throttled_since_boot = None;
        }
        only.sum_up();
        only
    }

    fn sum_up(&mut self) {
        let sample = &self.sample;
        let usage = sample.root().and_then(|root| root.usage);
        self.memory_usage_percent = sample.memory.and_then(|memory| used(memory.total_bytes, memory.available_bytes));
        self.disk_usage_percent = usage.and_then(|usage| used(usage.total_bytes, usage.available_bytes));
        self.temperature_celsius = sample.processor_millicelsius().map(|temperature| f64::from(temperature) / 1000.0);
        if let Some(word) = sample.throttled {
            let seen = self.throttled_since_boot.unwrap_or_default();
            self.throttled_since_boot = Some(seen | word.now() | word.occurred());
        }
    }
}

/// What passed between two readings. `iowait` may go backwards (proc_stat(5)) and then counts as standing still; with any
/// other counter that means that the two readings do not belong together.
fn shares(before: Option<CpuTime>, last: Option<CpuTime>) -> Option<Shares> {
    let (before, last) = (before?, last?);
    let optional = |before: Option<u64>, last: Option<u64>| match (before, last) {
        (Some(before), Some(last)) => last.checked_sub(before).map(Some),
        _ => Some(None),
    };
    let user = last.user_us.checked_sub(before.user_us)? + last.nice_us.checked_sub(before.nice_us)?;
    let system = last.system_us.checked_sub(before.system_us)?;
    let idle = last.idle_us.checked_sub(before.idle_us)?;
    let iowait = before.iowait_us.zip(last.iowait_us).map(|(before, last)| last.saturating_sub(before));
    let (irq, softirq) = (optional(before.irq_us, last.irq_us)?, optional(before.softirq_us, last.softirq_us)?);
    let interrupts = irq.or(softirq).map(|_| irq.unwrap_or_default() + softirq.unwrap_or_default());
    let steal = optional(before.steal_us, last.steal_us)?;
    // stolen time counts as busy: nobody here could use it
    let busy = user + system + interrupts.unwrap_or_default() + steal.unwrap_or_default();
    let total = busy + idle + iowait.unwrap_or_default();
    let share = |part| percent(part, total);
    let optional_share = |part: Option<u64>| part.and_then(share);
    Some(Shares {
        user: share(user)?,
        system: share(system)?,
        idle: share(idle)?,
        iowait: optional_share(iowait),
        irq: optional_share(interrupts),
        steal: optional_share(steal),
        busy: share(busy)?,
    })
}

/// The share that is not available, in percent.
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
    use alloc::vec;
    use hal_core::{Reading, Throttled};
    use proptest::prelude::*;

    /// Answers one prepared reading after the other.
    struct Prepared(vec::Vec<Option<CpuTime>>);

    impl MetricsSource for Prepared {
        fn sample(&mut self, _: Groups, tell: &mut dyn FnMut(Reading<'_>)) {
            if let Some(time) = self.0.remove(0) {
                tell(Reading::Cpu(time));
            }
        }
    }

    fn after(readings: vec::Vec<Option<CpuTime>>) -> Metrics {
        let seconds = readings.len() as u64;
        let mut meter = Meter::new(Prepared(readings));
        (0..seconds).for_each(|second| meter.sample(Instant::from_nanos(second * 1_000_000_000), Groups::CPU));
        meter.latest().clone()
    }

    fn busy_of(readings: &[Option<(u64, u64)>]) -> Option<f64> {
        let time = |(busy, total): (u64, u64)| CpuTime { user_us: busy, idle_us: total - busy, ..CpuTime::default() };
        after(readings.iter().map(|reading| reading.map(time)).collect()).cpu_usage_percent
    }

    #[test]
    fn the_first_reading_has_no_window() {
        assert_eq!(busy_of(&[Some((10, 100))]), None);
        assert_eq!(*Meter::new(Prepared(vec![])).latest(), Metrics::default());
    }

    #[test]
    fn the_window_is_between_the_last_two() {
        assert_eq!(busy_of(&[Some((0, 0)), Some((900, 1000)), Some((1052, 2000))]), Some(15.2));
    }

    #[test]
    fn counters_that_stand_still_or_turn_back_tell_nothing() {
        assert_eq!(busy_of(&[Some((10, 100)), Some((10, 100))]), None);
        assert_eq!(busy_of(&[Some((10, 100)), Some((9, 200))]), None);
        assert_eq!(busy_of(&[Some((10, 100)), Some((11, 99))]), None);
        assert_eq!(busy_of(&[Some((10, 100)), None]), None);
        assert_eq!(busy_of(&[None, Some((10, 100))]), None);
    }

    #[test]
    fn waiting_for_a_disk_may_turn_back() {
        let time = |user_us, iowait_us| CpuTime { user_us, iowait_us: Some(iowait_us), ..CpuTime::default() };
        let shares = after(vec![Some(time(0, 50)), Some(time(10, 40))]).cpu.unwrap();
        assert_eq!((shares.busy, shares.iowait, shares.irq), (100.0, Some(0.0), None));
    }

    #[test]
    fn shares_are_of_the_whole() {
        assert_eq!(used(1000, 250), Some(75.0));
        assert_eq!(percent(7, 100), Some(7.0));
        assert_eq!(used(0, 0), None);
        assert_eq!(used(10, 11), None);
    }

    /// The firmware's memory is cleared by the kernel's driver; a core comes and goes.
    struct Fickle(u64);

    impl MetricsSource for Fickle {
        fn sample(&mut self, _: Groups, tell: &mut dyn FnMut(Reading<'_>)) {
            let time = CpuTime { user_us: self.0, idle_us: self.0, ..CpuTime::default() };
            tell(Reading::Core(0, time));
            if self.0 != 1 {
                tell(Reading::Core(3, time));
            }
            tell(Reading::Throttled(Throttled(if self.0 == 0 { 0x4_0001 } else { 0 })));
            self.0 += 1;
        }
    }

    #[test]
    fn what_the_firmware_forgets_is_remembered() {
        let mut meter = Meter::new(Fickle(0)).with_throttled(Throttled::FREQUENCY_CAPPED);
        (0..3).for_each(|second| meter.sample(Instant::from_nanos(second), Groups::ALL));
        let (now, seen) = (meter.latest().sample.throttled, meter.latest().throttled_since_boot);
        assert_eq!(now, Some(Throttled(0)));
        let all = Throttled::UNDER_VOLTAGE | Throttled::FREQUENCY_CAPPED | Throttled::THROTTLED;
        assert_eq!(seen, Some(all));
        let unheard = Meter::new(Prepared(vec![None]));
        assert_eq!(unheard.latest().throttled_since_boot, None);
    }

    #[test]
    fn a_core_has_a_window_when_it_was_there_before() {
        let mut meter = Meter::new(Fickle(0));
        let mut cores = |second| {
            meter.sample(Instant::from_nanos(second), Groups::ALL);
            meter.latest().cores.iter().map(|(number, shares)| (*number, shares.busy)).collect::<vec::Vec<_>>()
        };
        assert_eq!(
            [cores(0), cores(1), cores(2), cores(3)],
            [vec![], vec![(0, 50.0)], vec![(0, 50.0)], vec![(0, 50.0), (3, 50.0)]]
        );
    }

    proptest! {
        #[test]
        fn shares_come_to_a_hundred(before in any::<[u32; 8]>(), passed in any::<[u16; 8]>()) {
            let time = |field: &dyn Fn(usize) -> u64| CpuTime {
                user_us: field(0), nice_us: field(1), system_us: field(2), idle_us: field(3),
                iowait_us: Some(field(4)), irq_us: Some(field(5)), softirq_us: Some(field(6)), steal_us: Some(field(7)),
            };
            let first = time(&|at| before[at].into());
            let second = time(&|at| u64::from(before[at]) + u64::from(passed[at]));
            if let Some(shares) = shares(Some(first), Some(second)) {
                let rest = [shares.iowait, shares.irq, shares.steal].into_iter().flatten().sum::<f64>();
                let all = shares.user + shares.system + shares.idle + rest;
                prop_assert!((all - 100.0).abs() < 1e-9, "{all}");
                prop_assert!((0.0..=100.0).contains(&shares.busy));
            }
        }
    }
}
