//! Thermal zones, fans.

use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

use super::kept::{Buffer, Kept};
use super::{Tell, entries, failed, name, text};
use crate::{Fan, Groups, Label, Reading, Trip, Zone};

/// The kernel's limit of trip points a zone.
const TRIPS: usize = 12;

#[derive(Debug)]
pub(super) struct Thermal {
    zones_folder: PathBuf,
    hwmon_folder: PathBuf,
    zones: Vec<Sensor>,
    fans: Vec<FanFiles>,
}

#[derive(Debug)]
struct Sensor {
    kind: Label,
    processor: bool,
    temperature: Kept,
    trips: Vec<Trip>,
}

#[derive(Debug)]
struct FanFiles {
    name: Label,
    rpm: Kept,
    drive: Kept,
}

impl Thermal {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            zones_folder: root.join("sys/class/thermal"),
            hwmon_folder: root.join("sys/class/hwmon"),
            zones: Vec::new(),
            fans: Vec::new(),
        }
    }

    /// Looks for sensors. One that was there and is gone stays, so that its failure is told.
    pub(super) fn find(&mut self) {
        let zones = zones(&self.zones_folder);
        if zones.len() > self.zones.len() {
            let processor = processor_zone(&zones);
            self.zones = zones
                .into_iter()
                .enumerate()
                .map(|(at, (kind, folder))| Sensor {
                    kind: Label::new(&kind),
                    processor: processor == Some(at),
                    temperature: Kept::new(folder.join("temp")),
                    trips: trips(&folder),
                })
                .collect();
        }
        let fans = fans(&self.hwmon_folder);
        if fans.len() > self.fans.len() {
            self.fans = fans;
        }
    }

    pub(super) fn sample(&mut self, buffer: &mut Buffer, tell: Tell<'_>) {
        for sensor in &mut self.zones {
            let millicelsius = match sensor.temperature.number(buffer) {
                Ok(temperature) => Some(temperature),
                Err(error) => {
                    failed(tell, Groups::THERMAL, "thermal", &sensor.temperature.told(&error));
                    None
                }
            };
            let zone = Zone { kind: sensor.kind, processor: sensor.processor, millicelsius };
            tell(Reading::Zone { zone, trips: &sensor.trips });
        }
        for fan in &mut self.fans {
            let (rpm, drive) = (fan.rpm.number(buffer).ok(), fan.drive.number(buffer).ok());
            tell(Reading::Fan(Fan { name: fan.name, rpm, drive }));
        }
    }
}

/// Type and folder of every zone.
fn zones(thermal: &Path) -> Vec<(String, PathBuf)> {
    let folders = entries(thermal).into_iter().filter(|folder| name(folder).starts_with("thermal_zone"));
    folders.filter_map(|folder| Some((text(&folder.join("type"))?, folder))).collect()
}

/// By type, never by number: `cpu-thermal` on a Raspberry Pi; elsewhere the first whose type speaks of a processor.
fn processor_zone(zones: &[(String, PathBuf)]) -> Option<usize> {
    let exact = zones.iter().position(|(kind, _)| kind == "cpu-thermal");
    let speaks = |kind: &str| ["cpu", "soc", "x86_pkg"].iter().any(|part| kind.contains(part));
    exact.or_else(|| zones.iter().position(|(kind, _)| speaks(kind)))
}

fn trips(zone: &Path) -> Vec<Trip> {
    let trip = |number: usize| {
        let field = |field: &str| text(&zone.join(std::format!("trip_point_{number}_{field}")));
        Some(Trip { kind: Label::new(&field("type")?), millicelsius: field("temp")?.parse().ok()? })
    };
    (0..TRIPS).filter_map(trip).collect()
}

fn fans(hwmon: &Path) -> Vec<FanFiles> {
    let fan = |folder: PathBuf| {
        let driver = text(&folder.join("name"))?;
        let files = |number| FanFiles {
            name: Label::new(&driver),
            rpm: Kept::new(folder.join(std::format!("fan{number}_input"))),
            drive: Kept::new(folder.join(std::format!("pwm{number}"))),
        };
        let there = |number: &usize| {
            ["fan{}_input", "pwm{}"]
                .iter()
                .any(|file| folder.join(file.replace("{}", &std::format!("{number}"))).exists())
        };
        Some((1..=4).filter(there).map(files).collect::<Vec<_>>())
    };
    entries(hwmon).into_iter().filter_map(fan).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(types: &[&str]) -> Option<usize> {
        let zones: Vec<_> = types.iter().map(|kind| (String::from(*kind), PathBuf::new())).collect();
        processor_zone(&zones)
    }

    #[test]
    fn the_processor_s_zone_is_found_by_its_type() {
        assert_eq!(processor(&["soc-thermal", "cpu-thermal"]), Some(1));
        assert_eq!(processor(&["acpitz", "x86_pkg_temp", "soc"]), Some(1));
        assert_eq!(processor(&["acpitz"]), None);
    }
}
