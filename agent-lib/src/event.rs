//! What the agent did of its own accord, for the host to log, to pass on and to act upon.

use alloc::collections::VecDeque;

use hal_core::{Board, FaultKind, LineId};

use crate::{Agent, Holder, SafeState};

/// Events that wait for the host.
const CAPACITY: usize = 256;

/// Something that happened to a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A lease ran out. The line is in its safe state.
    Expired {
        /// The line.
        line: LineId,
        /// Who had been silent.
        holder: Holder,
        /// How the line was left. (An input is left alone, whatever this says.)
        safe: SafeState,
    },
    /// Nobody holds the line any more: who waits for it may claim it.
    Freed {
        /// The line.
        line: LineId,
    },
    /// The board does not take the line's safe state, the end of its pulse or an edge of its signal. It is tried again
    /// every 100 ms, and the line stays out of everybody's reach; told once, not at every attempt.
    SafeFailed {
        /// The line.
        line: LineId,
        /// What kind of fault it is.
        kind: FaultKind,
    },
    /// A line was taken from its holder.
    Stolen {
        /// The line.
        line: LineId,
        /// Who held it.
        from: Holder,
        /// Who holds it now.
        by: Holder,
    },
    /// A pulse ended by itself; the line is inactive.
    PulseDone {
        /// The line.
        line: LineId,
        /// Pulses of the train that were left out because the host came too late for them; 0 with a host in time.
        missed: u32,
    },
    /// The host came too late for edges of a signal that the agent makes. Told at once and every 10 s as long as it goes
    /// on, and when the signal ends.
    PwmMissed {
        /// The line.
        line: LineId,
        /// Edges that were left out since it was told last.
        missed: u64,
    },
}

/// The events that wait, the newest when there are too many.
#[derive(Debug, Default)]
pub(crate) struct Events {
    waiting: VecDeque<Event>,
    lost: u64,
}

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        if self.waiting.len() == CAPACITY {
            self.waiting.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
        self.waiting.push_back(event);
    }
}

impl<B: Board> Agent<B> {
    /// The oldest event that the host has not seen. Ask until `None` after every call that may change something.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.waiting.pop_front()
    }

    /// How many events were dropped since the start because 256 were waiting already; the newest were kept.
    pub fn events_lost(&self) -> u64 {
        self.events.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_events_cost_the_oldest() {
        let mut events = Events::default();
        for line in 0..300 {
            events.push(Event::Freed { line: LineId(line) });
        }
        assert_eq!((events.waiting.len(), events.lost), (256, 44));
        assert_eq!(events.waiting.back(), Some(&Event::Freed { line: LineId(299) }));
    }
}
