//! A system whose load is known exactly.

mod fault;
mod state;
mod tell;

use std::sync::{Arc, Mutex, PoisonError};

use hal_core::{Groups, Instant, Memory, MetricsSource, Reading, Usage};

use self::state::{Cpu, State};
use crate::clock::Clock;

pub use fault::{SystemFault, UnknownFault};

/// Readings of a Raspberry Pi that does not exist. Clones are the same Pi, so that a test can change what an agent
/// measures.
///
/// Unless told otherwise: 4 cores, of whose time 15.2 % is busy, load averages 0.15, 0.12 and 0.10, 1.5 of 4 GiB of
/// memory in use, 8 of 32 GiB of disk in use, 47.2 °C, never throttled, up since the clock's start. Processor time is
/// counted in microseconds, so that a window of whole milliseconds shows the share exactly and any other to 0.001 % in
/// 100 ms. What grows with time, such as traffic, grows at rates that come from the seed.
#[derive(Clone, Debug)]
pub struct SimMetrics {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

impl SimMetrics {
    /// The default Pi on this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// The same with its own rates, for a fleet whose nodes differ.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.change(|state| state.seed = seed);
        self
    }

    /// From now on this share of processor time is busy, in percent (cut to 0 to 100, to 0.0001); `None` is unreadable.
    /// The counters go on from where they are; after having been unreadable they start again at zero.
    pub fn set_cpu_percent(&self, percent: Option<f64>) {
        let since = self.clock.now();
        self.change(|state| {
            let until_then = state.cpu.map(|cpu| (cpu.at(since), cpu.total(since)));
            let (time, total_until_then_us) = until_then.unwrap_or_default();
            let busy_until_then_us = time.user_us + time.system_us;
            let ppm = |percent: f64| (percent.clamp(0.0, 100.0) * 10_000.0).round() as u64;
            let cpu = |percent| Cpu { share_ppm: ppm(percent), since, busy_until_then_us, total_until_then_us };
            state.cpu = percent.map(cpu);
        });
    }

    /// The load averages over 1, 5 and 15 minutes; `None` is unreadable.
    pub fn set_load(&self, load: Option<[f32; 3]>) {
        self.change(|state| state.load = load);
    }

    /// Main memory; `None` is unreadable.
    pub fn set_memory(&self, memory: Option<Memory>) {
        self.change(|state| state.memory = memory);
    }

    /// The root file system; `None` is unreadable.
    pub fn set_disk(&self, disk: Option<Usage>) {
        self.change(|state| state.disk = disk);
    }

    /// The temperature in thousandths of a degree Celsius; `None` is a broken sensor.
    pub fn set_temperature_millicelsius(&self, temperature: Option<i32>) {
        self.change(|state| state.temperature_millicelsius = temperature);
    }

    /// The firmware's word; `None` is a kernel that does not have it.
    pub fn set_throttled(&self, word: Option<u32>) {
        self.change(|state| state.throttled = word);
    }

    /// Whether the time since boot can be read.
    pub fn set_uptime_readable(&self, readable: bool) {
        self.change(|state| state.has_uptime = readable);
    }

    /// Whether what has no setter of its own can be read: traffic, clocks, fans, pressure, processes.
    pub fn set_rest_readable(&self, readable: bool) {
        self.change(|state| state.rest = readable);
    }

    /// Lets something happen now.
    pub fn happen(&self, fault: SystemFault) {
        self.change(|state| state.happen(fault));
    }

    /// Lets something happen at a time of the clock: in the first reading at or after it.
    pub fn plan(&self, at: Instant, fault: SystemFault) {
        self.change(|state| {
            state.plan.push((at, fault));
            state.plan.sort_by_key(|(at, _)| *at);
        });
    }

    fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MetricsSource for SimMetrics {
    fn sample(&mut self, groups: Groups, tell: &mut dyn FnMut(Reading<'_>)) {
        let now = self.clock.now();
        self.change(|state| {
            let due = state.plan.iter().take_while(|(at, _)| *at <= now).count();
            let due: Vec<_> = state.plan.drain(..due).collect();
            due.into_iter().for_each(|(_, fault)| state.happen(fault));
            for group in groups.each() {
                state.tell(now, group, tell);
            }
        });
    }
}

/// A number for a name, the same everywhere: FNV-1a.
pub fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn told(source: &mut SimMetrics, groups: Groups) -> Vec<String> {
        let mut told = Vec::new();
        source.sample(groups, &mut |reading| told.push(format!("{reading:?}")));
        told
    }

    fn cpu(source: &mut SimMetrics) -> (u64, u64) {
        let mut times = (0, 0);
        source.sample(Groups::CPU, &mut |reading| {
            if let Reading::Cpu(time) = reading {
                let busy = time.user_us + time.system_us;
                times = (busy, busy + time.idle_us);
            }
        });
        times
    }

    fn percent(source: &mut SimMetrics, window: Duration) -> f64 {
        let before = cpu(source);
        source.clock.advance(window);
        let after = cpu(source);
        100.0 * (after.0 - before.0) as f64 / (after.1 - before.1) as f64
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
        let before = cpu(&mut source);
        source.set_cpu_percent(Some(100.0));
        assert_eq!(percent(&mut source, Duration::from_secs(1)), 100.0);
        assert_eq!(cpu(&mut source).0, before.0 + 1_000_000 * u64::from(state::CORES));
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
        source.set_throttled(None);
        source.set_rest_readable(false);
        let told = told(&mut source, Groups::ALL);
        assert!(told.iter().all(|reading| reading.starts_with("Failed")), "{told:?}");
        assert_eq!(told.len(), 4);
    }

    #[test]
    fn every_group_has_something_plausible_and_counters_grow() {
        let clock = Clock::new();
        let mut source = SimMetrics::new(clock.clone()).with_seed(seed_of("sim-1"));
        for group in Groups::ALL.each() {
            assert!(!told(&mut source, group).is_empty(), "{group:?}");
        }
        clock.advance(Duration::from_secs(60));
        let (first, again) = (told(&mut source, Groups::NETWORK), told(&mut source, Groups::NETWORK));
        assert_eq!(first, again, "the same moment is the same reading");
        let mut other = SimMetrics::new(clock.clone()).with_seed(seed_of("sim-2"));
        assert_ne!(first, told(&mut other, Groups::NETWORK), "nodes differ");
        clock.advance(Duration::from_secs(60));
        assert_ne!(first, told(&mut source, Groups::NETWORK));
    }

    #[test]
    fn what_is_planned_happens_in_its_order() {
        let clock = Clock::new();
        let mut source = SimMetrics::new(clock.clone());
        let second = |second: u64| Instant::from_nanos(second * 1_000_000_000);
        source.plan(second(20), SystemFault::Recovers);
        source.plan(second(10), SystemFault::UnderVoltage);
        assert!(told(&mut source, Groups::POWER)[0].contains("Throttled(0)"));
        clock.advance(Duration::from_secs(10));
        assert!(told(&mut source, Groups::POWER)[0].contains("Throttled(65537)"));
        clock.advance(Duration::from_secs(10));
        assert!(told(&mut source, Groups::POWER)[0].contains("Throttled(65536)"), "the firmware remembers");
    }
}
