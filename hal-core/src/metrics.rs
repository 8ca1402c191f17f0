//! The state of the system that the agent runs on.

use core::time::Duration;

/// One reading of the system. A value that could not be read is absent, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Processor time since boot, all cores together.
    pub cpu: Option<CpuTime>,
    /// Load averages over 1, 5 and 15 minutes: tasks that run or wait to run.
    pub load: Option<[f32; 3]>,
    /// Main memory.
    pub memory: Option<Memory>,
    /// The root file system.
    pub disk: Option<Disk>,
    /// The processor's temperature in thousandths of a degree Celsius.
    pub temperature_millicelsius: Option<i32>,
    /// Time since boot.
    pub uptime: Option<Duration>,
}

/// Processor time since boot in ticks. The length of a tick is the source's own: only ratios of differences mean
/// something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CpuTime {
    /// Ticks in which a core worked, stolen time included.
    pub busy_ticks: u64,
    /// All ticks of all cores, idle and waiting for I/O included.
    pub total_ticks: u64,
}

/// Main memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// What the kernel has.
    pub total_bytes: u64,
    /// What programs could still get without swapping (the kernel's estimate `MemAvailable`).
    pub available_bytes: u64,
}

/// A file system in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Its size.
    pub total_bytes: u64,
    /// What a user without privileges could still write.
    pub available_bytes: u64,
}

/// Where samples come from: `/proc`, a simulation, a microcontroller's own counters.
pub trait MetricsSource {
    /// Takes one reading. Every field of `out` is overwritten: what cannot be read becomes absent, and one broken
    /// section does not hide the others.
    fn sample(&mut self, out: &mut Sample);
}
