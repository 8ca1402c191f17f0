//! The processor's temperature sensor among the kernel's thermal zones.

use std::fs;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

/// The `temp` file of the processor's thermal zone below a `/sys/class/thermal`.
///
/// By type, never by number: `cpu-thermal` on a Raspberry Pi; elsewhere the first whose type speaks of a processor.
pub(super) fn processor_zone(thermal: &Path) -> Option<PathBuf> {
    let zones = zones(thermal);
    let exact = zones.iter().find(|(kind, _)| kind == "cpu-thermal");
    let alike = || zones.iter().find(|(kind, _)| ["cpu", "soc", "x86_pkg"].iter().any(|part| kind.contains(part)));
    exact.or_else(alike).map(|(_, zone)| zone.join("temp"))
}

/// A thermal zone's temperature in thousandths of a degree Celsius, as the file has it.
pub(super) fn millicelsius(temp: &Path) -> Option<i32> {
    fs::read_to_string(temp).ok()?.trim().parse().ok()
}

/// Type and folder of every zone, sorted by folder so that "first" means the same at every start.
fn zones(thermal: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(thermal).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("thermal_zone"));
    let mut zones: Vec<_> = folders.filter_map(|entry| typed(entry.path())).collect();
    zones.sort_by(|(_, a), (_, b)| a.cmp(b));
    zones
}

fn typed(zone: PathBuf) -> Option<(String, PathBuf)> {
    let kind = fs::read_to_string(zone.join("type")).ok()?;
    Some((kind.trim().into(), zone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn zones(types: &[&str]) -> tempfile::TempDir {
        let thermal = tempfile::tempdir().unwrap();
        for (number, kind) in types.iter().enumerate() {
            let zone = thermal.path().join(format!("thermal_zone{number}"));
            fs::create_dir(&zone).unwrap();
            fs::write(zone.join("type"), format!("{kind}\n")).unwrap();
            fs::write(zone.join("temp"), format!("{}\n", 40_000 + number)).unwrap();
        }
        thermal
    }

    #[test]
    fn the_raspberry_pi_s_zone_goes_first() {
        let thermal = zones(&["soc-thermal", "cpu-thermal"]);
        let temp = processor_zone(thermal.path()).unwrap();
        assert_eq!(millicelsius(&temp), Some(40_001));
    }

    #[test]
    fn else_the_first_that_speaks_of_a_processor() {
        let thermal = zones(&["acpitz", "x86_pkg_temp", "soc"]);
        let temp = processor_zone(thermal.path()).unwrap();
        assert_eq!(millicelsius(&temp), Some(40_001));
    }

    #[test]
    fn no_sensor_is_no_temperature() {
        assert_eq!(processor_zone(zones(&["acpitz"]).path()), None);
        assert_eq!(processor_zone(Path::new("/nonexistent")), None);
        assert_eq!(millicelsius(Path::new("/nonexistent")), None);
    }
}
