//! S27: what the shipped units allow, by systemd's own judgement.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

/// Exposure in tenths, from 0 (nothing) to 100; judged without a running systemd. `None` where systemd is not installed,
/// which in CI is a failure.
fn exposure(unit: &Path) -> Option<u32> {
    let judged = Command::new("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(unit).output();
    let Ok(judged) = judged else {
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is missing");
        println!("not run: systemd-analyze is missing");
        return None;
    };
    let said = String::from_utf8(judged.stdout).unwrap();
    let overall = said.lines().find_map(|line| line.split_once("Overall exposure level for ")).expect("a verdict").1;
    let level: f64 = overall.split_whitespace().nth(1).unwrap().parse().unwrap();
    Some((level * 10.0).round() as u32)
}

#[test]
fn the_units_allow_little() {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hosts");
    for (unit, most) in [("pi-agent/pi-agent.service", 25), ("pi-controller/pi-controller.service", 20)] {
        let Some(found) = exposure(&hosts.join(unit)) else { return };
        tests::figure(format!("{unit}: exposure {}.{} of 10", found / 10, found % 10));
        assert!(found <= most, "{unit}: {found} tenths, at most {most} are allowed");
    }
    // the control: a unit that says nothing
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("bare.service");
    std::fs::write(&bare, "[Service]\nExecStart=/bin/true\n").unwrap();
    assert!(exposure(&bare).is_some_and(|found| found > 80));
}
