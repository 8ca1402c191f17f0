//! The Raspberry Pi's supply, throttling and clocks.

use std::path::{Path, PathBuf};
use std::vec::Vec;

use super::kept::{Buffer, Kept};
use super::{Tell, entries, failed, name, text};
use crate::{Clock, Groups, Label, Reading, Throttled, Voltage};

#[derive(Debug)]
pub(super) struct Power {
    root: PathBuf,
    throttled: Option<Kept>,
    voltages: Vec<Input>,
    clocks: Vec<ClockFiles>,
}

#[derive(Debug)]
struct Input {
    name: Label,
    millivolts: Kept,
    alarm: Option<Kept>,
}

#[derive(Debug)]
struct ClockFiles {
    name: Label,
    khz: Kept,
    max_khz: Option<u64>,
}

impl Power {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into(), throttled: None, voltages: Vec::new(), clocks: Vec::new() }
    }

    /// Looks for sensors. One that was there and is gone stays, so that its failure is told.
    pub(super) fn find(&mut self) {
        self.throttled = self.throttled.take().or_else(|| throttled(&self.root));
        let voltages = voltages(&self.root.join("sys/class/hwmon"));
        if voltages.len() > self.voltages.len() {
            self.voltages = voltages;
        }
        let clocks = clocks(&self.root.join("sys/devices/system/cpu/cpufreq"));
        if clocks.len() > self.clocks.len() {
            self.clocks = clocks;
        }
    }

    pub(super) fn throttling(&mut self, buffer: &mut Buffer, tell: Tell<'_>) {
        if let Some(file) = &mut self.throttled {
            let word = file.read(buffer).map_err(|error| file.told(&error));
            match word.and_then(|text| hexadecimal(text).ok_or_else(|| "no hexadecimal number".into())) {
                Ok(word) => tell(Reading::Throttled(Throttled(word))),
                Err(why) => failed(tell, Groups::POWER, "throttled", &why),
            }
        }
        for input in &mut self.voltages {
            let millivolts = input.millivolts.number(buffer);
            if let Some(why) = millivolts.as_ref().err().and_then(|error| input.millivolts.failure(error)) {
                failed(tell, Groups::POWER, "voltage", &why);
            }
            let alarm = input.alarm.as_mut().and_then(|alarm| alarm.number::<u8>(buffer).ok());
            let low = alarm.map(|alarm| alarm != 0);
            tell(Reading::Voltage(Voltage { name: input.name, millivolts: millivolts.ok(), low }));
        }
    }

    pub(super) fn clocks(&mut self, buffer: &mut Buffer, tell: Tell<'_>) {
        for clock in &mut self.clocks {
            match clock.khz.number(buffer) {
                Ok(khz) => tell(Reading::Clock(Clock { name: clock.name, khz, max_khz: clock.max_khz })),
                Err(error) => failed(tell, Groups::CLOCK, "clock", &clock.khz.told(&error)),
            }
        }
    }
}

/// The firmware's word: only Raspberry Pi's kernels have the file, below a folder whose name differs by model.
fn throttled(root: &Path) -> Option<Kept> {
    let platform = root.join("sys/devices/platform");
    let socs = entries(&platform).into_iter().filter(|folder| name(folder).starts_with("soc"));
    let firmwares = socs.flat_map(|soc| entries(&soc)).filter(|folder| name(folder).ends_with("firmware"));
    firmwares.map(|firmware| firmware.join("get_throttled")).find(|file| file.exists()).map(Kept::new)
}

/// `50005`, with or without 0x before it.
fn hexadecimal(text: &str) -> Option<u32> {
    let text = text.trim();
    u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

/// The inputs of the sensors that watch a supply: every `in*` of every hwmon, of which the Raspberry Pi's `rpi_volt`
/// only has the alarm.
fn voltages(hwmon: &Path) -> Vec<Input> {
    let inputs = |folder: PathBuf| {
        let driver = text(&folder.join("name"))?;
        let input = |number: usize| {
            let file = |what: &str| folder.join(std::format!("in{number}_{what}"));
            let alarm = ["lcrit_alarm", "min_alarm", "alarm"].map(file).into_iter().find(|file| file.exists());
            (alarm.is_some() || file("input").exists()).then(|| Input {
                name: Label::new(&std::format!("{driver} in{number}")),
                millivolts: Kept::new(file("input")),
                alarm: alarm.map(Kept::new),
            })
        };
        Some((0..16).filter_map(input).collect::<Vec<_>>())
    };
    entries(hwmon).into_iter().filter_map(inputs).flatten().collect()
}

/// `policy0` is the clock of core 0 and of those that go with it.
fn clocks(cpufreq: &Path) -> Vec<ClockFiles> {
    let clock = |folder: PathBuf| {
        let number = name(&folder).strip_prefix("policy")?.parse::<u16>().ok()?;
        let max_khz = text(&folder.join("cpuinfo_max_freq")).and_then(|text| text.parse().ok());
        let khz = Kept::new(folder.join("scaling_cur_freq"));
        Some(ClockFiles { name: Label::new(&std::format!("cpu{number}")), khz, max_khz })
    };
    entries(cpufreq).into_iter().filter_map(clock).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_s_word_is_hexadecimal() {
        assert_eq!(hexadecimal("50005\n"), Some(0x5_0005));
        assert_eq!(hexadecimal("0x0"), Some(0));
        assert_eq!(hexadecimal("x"), None);
    }
}
