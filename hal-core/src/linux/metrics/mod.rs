//! The system's state from `/proc`, `/sys` and the file systems.
//!
//! Sensors are found by their names, never by their numbers. What a kernel does not have is absent; what is there and
//! cannot be read is a failure of its collector alone.

mod disk;
mod kept;
mod network;
mod power;
mod processor;
mod system;
mod thermal;

use std::path::{Path, PathBuf};
use std::string::ToString;

use crate::{Groups, MetricsSource, Reading};
use kept::Buffer;

/// Readings after which sensors are looked for again: a driver may come after the agent.
const LOOK_AGAIN: u32 = 60;

/// Told one reading.
type Tell<'t> = &'t mut dyn FnMut(Reading<'_>);

/// Reads below a root, which is `/` but in tests. Files that are read often are kept open.
#[derive(Debug)]
pub struct ProcfsMetrics {
    buffer: Buffer,
    processor: processor::Processor,
    system: system::System,
    disk: disk::Disks,
    network: network::Network,
    thermal: thermal::Thermal,
    power: power::Power,
    readings: u32,
}

impl ProcfsMetrics {
    /// This machine.
    pub fn new() -> Self {
        Self::below(Path::new("/"))
    }

    /// The machine whose `proc` and `sys` are in this folder.
    pub fn below(root: &Path) -> Self {
        Self {
            buffer: Buffer::new(),
            processor: processor::Processor::new(root),
            system: system::System::new(root),
            disk: disk::Disks::new(root),
            network: network::Network::new(root),
            thermal: thermal::Thermal::new(root),
            power: power::Power::new(root),
            readings: 0,
        }
    }
}

impl Default for ProcfsMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl MetricsSource for ProcfsMetrics {
    fn sample(&mut self, groups: Groups, tell: &mut dyn FnMut(Reading<'_>)) {
        let buffer = &mut self.buffer;
        if self.readings.is_multiple_of(LOOK_AGAIN) {
            self.thermal.find();
            self.power.find();
            self.system.find();
            self.network.find();
        }
        self.readings = self.readings.wrapping_add(1);
        self.processor.sample(groups, buffer, tell);
        if groups.has(Groups::LOAD | Groups::PROCESS) {
            self.system.load(groups, buffer, tell);
        }
        if groups.has(Groups::PRESSURE) {
            self.system.pressure(buffer, tell);
        }
        if groups.has(Groups::MEMORY) {
            self.system.memory(buffer, tell);
        }
        if groups.has(Groups::PROCESS) {
            self.system.own(buffer, tell);
        }
        if groups.has(Groups::DISK) {
            self.disk.sample(buffer, tell);
        }
        if groups.has(Groups::NETWORK) {
            self.network.sample(buffer, tell);
        }
        if groups.has(Groups::THERMAL) {
            self.thermal.sample(buffer, tell);
        }
        if groups.has(Groups::POWER) {
            self.power.throttling(buffer, tell);
        }
        if groups.has(Groups::CLOCK) {
            self.power.clocks(buffer, tell);
        }
    }
}

/// Tells a failure.
fn failed(tell: Tell<'_>, group: Groups, collector: &'static str, why: &dyn std::fmt::Display) {
    tell(Reading::Failed { group, collector, why: &why.to_string() });
}

/// The entries of a folder, sorted, so that "first" means the same at every start; none if there is no such folder.
fn entries(folder: &Path) -> std::vec::Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: std::vec::Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// A file's text without what surrounds it: white space, and the NUL at the end of the device tree's strings.
fn text(path: &Path) -> Option<std::string::String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_string())
}

/// The last part of a path.
fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
