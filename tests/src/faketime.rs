//! Processes whose wall clock is wrong, by Debian's `faketime`. The monotonic clock stays as it is, as on a machine whose
//! clock was never set.

use std::path::{Path, PathBuf};

/// The environment of a process whose clock is told by `clock` after faketime(1): `+3d`, `@1970-01-01 00:00:10`.
pub fn clock_at(clock: &str) -> Vec<(String, String)> {
    faked([("FAKETIME", clock.to_owned())])
}

/// The same, told by a file that may change while the process runs; it is looked at every second.
pub fn clock_of(file: &Path) -> Vec<(String, String)> {
    let file = file.display().to_string();
    faked([("FAKETIME_TIMESTAMP_FILE", file), ("FAKETIME_CACHE_DURATION", "1".to_owned())])
}

fn faked<const N: usize>(told: [(&str, String); N]) -> Vec<(String, String)> {
    let library = library().display().to_string();
    let always = [("LD_PRELOAD", library), ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned())];
    told.into_iter().chain(always).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Where the package puts it, on any architecture.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("/usr/lib");
    let candidates = folders.flatten().map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    candidates
        .into_iter()
        .find(|library| library.exists())
        .expect("faketime: tests/run installs it, or apt-get install faketime")
}
