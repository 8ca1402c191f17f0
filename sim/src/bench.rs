//! The world outside the chip.

use hal_core::{FaultKind, Instant, LineId};

use crate::clock::Clock;
use crate::net::{Driver, Level};
use crate::state::Shared;

/// What a person at the bench has: probes, test leads, a logbook, and a way to make lines fail.
///
/// Clones are the same bench. A line that the chip does not have floats, has no history and takes no notice.
#[derive(Clone, Debug)]
pub struct Bench {
    pub(crate) shared: Shared,
}

/// Strong drivers that began to fight over a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contention {
    /// When it began.
    pub at: Instant,
    /// The lines at which something drives the wire hard, the chip or the bench, in order.
    pub lines: Vec<LineId>,
}

impl Bench {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// The clock that the board follows.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The level on a line's wire.
    pub fn level(&self, line: LineId) -> Level {
        self.shared.with(|state, _| state.pad(line).map_or(Level::Floating, |pad| pad.level))
    }

    /// Connects a line's wire to the supply or to ground, or lets go of it.
    pub fn drive(&self, line: LineId, high: Option<bool>) {
        let outside = high.map_or(Driver::OPEN, Driver::strong);
        self.shared.with(|state, now| _ = state.change(now, line, |pad| pad.outside = outside));
    }

    /// The level of a line's wire at each change since reset, oldest first; the last 4096.
    pub fn history(&self, line: LineId) -> Vec<(Instant, Level)> {
        self.shared
            .with(|state, _| state.pad(line).map(|pad| pad.history.iter().copied().collect()).unwrap_or_default())
    }

    /// How often a line was requested since reset, also in vain. A look at its level or direction is no request.
    pub fn requests(&self, line: LineId) -> u64 {
        self.shared.with(|state, _| state.pad(line).map_or(0, |pad| pad.requests))
    }

    /// Every fight of strong drivers since reset, oldest first; the first 4096.
    pub fn contentions(&self) -> Vec<Contention> {
        self.shared.with(|state, _| state.contentions.iter().cloned().collect())
    }

    /// Makes the next claim, reconfiguration or write of a line fail with this kind, once. Nothing changes when it does.
    pub fn fail_next(&self, line: LineId, kind: FaultKind) {
        self.shared.with(|state, _| _ = state.pad_mut(line).map(|pad| pad.next_fault = Some(kind)));
    }
}
