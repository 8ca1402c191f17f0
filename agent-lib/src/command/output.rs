//! What is kept of an output stream: its beginning and its end, and the exact count.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Takes any number of bytes and keeps a bounded number: the first half of the limit and the last half.
#[derive(Clone, Debug)]
pub struct OutputKeeper {
    head: Vec<u8>,
    head_limit: usize,
    tail: VecDeque<u8>,
    tail_limit: usize,
    total: u64,
}

/// What an [`OutputKeeper`] has kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptOutput {
    /// The first bytes; all of them if nothing was left out.
    pub head: Vec<u8>,
    /// The last bytes, if some between were left out.
    pub tail: Vec<u8>,
    /// Bytes that were written, kept or not.
    pub total: u64,
    /// Whether bytes are missing between head and tail.
    pub truncated: bool,
}

impl OutputKeeper {
    /// Keeps at most `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        let tail_limit = limit / 2;
        Self { head: Vec::new(), head_limit: limit - tail_limit, tail: VecDeque::new(), tail_limit, total: 0 }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let (first, rest) = bytes.split_at(bytes.len().min(self.head_limit - self.head.len()));
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.tail_limit)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    /// Bytes taken so far.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// What was kept.
    pub fn finish(mut self) -> KeptOutput {
        let kept = u64::try_from(self.head.len() + self.tail.len()).unwrap_or(u64::MAX);
        let truncated = kept < self.total;
        let mut tail = Vec::new();
        match truncated {
            true => tail = self.tail.into(),
            false => self.head.extend(self.tail),
        }
        KeptOutput { head: self.head, tail, total: self.total, truncated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_beginning_and_the_end_are_kept_and_every_byte_is_counted(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
            limit in 0_usize..100,
        ) {
            let all = chunks.concat();
            let mut keeper = OutputKeeper::new(limit);
            for chunk in &chunks {
                keeper.push(chunk);
            }
            let kept = keeper.finish();
            prop_assert_eq!(kept.total, all.len() as u64);
            prop_assert_eq!(kept.truncated, all.len() > limit);
            if kept.truncated {
                prop_assert_eq!(kept.head.len() + kept.tail.len(), limit);
                prop_assert!(all.starts_with(&kept.head) && all.ends_with(&kept.tail));
                prop_assert!(kept.head.len() - kept.tail.len() <= 1);
            } else {
                prop_assert_eq!((kept.head, kept.tail), (all, Vec::new()));
            }
        }
    }
}
