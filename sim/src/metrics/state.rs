//! What a simulated system is like, and how that changes.

use hal_core::{CpuTime, Instant, Memory, Throttled, Usage};

use super::SystemFault;

#[derive(Debug)]
pub(super) struct State {
    pub(super) cpu: Option<Cpu>,
    pub(super) load: Option<[f32; 3]>,
    pub(super) memory: Option<Memory>,
    pub(super) disk: Option<Usage>,
    pub(super) temperature_millicelsius: Option<i32>,
    pub(super) has_uptime: bool,
    pub(super) throttled: Option<u32>,
    pub(super) read_only: bool,
    pub(super) seed: u64,
    /// Everything that is not set above can be read.
    pub(super) rest: bool,
    /// What happens when, in order.
    pub(super) plan: Vec<(Instant, SystemFault)>,
}

/// A constant share of processor time since some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu {
    pub(super) share_ppm: u64,
    pub(super) since: Instant,
    pub(super) busy_until_then_us: u64,
    pub(super) total_until_then_us: u64,
}

pub(super) const CORES: u16 = 4;
const GIB: u64 = 1 << 30;
const TEMPERATURE: i32 = 47_200;

/// What a Raspberry Pi 5 does: the fan's steps, and the end.
pub(super) const TRIPS: [(&str, i32); 5] =
    [("active", 50_000), ("active", 60_000), ("active", 67_500), ("active", 75_000), ("critical", 110_000)];

impl Cpu {
    /// Of one core; all are alike.
    pub(super) fn at(&self, now: Instant) -> CpuTime {
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

    pub(super) fn total(&self, now: Instant) -> u64 {
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
    pub(super) fn happen(&mut self, fault: SystemFault) {
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
    pub(super) fn rate(&self, what: u64, least: u64) -> u64 {
        let mixed = (self.seed ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        least + (mixed ^ mixed >> 27) % least.max(1)
    }

    /// What has come together at that rate a second.
    pub(super) fn grown(&self, now: Instant, what: u64, least: u64) -> u64 {
        (u128::from(self.rate(what, least)) * u128::from(now.as_nanos()) / 1_000_000_000) as u64
    }
}
