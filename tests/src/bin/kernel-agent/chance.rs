//! Chance that can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// A small generator (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    /// Says its seed.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let drawn = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let seed = seed.unwrap_or_else(drawn);
        println!("seed {seed}");
        Self(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
