//! The last reading of each group, kept.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use hal_core::{
    BlockDevice, Clock, CpuTime, Fan, FileSystem, Groups, Interface, Memory, Own, Pressure, Processes, Reading,
    Resource, Throttled, Trip, Voltage, Zone, Zram,
};

/// The last reading of each group. What could not be read is absent, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Processor time since boot, all cores together.
    pub cpu: Option<CpuTime>,
    /// The same for each core, by the kernel's number.
    pub cores: Vec<(u16, CpuTime)>,
    /// Time since boot.
    pub uptime: Option<Duration>,
    /// Load averages over 1, 5 and 15 minutes: tasks that run or wait to run.
    pub load: Option<[f32; 3]>,
    /// How long tasks were held up.
    pub pressure: Vec<(Resource, Pressure)>,
    /// Main memory and swap.
    pub memory: Option<Memory>,
    /// Compressed swap devices.
    pub zram: Vec<Zram>,
    /// Local file systems by where they are mounted.
    pub file_systems: Vec<(String, FileSystem)>,
    /// Traffic of block devices.
    pub block_devices: Vec<BlockDevice>,
    /// Network interfaces.
    pub interfaces: Vec<Interface>,
    /// Temperature sensors, and where the kernel acts on them.
    pub zones: Vec<(Zone, Vec<Trip>)>,
    /// Fans.
    pub fans: Vec<Fan>,
    /// The firmware's word on supply and throttling.
    pub throttled: Option<Throttled>,
    /// Supply voltages.
    pub voltages: Vec<Voltage>,
    /// Clocks.
    pub clocks: Vec<Clock>,
    /// How many processes there are.
    pub processes: Option<Processes>,
    /// What the agent itself uses.
    pub own: Option<Own>,
    /// What is there, or has to be, and could not be read.
    pub failures: Vec<Failure>,
}

/// Something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The group that it belongs to.
    pub group: Groups,
    /// What was to be read, such as `thermal`.
    pub collector: &'static str,
    /// Why not, in a few words.
    pub why: String,
}

impl Sample {
    /// Without these groups: as if they could not be read.
    pub fn clear(&mut self, groups: Groups) {
        self.failures.retain(|failure| !groups.has(failure.group));
        if groups.has(Groups::CPU) {
            (self.cpu, self.uptime) = (None, None);
            self.cores.clear();
        }
        if groups.has(Groups::LOAD) {
            self.load = None;
        }
        if groups.has(Groups::PRESSURE) {
            self.pressure.clear();
        }
        if groups.has(Groups::MEMORY) {
            self.memory = None;
            self.zram.clear();
        }
        if groups.has(Groups::DISK) {
            self.file_systems.clear();
            self.block_devices.clear();
        }
        if groups.has(Groups::NETWORK) {
            self.interfaces.clear();
        }
        if groups.has(Groups::THERMAL) {
            self.zones.clear();
            self.fans.clear();
        }
        if groups.has(Groups::POWER) {
            self.throttled = None;
            self.voltages.clear();
        }
        if groups.has(Groups::CLOCK) {
            self.clocks.clear();
        }
        if groups.has(Groups::PROCESS) {
            (self.processes, self.own) = (None, None);
        }
    }

    /// Keeps one reading.
    pub(crate) fn take(&mut self, reading: Reading<'_>) {
        match reading {
            Reading::Cpu(time) => self.cpu = Some(time),
            Reading::Core(number, time) => self.cores.push((number, time)),
            Reading::Uptime(uptime) => self.uptime = Some(uptime),
            Reading::Load(load) => self.load = Some(load),
            Reading::Pressure(resource, pressure) => self.pressure.push((resource, pressure)),
            Reading::Memory(memory) => self.memory = Some(memory),
            Reading::Zram(zram) => self.zram.push(zram),
            Reading::FileSystem { mount, file_system } => self.file_systems.push((mount.into(), file_system)),
            Reading::BlockDevice(device) => self.block_devices.push(device),
            Reading::Interface(interface) => self.interfaces.push(interface),
            Reading::Zone { zone, trips } => self.zones.push((zone, trips.into())),
            Reading::Fan(fan) => self.fans.push(fan),
            Reading::Throttled(word) => self.throttled = Some(word),
            Reading::Voltage(voltage) => self.voltages.push(voltage),
            Reading::Clock(clock) => self.clocks.push(clock),
            Reading::Processes(processes) => self.processes = Some(processes),
            Reading::Own(own) => self.own = Some(own),
            Reading::Failed { group, collector, why } => {
                self.failures.push(Failure { group, collector, why: why.into() });
            }
            _ => {} // of a source that is newer than this agent
        }
    }

    /// The file system that everything else is mounted below.
    pub fn root(&self) -> Option<&FileSystem> {
        self.file_systems.iter().find(|(mount, _)| mount == "/").map(|(_, root)| root)
    }

    /// The processor's sensor.
    pub fn processor_zone(&self) -> Option<&(Zone, Vec<Trip>)> {
        self.zones.iter().find(|(zone, _)| zone.processor)
    }

    /// The processor's temperature in thousandths of a degree Celsius.
    pub fn processor_millicelsius(&self) -> Option<i32> {
        self.processor_zone().and_then(|(zone, _)| zone.millicelsius)
    }

    /// Whether anything at all was read.
    pub fn is_empty(&self) -> bool {
        *self == Self { failures: self.failures.clone(), ..Self::default() }
    }
}
