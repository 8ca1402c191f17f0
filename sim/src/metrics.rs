//! A system whose load is known exactly.

use std::sync::{Arc, Mutex, PoisonError};

use hal_core::{
    BlockDevice, Clock as Frequency, CpuTime, Fan, FileSystem, Groups, Instant, Interface, Label, Memory,
    MetricsSource, Own, Pressure, Processes, Reading, Resource, Stall, Throttled, Traffic, Trip, Usage, Voltage, Zone,
};

use crate::clock::Clock;

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

/// Something that happens to a system.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SystemFault {
    /// The processor's temperature sensor cannot be read any more.
    SensorDies,
    /// The processor reaches this many thousandths of a degree Celsius; from 85 °C on the firmware throttles it.
    Overheats(i32),
    /// The supply's voltage drops.
    UnderVoltage,
    /// The root file system fails and is remounted read-only.
    ReadOnly,
    /// Everything is as it was at first; what the firmware remembers it remembers.
    Recovers,
}

#[derive(Debug)]
struct State {
    cpu: Option<Cpu>,
    load: Option<[f32; 3]>,
    memory: Option<Memory>,
    disk: Option<Usage>,
    temperature_millicelsius: Option<i32>,
    has_uptime: bool,
    throttled: Option<u32>,
    read_only: bool,
    seed: u64,
    /// Everything that is not set above can be read.
    rest: bool,
    /// What happens when, in order.
    plan: Vec<(Instant, SystemFault)>,
}

/// A constant share of processor time since some moment.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    share_ppm: u64,
    since: Instant,
    busy_until_then_us: u64,
    total_until_then_us: u64,
}

const CORES: u16 = 4;
const GIB: u64 = 1 << 30;
const TEMPERATURE: i32 = 47_200;

/// What a Raspberry Pi 5 does: the fan's steps, and the end.
const TRIPS: [(&str, i32); 5] =
    [("active", 50_000), ("active", 60_000), ("active", 67_500), ("active", 75_000), ("critical", 110_000)];

impl Cpu {
    /// Of one core; all are alike.
    fn at(&self, now: Instant) -> CpuTime {
        // Saturating: another thread may have changed the share after this one looked at the clock.
        let passed = (now.as_nanos() / 1_000).saturating_sub(self.since.as_nanos() / 1_000);
        let busy = (u128::from(passed) * u128::from(self.share_ppm) / 1_000_000) as u64; // not more than `passed`
        let busy = self.busy_until_then_us + busy;
        let system_us = busy / 4;
        CpuTime {
            user_us: busy - system_us,
            system_us,
            idle_us: self.total_until_then_us + passed - busy,
            iowait_us: Some(0),
            irq_us: Some(0),
            softirq_us: Some(0),
            steal_us: Some(0),
            ..CpuTime::default()
        }
    }

    fn total(&self, now: Instant) -> u64 {
        let CpuTime { user_us, system_us, idle_us, .. } = self.at(now);
        user_us + system_us + idle_us
    }
}

impl Default for State {
    fn default() -> Self {
        let cpu = Cpu { share_ppm: 152_000, since: Instant::ZERO, busy_until_then_us: 0, total_until_then_us: 0 };
        let memory = Memory {
            total_bytes: 4 * GIB,
            available_bytes: 5 * GIB / 2,
            free_bytes: Some(2 * GIB),
            swap_total_bytes: Some(GIB / 2),
            swap_free_bytes: Some(GIB / 2),
        };
        let disk = Usage {
            total_bytes: 32 * GIB,
            free_bytes: 25 * GIB,
            available_bytes: 24 * GIB,
            total_inodes: 2_000_000,
            free_inodes: 1_900_000,
        };
        Self {
            cpu: Some(cpu),
            load: Some([0.15, 0.12, 0.10]),
            memory: Some(memory),
            disk: Some(disk),
            temperature_millicelsius: Some(TEMPERATURE),
            has_uptime: true,
            throttled: Some(0),
            read_only: false,
            seed: 0,
            rest: true,
            plan: Vec::new(),
        }
    }
}

