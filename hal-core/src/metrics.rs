//! The state of the system that the agent runs on.
//!
//! A [`MetricsSource`] tells its readings one by one, so that a board without an allocator can have any number of cores
//! or disks, and tells nothing of what it does not have.

use core::ops::{BitAnd, BitOr};
use core::time::Duration;

use crate::Label;

/// Where readings come from: `/proc` and `/sys`, a simulation, a microcontroller's own counters.
pub trait MetricsSource {
    /// Takes one reading of each of `groups` and hands what it finds to `tell`, in any order. What cannot be read is not
    /// told, never told as 0; that something should be there and cannot be read is told as [`Reading::Failed`].
    fn sample(&mut self, groups: Groups, tell: &mut dyn FnMut(Reading<'_>));
}

/// A set of groups of readings: what is not asked for costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Groups(u16);

impl Groups {
    /// No group.
    pub const NONE: Self = Self(0);
    /// Processor time and uptime.
    pub const CPU: Self = Self(1);
    /// Load averages.
    pub const LOAD: Self = Self(1 << 1);
    /// Pressure stall information.
    pub const PRESSURE: Self = Self(1 << 2);
    /// Main memory, swap and zram.
    pub const MEMORY: Self = Self(1 << 3);
    /// File systems and block devices.
    pub const DISK: Self = Self(1 << 4);
    /// Network interfaces.
    pub const NETWORK: Self = Self(1 << 5);
    /// Thermal zones and fans.
    pub const THERMAL: Self = Self(1 << 6);
    /// Throttling and supply voltages.
    pub const POWER: Self = Self(1 << 7);
    /// Clock frequencies.
    pub const CLOCK: Self = Self(1 << 8);
    /// Process counts, and the agent's own use.
    pub const PROCESS: Self = Self(1 << 9);
    /// Every group.
    pub const ALL: Self = Self((1 << 10) - 1);

    /// Whether a group of `other` is among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These groups without `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// These groups one by one.
    pub fn each(self) -> impl Iterator<Item = Self> {
        (0..10).map(|bit| Self(1 << bit)).filter(move |group| self.has(*group))
    }
}

impl BitOr for Groups {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Groups {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// One thing that a source found out.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reading<'a> {
    /// Processor time of all cores together since boot (`CPU`).
    Cpu(CpuTime),
    /// Processor time of one core since boot, under the kernel's number: the cores that are on may have gaps (`CPU`).
    Core(u16, CpuTime),
    /// Time since boot (`CPU`).
    Uptime(Duration),
    /// Load averages over 1, 5 and 15 minutes: tasks that run or wait to run (`LOAD`).
    Load([f32; 3]),
    /// How long tasks were held up by the lack of a resource (`PRESSURE`).
    Pressure(Resource, Pressure),
    /// Main memory and swap (`MEMORY`).
    Memory(Memory),
    /// A compressed swap device in memory (`MEMORY`).
    Zram(Zram),
    /// A mounted local file system (`DISK`).
    FileSystem {
        /// Where it is mounted.
        mount: &'a str,
        /// The file system.
        file_system: FileSystem,
    },
    /// A block device's traffic (`DISK`).
    BlockDevice(BlockDevice),
    /// A network interface (`NETWORK`).
    Interface(Interface),
    /// A temperature sensor (`THERMAL`).
    Zone {
        /// The sensor.
        zone: Zone,
        /// The temperatures at which the kernel acts on it.
        trips: &'a [Trip],
    },
    /// A fan (`THERMAL`).
    Fan(Fan),
    /// The Raspberry Pi firmware's word on supply and throttling (`POWER`).
    Throttled(Throttled),
    /// A supply voltage, or only whether it is too low (`POWER`).
    Voltage(Voltage),
    /// A clock (`CLOCK`).
    Clock(Clock),
    /// How many processes there are (`PROCESS`).
    Processes(Processes),
    /// What the agent itself uses (`PROCESS`).
    Own(Own),
    /// Something that is there, or has to be, cannot be read. The other readings are not affected.
    Failed {
        /// The group that it belongs to: exactly one.
        group: Groups,
        /// What was to be read, such as `memory` or `thermal`.
        collector: &'static str,
        /// Why not, in a few words.
        why: &'a str,
    },
}

/// Processor time since boot in microseconds, by what it was spent on. Only differences mean something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CpuTime {
    /// In programs.
    pub user_us: u64,
    /// In programs that have lowered their priority; not part of `user_us`.
    pub nice_us: u64,
    /// In the kernel.
    pub system_us: u64,
    /// Doing nothing.
    pub idle_us: u64,
    /// Doing nothing while a task waits for a disk. May go backwards (proc_stat(5)).
    pub iowait_us: Option<u64>,
    /// In interrupts.
    pub irq_us: Option<u64>,
    /// In what interrupts leave for later.
    pub softirq_us: Option<u64>,
    /// In other systems on the same host, while this one had work.
    pub steal_us: Option<u64>,
}

/// What tasks can be held up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Disks.
    Io,
}

/// Pressure stall information: shares of time in percent, as the kernel averages them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Some task was held up.
    pub some: Stall,
    /// Every task was held up; the kernel does not always tell.
    pub full: Option<Stall>,
}

