//! `/proc/loadavg`, `/proc/pressure`, `/proc/meminfo`, zram, and the agent's own process.

use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;

use procfs::{FromRead, LoadAverage};

use super::kept::{Buffer, Kept};
use super::{Tell, entries, failed, name, processor};
use crate::{Groups, Label, Memory, Own, Pressure, Processes, Reading, Resource, Stall, Zram};

#[derive(Debug)]
pub(super) struct System {
    blocks: PathBuf,
    /// The name of each zram device and its `mm_stat`.
    zram: Vec<(String, Kept)>,
    load: Kept,
    stat: Kept,
    memory: Kept,
    pressure: [(Resource, Kept); 3],
    own: Kept,
    descriptors: PathBuf,
}

impl System {
    pub(super) fn new(root: &Path) -> Self {
        let proc = |file: &str| Kept::new(root.join("proc").join(file));
        let pressure = [(Resource::Cpu, "cpu"), (Resource::Memory, "memory"), (Resource::Io, "io")];
        Self {
            blocks: root.join("sys/block"),
            zram: Vec::new(),
            load: proc("loadavg"),
            stat: proc("stat"),
            memory: proc("meminfo"),
            pressure: pressure.map(|(resource, file)| (resource, proc(&["pressure/", file].concat()))),
            own: proc("self/stat"),
            descriptors: root.join("proc/self/fd"),
        }
    }

    /// Looks for devices.
    pub(super) fn find(&mut self) {
        let devices = entries(&self.blocks).into_iter();
        let zram = devices.filter(|device| name(device).starts_with("zram"));
        self.zram = zram.map(|device| (name(&device).into_owned(), Kept::new(device.join("mm_stat")))).collect();
    }

    pub(super) fn load(&mut self, groups: Groups, buffer: &mut Buffer, tell: Tell<'_>) {
        let read = self.load.read(buffer).map_err(|error| self.load.told(&error));
        let load = read.and_then(|text| LoadAverage::from_read(text.as_bytes()).map_err(|error| error.to_string()));
        let load = match load {
            Ok(load) => Some(load),
            Err(why) => {
                let group = if groups.has(Groups::LOAD) { Groups::LOAD } else { Groups::PROCESS };
                failed(tell, group, "load", &why);
                None
            }
        };
        if let Some(load) = load.as_ref().filter(|_| groups.has(Groups::LOAD)) {
            tell(Reading::Load([load.one, load.five, load.fifteen]));
        }
        if groups.has(Groups::PROCESS) {
            let stat = self.stat.read(buffer).unwrap_or_default(); // told by the processor's collector
            let (forks, running, blocked) = processor::processes(stat);
            tell(Reading::Processes(Processes { tasks: load.map(|load| load.max), running, blocked, forks }));
        }
    }

    pub(super) fn pressure(&mut self, buffer: &mut Buffer, tell: Tell<'_>) {
        for (resource, file) in &mut self.pressure {
            match file.read(buffer) {
                Ok(text) => match pressure(text) {
                    Some(pressure) => tell(Reading::Pressure(*resource, pressure)),
                    None => failed(tell, Groups::PRESSURE, "pressure", &"not in the form that is known"),
                },
                // many kernels are built without, and Raspberry Pi OS has it switched off unless psi=1 is given
                Err(error) => {
                    if let Some(why) = file.failure(&error) {
                        failed(tell, Groups::PRESSURE, "pressure", &why);
                    }
                }
            }
        }
    }

    pub(super) fn memory(&mut self, buffer: &mut Buffer, tell: Tell<'_>) {
        let read = self.memory.read(buffer).map_err(|error| self.memory.told(&error));
        match read.and_then(|text| memory(text).ok_or_else(|| "meminfo without MemTotal or MemAvailable".to_string())) {
            Ok(memory) => tell(Reading::Memory(memory)),
            Err(why) => failed(tell, Groups::MEMORY, "memory", &why),
        }
        for (device, told) in &mut self.zram {
            if let Some(zram) = told.read(buffer).ok().and_then(|text| zram(device, text)) {
                tell(Reading::Zram(zram));
            }
        }
    }

