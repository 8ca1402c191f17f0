//! The size of the binaries.

use std::path::Path;
use std::process::Command;

use crate::report::{Goal, Row};
use crate::series::Series;
use crate::server::FLOOR;

/// Builds the real `pi-agent` in this benchmark's own profile and compares it to the floor. Only the profile `dist`
/// strips, so only there the figures are those of what ships.
pub(crate) fn measure() -> Row {
    let folder = Path::new(FLOOR).parent().expect("a target folder");
    let (target, profile) = (folder.parent(), folder.file_name().and_then(|name| name.to_str()));
    let profile = match profile.expect("a profile") {
        "debug" => "dev",
        other => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Alone, so that it has no feature that only other packages ask for.
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package=pi-agent"])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(target.expect("a target folder"))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "pi-agent does not build");
    Row {
        what: "P12: size of the binary",
        unit: "MB",
        agent: size(&folder.join("pi-agent")),
        floor: size(Path::new(FLOOR)),
        control: None,
        goal: Goal::Value(4.5),
    }
}

fn size(binary: &Path) -> Series {
    let bytes = std::fs::metadata(binary).expect("a binary").len();
    let mut series = Series::default();
    series.round(vec![bytes as f64 / 1e6]);
    series
}
