//! When this was built: no clock that is right stands before that. `SOURCE_DATE_EPOCH` (seconds since 1970) overrides it,
//! so that builds can be repeated byte for byte.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let seconds: u64 = given.unwrap_or_else(now);
    println!("cargo:rustc-env=PI_BUILD_TIME={seconds}");
}
