//! How big a test is: a tenth in CI, full by `tests/full`. One code for both.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whether this run is at full size (`PI_FULL=1`), as `tests/full` asks for.
pub fn is_full() -> bool {
    std::env::var_os("PI_FULL").is_some_and(|full| full == "1")
}

/// One of two sizes.
pub fn size<T>(tenth: T, full: T) -> T {
    if is_full() { full } else { tenth }
}

/// The seed of a randomised test: `PI_SEED`, or another one each time. Printed, so that a failure can be repeated.
///
/// # Panics
///
/// If `PI_SEED` is not a number.
pub fn seed() -> u64 {
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos().into());
    let seed = std::env::var("PI_SEED").map_or_else(|_| fresh(), |seed| seed.parse().expect("PI_SEED is a number"));
    println!("seed: PI_SEED={seed}");
    seed
}

/// Says a result: `tests/full` shows and records these lines.
pub fn figure(text: impl AsRef<str>) {
    println!("figure: {}", text.as_ref());
}

/// Durations in order, for their quantiles.
pub struct Sorted(Vec<Duration>);

impl Sorted {
    /// Sorts them.
    pub fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// This share of the samples is not above it.
    ///
    /// # Panics
    ///
    /// If there is no sample.
    pub fn quantile(&self, share: f64) -> Duration {
        self.0[((self.0.len() - 1) as f64 * share).round() as usize]
    }

    /// Holds calls beside an attack against those before it: 99 in 100 took at most twice as long, at full size, where the
    /// build is optimised and nothing else runs. Elsewhere attacker, host and caller share two cores with other tests, and
    /// only what no such noise explains is an error. What takes less than 50 ms is never too long.
    ///
    /// # Panics
    ///
    /// If they took longer.
    pub fn is_calm_beside(&self, before: &Self) {
        let share = if is_full() { 0.99 } else { 0.5 };
        let (before, during) = (before.quantile(share), self.quantile(share));
        assert!(during <= (2 * before).max(Duration::from_millis(50)), "{before:?} before, {during:?} during");
    }
}

impl std::fmt::Display for Sorted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, share) in [("min", 0.0), (", median", 0.5), (", p99", 0.99), (", max", 1.0)] {
            write!(f, "{name} {:.2} ms", self.quantile(share).as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}
