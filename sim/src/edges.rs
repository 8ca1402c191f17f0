//! Edges waiting to be fetched, with the kernel's rules for a full queue.

use std::collections::VecDeque;
use std::task::Waker;

use hal_core::{Caps, EdgeEvent, Instant, LineId, Lost};

/// Which of the kernel's GPIO interfaces the board behaves like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The first: 16 edges a line, the newest dropped unnoticed (`drivers/gpio/gpiolib-cdev.c`, `lineevent_state`), no
    /// numbers, no reconfiguration in place. The default, since the shipped backend uses it.
    #[default]
    V1,
    /// The second: the oldest dropped, seen as a gap in the numbers; reconfiguration in place.
    V2 {
        /// Edges that a line's queue holds; the kernel's default is 16, a queue of 0 holds one.
        capacity: u16,
    },
}

impl Profile {
    pub(crate) fn caps(self) -> Caps {
        let second = self != Self::V1;
        Caps {
            bias: true,
            edge_wakeups: true,
            edge_seq: second,
            reconfigure_in_place: second,
            outputs_persist: Some(true),
            ..Caps::default()
        }
    }

    fn capacity(self) -> usize {
        match self {
            Self::V1 => 16,
            Self::V2 { capacity } => usize::from(capacity.max(1)),
        }
    }
}

/// The edges of one claimed line.
#[derive(Debug)]
pub(crate) struct EdgeQueue {
    profile: Profile,
    waiting: VecDeque<Edge>,
    last_seq: u32,
    last_fetched: u32,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Edge {
    rising: bool,
    at: Instant,
    seq: u32,
}

impl EdgeQueue {
    pub(crate) fn new(profile: Profile) -> Self {
        Self { profile, waiting: VecDeque::new(), last_seq: 0, last_fetched: 0, waker: None }
    }

    /// Starts afresh, as a new request does. Who waits for an edge goes on waiting.
    pub(crate) fn restart(&mut self) {
        *self = Self { waker: self.waker.take(), ..Self::new(self.profile) };
    }

    /// Queues an edge, or drops one as the profile says. Answers whom to wake.
    pub(crate) fn push(&mut self, rising: bool, at: Instant) -> Option<Waker> {
        self.last_seq = self.last_seq.wrapping_add(1);
        let full = self.waiting.len() >= self.profile.capacity();
        if full && self.profile == Profile::V1 {
            return None;
        }
        if full {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Edge { rising, at, seq: self.last_seq });
        self.waker.take()
    }

    /// The oldest edge, or a promise to wake this task.
    pub(crate) fn fetch(&mut self, line: LineId, waker: &Waker) -> Option<EdgeEvent> {
        let Some(Edge { rising, at, seq }) = self.waiting.pop_front() else {
            self.waker = Some(waker.clone());
            return None;
        };
        let missed = seq.wrapping_sub(self.last_fetched).wrapping_sub(1);
        self.last_fetched = seq;
        let (seq, lost) = match (self.profile, missed) {
            (Profile::V1, _) => (None, Lost::Unknown),
            (Profile::V2 { .. }, 0) => (Some(seq), Lost::None),
            (Profile::V2 { .. }, missed) => (Some(seq), Lost::Some(missed)),
        };
        Some(EdgeEvent { line, rising, at, seq, lost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: LineId = LineId(17);

    fn after(profile: Profile, edges: u64) -> Vec<EdgeEvent> {
        let mut queue = EdgeQueue::new(profile);
        for nanos in 1..=edges {
            queue.push(nanos % 2 == 1, Instant::from_nanos(nanos));
        }
        std::iter::from_fn(|| queue.fetch(LINE, Waker::noop())).collect()
    }

    #[test]
    fn the_first_interface_keeps_the_oldest_and_cannot_tell() {
        let kept = after(Profile::V1, 20);
        assert_eq!(kept.len(), 16);
        assert_eq!((kept[0].at.as_nanos(), kept[15].at.as_nanos()), (1, 16));
        assert!(kept.iter().all(|edge| edge.seq.is_none() && edge.lost == Lost::Unknown));
    }

    #[test]
    fn the_second_interface_keeps_the_newest_and_shows_the_gap() {
        let kept = after(Profile::V2 { capacity: 4 }, 6);
        assert_eq!(kept.len(), 4);
        assert_eq!((kept[0].seq, kept[0].lost), (Some(3), Lost::Some(2)));
        assert_eq!((kept[3].seq, kept[3].lost), (Some(6), Lost::None));
    }

    #[test]
    fn nothing_lost_is_known_to_be_nothing() {
        let kept = after(Profile::V2 { capacity: 4 }, 1);
        assert_eq!((kept[0].seq, kept[0].lost), (Some(1), Lost::None));
    }
}