    pub(super) fn own(&mut self, buffer: &mut Buffer, tell: Tell<'_>) {
        let stat = self.own.read(buffer).map_err(|error| self.own.told(&error));
        let (cpu_us, rss_bytes) = match stat {
            Ok(stat) => own(stat),
            Err(why) => {
                failed(tell, Groups::PROCESS, "own", &why);
                (None, None)
            }
        };
        let descriptors = std::fs::read_dir(&self.descriptors).ok().map(|folder| folder.count() as u32);
        // less the one that counts
        let descriptors = descriptors.map(|count| count.saturating_sub(1));
        tell(Reading::Own(Own { rss_bytes, descriptors, cpu_us }));
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and, where the kernel has it, the same as `full`.
fn pressure(text: &str) -> Option<Pressure> {
    let stall = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let field = |key: &str| line.split_ascii_whitespace().find_map(|field| field.strip_prefix(key));
        let percent = |key| field(key)?.parse().ok();
        let percent = [percent("avg10=")?, percent("avg60=")?, percent("avg300=")?];
        Some(Stall { percent, total_us: field("total=")?.parse().ok()? })
    };
    Some(Pressure { some: stall("some ")?, full: stall("full ") })
}

/// Only what is asked for: containers leave out fields that a stricter parser would want.
fn memory(text: &str) -> Option<Memory> {
    let field = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(Memory {
        total_bytes: field("MemTotal")?,
        available_bytes: field("MemAvailable")?,
        free_bytes: field("MemFree"),
        swap_total_bytes: field("SwapTotal"),
        swap_free_bytes: field("SwapFree"),
    })
}

/// The first three fields of `mm_stat` are stored, compressed and used bytes (the kernel's `zram.rst`).
fn zram(device: &str, text: &str) -> Option<Zram> {
    let mut fields = text.split_ascii_whitespace().map(|field| field.parse().ok());
    let (stored_bytes, _compressed, used_bytes) = (fields.next()??, fields.next()?, fields.next()??);
    Some(Zram { device: Label::new(device), stored_bytes, used_bytes })
}

/// Processor time and resident memory of a process from its `stat`; its name, which comes before, may hold anything.
fn own(stat: &str) -> (Option<u64>, Option<u64>) {
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
    let field = |number: usize| -> Option<u64> { fields.get(number - 3)?.parse().ok() }; // as proc_pid_stat(5) counts
    let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let ticks = field(14).and_then(|user| user.checked_add(field(15)?));
    let cpu_us = ticks.and_then(|ticks| ticks.checked_mul(tick_us));
    (cpu_us, field(24).and_then(|pages| pages.checked_mul(rustix::param::page_size() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pressure_with_and_without_full() {
        let some = "some avg10=1.50 avg60=0.25 avg300=0.00 total=123\n";
        let both = pressure(&[some, "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"].concat()).unwrap();
        assert_eq!((both.some.percent, both.some.total_us), ([1.5, 0.25, 0.0], 123));
        assert_eq!(both.full.unwrap().total_us, 7);
        assert_eq!(pressure(some).unwrap().full, None); // before Linux 5.13, for the processor
        assert_eq!(pressure("some avg10=x"), None);
    }

    #[test]
    fn a_container_s_meminfo_is_enough() {
        let memory = memory("MemTotal:  1024 kB\nMemFree: 1 kB\nMemAvailable: 512 kB\nSomethingNew: 1 kB\n").unwrap();
        assert_eq!((memory.total_bytes, memory.available_bytes), (1 << 20, 1 << 19));
        assert_eq!(memory.swap_total_bytes, None);
    }

    #[test]
    fn zram_tells_what_it_takes() {
        let zram = zram("zram0", " 4096 74 12288 0 12288 0 0 0 0\n").unwrap();
        assert_eq!((zram.stored_bytes, zram.used_bytes), (4096, 12288));
    }

    #[test]
    fn a_process_may_be_called_anything() {
        let stat = "7 (a) b (c) S 1 1 1 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 9 1000 25 18446744073709551615";
        let (cpu_us, rss) = own(stat);
        assert_eq!(cpu_us.unwrap() * rustix::param::clock_ticks_per_second() / 1_000_000, 7);
        assert_eq!(rss.unwrap(), 25 * rustix::param::page_size() as u64);
        assert_eq!(own("7 (x"), (None, None));
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "\\PC*", number in any::<u64>(), key in "(MemTotal|some |full |avg10=|total=)") {
            let odd = std::format!("{key}{text}\n{key}: {number}\nMemAvailable: {number} kB\n");
            for text in [&text, &odd] {
                let _ = (pressure(text), memory(text), zram("zram0", text), own(text));
            }
        }
    }
}