/// How long tasks were held up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stall {
    /// Share of the last 10, 60 and 300 seconds in percent.
    pub percent: [f32; 3],
    /// In all since boot, in microseconds.
    pub total_us: u64,
}

/// Main memory and swap in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// What the kernel has.
    pub total_bytes: u64,
    /// What programs could still get without swapping (the kernel's estimate `MemAvailable`).
    pub available_bytes: u64,
    /// What nobody uses, not even as a cache.
    pub free_bytes: Option<u64>,
    /// Swap space; 0 if there is none.
    pub swap_total_bytes: Option<u64>,
    /// Swap space that is not in use.
    pub swap_free_bytes: Option<u64>,
}

/// A compressed swap device in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Zram {
    /// Such as `zram0`.
    pub device: Label,
    /// How much was put in, in bytes.
    pub stored_bytes: u64,
    /// How much memory that takes, in bytes, with everything around it.
    pub used_bytes: u64,
}

/// A mounted file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileSystem {
    /// What is mounted, such as `/dev/mmcblk0p2`.
    pub device: Label,
    /// Such as `ext4`.
    pub kind: Label,
    /// The file system itself takes no writes: mounted so, or remounted by the kernel after an error.
    pub read_only: bool,
    /// Its size in bytes and inodes; absent if it does not tell.
    pub usage: Option<Usage>,
}

/// How full a file system is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Its size in bytes.
    pub total_bytes: u64,
    /// What nobody uses, in bytes.
    pub free_bytes: u64,
    /// What a user without privileges could still write, in bytes.
    pub available_bytes: u64,
    /// Files that it can hold; 0 where there is no limit.
    pub total_inodes: u64,
    /// Files that it could still take.
    pub free_inodes: u64,
}

/// A block device's traffic since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BlockDevice {
    /// Such as `mmcblk0`.
    pub name: Label,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written: what wears a card out.
    pub written_bytes: u64,
    /// Reads that were done.
    pub reads: u64,
    /// Writes that were done.
    pub writes: u64,
    /// Time with at least one of them in progress, in milliseconds.
    pub busy_ms: u64,
}

/// A network interface and its traffic since it appeared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interface {
    /// Such as `eth0`.
    pub name: Label,
    /// Whether it can carry packets; absent where the kernel does not know, as for `lo`.
    pub up: Option<bool>,
    /// Speed in megabits a second; absent where it has none.
    pub speed_mbit: Option<u32>,
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

/// One direction of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were broken.
    pub errors: u64,
    /// Packets that were thrown away.
    pub dropped: u64,
}

