//! A system whose load is known exactly.

use std::sync::{Arc, Mutex, PoisonError};

use hal_core::{CpuTime, Disk, Instant, Memory, MetricsSource, Sample};

use crate::clock::Clock;

/// Readings of a Raspberry Pi that does not exist. Clones are the same Pi, so that a test can change what an agent
/// measures.
///
/// Unless told otherwise: 15.2 % of processor time busy, load averages 0.15, 0.12 and 0.10, 1.5 of 4 GiB of memory in use,
/// 8 of 32 GiB of disk in use, 47.2 °C, up since the clock's start. Processor time is counted in ticks of 1 µs, so that a
/// window of whole milliseconds shows the share exactly and any other to 0.001 % in 100 ms.
#[derive(Clone, Debug)]
pub struct SimMetrics {
    clock: Clock,
    readings: Arc<Mutex<Readings>>,
}

#[derive(Debug)]
struct Readings {
    cpu: Option<Cpu>,
    load: Option<[f32; 3]>,
    memory: Option<Memory>,
    disk: Option<Disk>,
    temperature_millicelsius: Option<i32>,
    has_uptime: bool,
}

/// A constant share of processor time since some moment.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    share_ppm: u64,
    since: Instant,
    until_then: CpuTime,
}

impl Cpu {
    fn at(&self, now: Instant) -> CpuTime {
        // Saturating: another thread may have changed the share after this one looked at the clock.
        let passed = (now.as_nanos() / 1_000).saturating_sub(self.since.as_nanos() / 1_000);
        let busy = u128::from(passed) * u128::from(self.share_ppm) / 1_000_000;
        CpuTime {
            busy_ticks: self.until_then.busy_ticks + busy as u64, // not more than `passed`
            total_ticks: self.until_then.total_ticks + passed,
        }
    }
}

const GIB: u64 = 1 << 30;

impl Default for Readings {
    fn default() -> Self {
        let cpu = Cpu { share_ppm: 152_000, since: Instant::ZERO, until_then: CpuTime::default() };
        Self {
            cpu: Some(cpu),
            load: Some([0.15, 0.12, 0.10]),
            memory: Some(Memory { total_bytes: 4 * GIB, available_bytes: 5 * GIB / 2 }),
            disk: Some(Disk { total_bytes: 32 * GIB, available_bytes: 24 * GIB }),
            temperature_millicelsius: Some(47_200),
            has_uptime: true,
        }
    }
}

impl SimMetrics {
    /// The default Pi on this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, readings: Arc::default() }
    }

    /// From now on this share of processor time is busy, in percent (cut to 0 to 100, to 0.0001); `None` is unreadable.
    /// The counters go on from where they are; after having been unreadable they start again at zero.
    pub fn set_cpu_percent(&self, percent: Option<f64>) {
        let since = self.clock.now();
        self.change(|readings| {
            let until_then = readings.cpu.map(|cpu| cpu.at(since)).unwrap_or_default();
            let ppm = |percent: f64| (percent.clamp(0.0, 100.0) * 10_000.0).round() as u64;
            readings.cpu = percent.map(|percent| Cpu { share_ppm: ppm(percent), since, until_then });
        });
    }

    /// The load averages over 1, 5 and 15 minutes; `None` is unreadable.
    pub fn set_load(&self, load: Option<[f32; 3]>) {
        self.change(|readings| readings.load = load);
    }

    /// Main memory; `None` is unreadable.
    pub fn set_memory(&self, memory: Option<Memory>) {
        self.change(|readings| readings.memory = memory);
    }

    /// The root file system; `None` is unreadable.
    pub fn set_disk(&self, disk: Option<Disk>) {
        self.change(|readings| readings.disk = disk);
    }

    /// The temperature in thousandths of a degree Celsius; `None` is a broken sensor.
    pub fn set_temperature_millicelsius(&self, temperature: Option<i32>) {
        self.change(|readings| readings.temperature_millicelsius = temperature);
    }

    /// Whether the time since boot can be read.
    pub fn set_uptime_readable(&self, readable: bool) {
        self.change(|readings| readings.has_uptime = readable);
    }

    fn change<R>(&self, act: impl FnOnce(&mut Readings) -> R) -> R {
        act(&mut self.readings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MetricsSource for SimMetrics {
    fn sample(&mut self, out: &mut Sample) {
        let now = self.clock.now();
        *out = self.change(|readings| Sample {
            cpu: readings.cpu.map(|cpu| cpu.at(now)),
            load: readings.load,
            memory: readings.memory,
            disk: readings.disk,
            temperature_millicelsius: readings.temperature_millicelsius,
            uptime: readings.has_uptime.then(|| now.saturating_since(Instant::ZERO)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn percent(source: &mut SimMetrics, window: Duration) -> f64 {
        let mut sample = Sample::default();
        source.sample(&mut sample);
        let before = sample.cpu.unwrap();
        source.clock.advance(window);
        source.sample(&mut sample);
        let after = sample.cpu.unwrap();
        100.0 * (after.busy_ticks - before.busy_ticks) as f64 / (after.total_ticks - before.total_ticks) as f64
    }

    #[test]
    fn a_second_is_exactly_15_2_percent_busy_from_anywhere() {
        let clock = Clock::new();
        let mut source = SimMetrics::new(clock.clone());
        for nanos in [0, 1, 999, 123_456_789, 7] {
            clock.advance(Duration::from_nanos(nanos));
            assert_eq!(percent(&mut source, Duration::from_secs(1)), 15.2);
        }
    }

    #[test]
    fn any_window_from_100_ms_is_near_it() {
        let mut source = SimMetrics::new(Clock::new());
        for nanos in [100_000_000, 100_000_001, 133_333_333, 2_718_281_828] {
            let percent = percent(&mut source, Duration::from_nanos(nanos));
            assert!((percent - 15.2).abs() < 0.01, "{percent}");
        }
    }

    #[test]
    fn a_change_of_load_does_not_turn_counters_back() {
        let mut source = SimMetrics::new(Clock::new());
        source.clock.advance(Duration::from_secs(10));
        let mut before = Sample::default();
        source.sample(&mut before);
        source.set_cpu_percent(Some(100.0));
        assert_eq!(percent(&mut source, Duration::from_secs(1)), 100.0);
        let mut after = Sample::default();
        source.sample(&mut after);
        assert_eq!(after.cpu.unwrap().busy_ticks, before.cpu.unwrap().busy_ticks + 1_000_000);
    }

    #[test]
    fn everything_can_be_unreadable() {
        let mut source = SimMetrics::new(Clock::new());
        source.set_cpu_percent(None);
        source.set_load(None);
        source.set_memory(None);
        source.set_disk(None);
        source.set_temperature_millicelsius(None);
        source.set_uptime_readable(false);
        let mut sample = Sample { load: Some([1.0; 3]), ..Sample::default() };
        source.sample(&mut sample);
        assert_eq!(sample, Sample::default());
    }
}