impl State {
    fn happen(&mut self, fault: SystemFault) {
        let occurred = |word: &mut Option<u32>, now: u32| *word = word.map(|word| word | now | now << 16);
        match fault {
            SystemFault::SensorDies => self.temperature_millicelsius = None,
            SystemFault::Overheats(temperature) => {
                self.temperature_millicelsius = Some(temperature);
                if temperature >= 85_000 {
                    occurred(&mut self.throttled, Throttled::FREQUENCY_CAPPED | Throttled::THROTTLED);
                }
            }
            SystemFault::UnderVoltage => occurred(&mut self.throttled, Throttled::UNDER_VOLTAGE),
            SystemFault::ReadOnly => self.read_only = true,
            SystemFault::Recovers => {
                self.temperature_millicelsius = Some(TEMPERATURE);
                self.throttled = self.throttled.map(|word| word & !0xf);
                self.read_only = false;
            }
        }
    }

    /// A rate between `least` and twice as much, another one for each `what`: SplitMix64 of both.
    fn rate(&self, what: u64, least: u64) -> u64 {
        let mixed = (self.seed ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        least + (mixed ^ mixed >> 27) % least.max(1)
    }

    /// What has come together at that rate a second.
    fn grown(&self, now: Instant, what: u64, least: u64) -> u64 {
        (u128::from(self.rate(what, least)) * u128::from(now.as_nanos()) / 1_000_000_000) as u64
    }
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

/// What a kernel says of a device that does not answer.
fn fail(tell: &mut dyn FnMut(Reading<'_>), group: Groups, collector: &'static str) {
    tell(Reading::Failed { group, collector, why: "simulated: Input/output error (os error 5)" });
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

impl State {
    fn tell(&self, now: Instant, group: Groups, tell: &mut dyn FnMut(Reading<'_>)) {
        match group {
            Groups::CPU => self.tell_processor(now, tell),
            Groups::LOAD => self.load.into_iter().for_each(|load| tell(Reading::Load(load))),
            Groups::MEMORY => match self.memory {
                Some(memory) => tell(Reading::Memory(memory)),
                None => fail(tell, group, "memory"),
            },
            Groups::DISK => self.tell_disk(now, tell),
            Groups::THERMAL => self.tell_thermal(tell),
            Groups::POWER => self.tell_power(tell),
            _ if !self.rest => {}
            Groups::PRESSURE => {
                let stall = Stall { percent: [0.0; 3], total_us: self.grown(now, 1, 20) };
                let pressure = Pressure { some: stall, full: Some(Stall::default()) };
                for resource in [Resource::Cpu, Resource::Memory, Resource::Io] {
                    tell(Reading::Pressure(resource, pressure));
                }
            }
            Groups::NETWORK => {
                for (number, name) in ["lo", "eth0"].into_iter().enumerate() {
                    tell(Reading::Interface(self.interface(now, name, 10 * number as u64)));
                }
            }
            Groups::CLOCK => {
                let throttled = self.throttled.is_some_and(|word| Throttled(word).now() != 0);
                let khz = if throttled { 600_000 } else { 1_500_000 };
                tell(Reading::Clock(Frequency { name: Label::new("cpu0"), khz, max_khz: Some(2_400_000) }));
            }
            Groups::PROCESS => {
                let forks = Some(self.grown(now, 5, 2) + 500);
                let tasks = Some(self.rate(6, 120) as u32);
                tell(Reading::Processes(Processes { tasks, running: Some(1), blocked: Some(0), forks }));
                let cpu_us = Some(self.grown(now, 7, 400));
                tell(Reading::Own(Own { rss_bytes: Some(6 << 20), descriptors: Some(17), cpu_us }));
            }
            _ => {}
        }
    }

    fn tell_processor(&self, now: Instant, tell: &mut dyn FnMut(Reading<'_>)) {
        match self.cpu {
            Some(cpu) => {
                let one = cpu.at(now);
                let all = |us: u64| us * u64::from(CORES);
                let (user_us, system_us, idle_us) = (all(one.user_us), all(one.system_us), all(one.idle_us));
                tell(Reading::Cpu(CpuTime { user_us, system_us, idle_us, ..one }));
                (0..CORES).for_each(|core| tell(Reading::Core(core, one)));
            }
            None => fail(tell, Groups::CPU, "cpu"),
        }
        if self.has_uptime {
            tell(Reading::Uptime(now.saturating_since(Instant::ZERO)));
        }
    }

    fn tell_disk(&self, now: Instant, tell: &mut dyn FnMut(Reading<'_>)) {
        match self.disk {
            Some(usage) => {
                let (device, kind) = (Label::new("/dev/mmcblk0p2"), Label::new("ext4"));
                let file_system = FileSystem { device, kind, read_only: self.read_only, usage: Some(usage) };
                tell(Reading::FileSystem { mount: "/", file_system });
            }
            None => fail(tell, Groups::DISK, "filesystem"),
        }
        if self.rest {
            let (reads, writes) = (self.grown(now, 2, 1), self.grown(now, 3, 1));
            let (read_bytes, written_bytes) = (reads * 16_384, writes * 4_096);
            let busy_ms = reads + 2 * writes;
            let name = Label::new("mmcblk0");
            tell(Reading::BlockDevice(BlockDevice { name, read_bytes, written_bytes, reads, writes, busy_ms }));
        }
    }

    fn tell_thermal(&self, tell: &mut dyn FnMut(Reading<'_>)) {
        let millicelsius = self.temperature_millicelsius;
        if millicelsius.is_none() {
            fail(tell, Groups::THERMAL, "thermal");
        }
        if millicelsius.is_some() || self.rest {
            let trips = TRIPS.map(|(kind, millicelsius)| Trip { kind: Label::new(kind), millicelsius });
            let zone = Zone { kind: Label::new("cpu-thermal"), processor: true, millicelsius };
            tell(Reading::Zone { zone, trips: &trips });
        }
        if self.rest {
            let step = TRIPS[..4].iter().filter(|(_, from)| millicelsius.is_some_and(|now| now >= *from)).count();
            let drive = [0, 75, 125, 175, 250][step];
            tell(Reading::Fan(Fan { name: "pwmfan".into(), rpm: Some(u32::from(drive) * 40), drive: Some(drive) }));
        }
    }

    fn tell_power(&self, tell: &mut dyn FnMut(Reading<'_>)) {
        let Some(word) = self.throttled else { return };
        tell(Reading::Throttled(Throttled(word)));
        let low = Some(Throttled(word).now() & Throttled::UNDER_VOLTAGE != 0);
        tell(Reading::Voltage(Voltage { name: "rpi_volt in0".into(), millivolts: None, low }));
    }

    fn interface(&self, now: Instant, name: &str, what: u64) -> Interface {
        let traffic = |what| {
            let packets = self.grown(now, what, 5);
            Traffic { bytes: packets * self.rate(what, 200), packets, errors: 0, dropped: 0 }
        };
        let (up, speed_mbit) = if name == "lo" { (None, None) } else { (Some(true), Some(1000)) };
        Interface { name: name.into(), up, speed_mbit, received: traffic(what + 100), sent: traffic(what + 101) }
    }
}

/// A number for a name, the same everywhere: FNV-1a.
pub fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

impl std::str::FromStr for SystemFault {
    type Err = UnknownFault;

    /// `sensor-dies`, `overheats`, `under-voltage`, `read-only` or `recovers`.
    fn from_str(word: &str) -> Result<Self, UnknownFault> {
        match word {
            "sensor-dies" => Ok(Self::SensorDies),
            "overheats" => Ok(Self::Overheats(86_000)),
            "under-voltage" => Ok(Self::UnderVoltage),
            "read-only" => Ok(Self::ReadOnly),
            "recovers" => Ok(Self::Recovers),
            _ => Err(UnknownFault),
        }
    }
}

/// The word is no [`SystemFault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("choose sensor-dies, overheats, under-voltage, read-only or recovers")]
pub struct UnknownFault;

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
        assert_eq!(cpu(&mut source).0, before.0 + 1_000_000 * u64::from(CORES));
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