/// A temperature sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Zone {
    /// Its type, such as `cpu-thermal`: numbers change with every kernel.
    pub kind: Label,
    /// Whether it is the processor's; of one zone at most.
    pub processor: bool,
    /// Thousandths of a degree Celsius; absent if it cannot be read.
    pub millicelsius: Option<i32>,
}

/// A temperature at which the kernel acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trip {
    /// What it does: `active` turns a fan on, `passive` slows the processor down, `hot` tells programs, `critical`
    /// switches off.
    pub kind: Label,
    /// Thousandths of a degree Celsius.
    pub millicelsius: i32,
}

/// A fan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fan {
    /// Its driver, such as `pwmfan`.
    pub name: Label,
    /// Turns a minute; absent if it is not measured.
    pub rpm: Option<u32>,
    /// How hard it is driven, 0 to 255; absent if that is not told.
    pub drive: Option<u8>,
}

/// The Raspberry Pi firmware's word on supply and throttling, as `vcgencmd get_throttled` shows it: bits 0 to 3 are
/// under-voltage, frequency capped, throttled, soft temperature limit; 16 to 19 that it has occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Throttled(pub u32);

impl Throttled {
    /// The supply is below 4.63 V.
    pub const UNDER_VOLTAGE: u32 = 1;
    /// The processor's frequency is capped.
    pub const FREQUENCY_CAPPED: u32 = 1 << 1;
    /// The processor is throttled.
    pub const THROTTLED: u32 = 1 << 2;
    /// The soft temperature limit is reached.
    pub const SOFT_TEMPERATURE_LIMIT: u32 = 1 << 3;

    /// What is so now: bits 0 to 3.
    pub const fn now(self) -> u32 {
        self.0 & 0xf
    }

    /// What has been so, as the firmware remembers it: bits 0 to 3. The kernel's driver of the supply's alarm clears
    /// this memory every 2 s where it is loaded, so it is not "since boot" by itself.
    pub const fn occurred(self) -> u32 {
        self.0 >> 16 & 0xf
    }
}

/// A supply voltage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Voltage {
    /// The sensor's driver and input, such as `rpi_volt in0`.
    pub name: Label,
    /// Thousandths of a volt; absent if only the alarm is told.
    pub millivolts: Option<i32>,
    /// Whether it is too low; absent if nobody watches.
    pub low: Option<bool>,
}

/// A clock that can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clock {
    /// Such as `cpu0`: the first core that it drives.
    pub name: Label,
    /// How fast it goes, in kilohertz.
    pub khz: u64,
    /// How fast it can go, in kilohertz.
    pub max_khz: Option<u64>,
}

/// How many processes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Processes {
    /// Tasks, threads included.
    pub tasks: Option<u32>,
    /// Those that run or could.
    pub running: Option<u32>,
    /// Those that wait for a disk.
    pub blocked: Option<u32>,
    /// Processes started since boot.
    pub forks: Option<u64>,
}

/// What the agent itself uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Own {
    /// Memory in use, in bytes.
    pub rss_bytes: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u32>,
    /// Processor time since its start, in microseconds.
    pub cpu_us: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_groups_is_its_groups() {
        let two = Groups::CPU | Groups::PROCESS;
        assert!(two.has(Groups::CPU) && two.has(Groups::ALL) && !two.has(Groups::LOAD) && !Groups::NONE.has(two));
        assert!(two.each().eq([Groups::CPU, Groups::PROCESS]));
        assert_eq!(Groups::ALL.each().count(), 10);
        assert_eq!(Groups::ALL & Groups::LOAD, Groups::LOAD);
    }

    #[test]
    fn the_firmware_s_word_is_two_halves() {
        let word = Throttled(0x5_0008);
        assert_eq!(word.now(), Throttled::SOFT_TEMPERATURE_LIMIT);
        assert_eq!(word.occurred(), Throttled::UNDER_VOLTAGE | Throttled::THROTTLED);
    }
}
