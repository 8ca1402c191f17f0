//! What watchers are told.

use hal_core::{Instant, LineConfig, LineId};

use crate::Holder;

/// A place in the agent's history. Records are numbered through, one up each, over all lines and watchers; a watcher sees
/// the numbers of its own lines only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The numbering: another epoch, other numbers.
    pub epoch: u64,
    /// The number of a record; what follows it has higher ones.
    pub sequence: u64,
}

/// Something that a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands in the history. A snapshot or gap for one watcher alone has no number of its own but that of the
    /// record before it, so that watching can be resumed after any record.
    pub position: Position,
    /// What is told.
    pub what: What,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// How a line stands: at the start, when it changes hands or configuration, and after a gap.
    Snapshot {
        /// The line.
        line: LineId,
        /// The logical level: true is active. On a line that is not held it is the raw level.
        level: bool,
        /// The raw level: true is high.
        raw: bool,
        /// How it is set up for its holder; `None` if nobody holds it.
        config: Option<LineConfig>,
        /// Who holds it; `watch` is the agent itself on behalf of the watchers.
        holder: Option<Holder>,
        /// When it was read, on the board's clock.
        at: Instant,
    },
    /// An input changed.
    Edge {
        /// The line.
        line: LineId,
        /// True from inactive to active, in logical levels.
        rising: bool,
        /// When; of a line that the agent debounces, since when it has been stable.
        at: Instant,
        /// The kernel's number of the edge on this line, where the board counts.
        seq_of_kernel: Option<u32>,
        /// Which clock `at` is on.
        clock: EdgeClock,
    },
    /// An output was written through the agent: by its holder, a pulse, or to make it safe.
    Changed {
        /// The line.
        line: LineId,
        /// The logical level now.
        level: bool,
        /// The raw level now.
        raw: bool,
        /// When, on the board's clock.
        at: Instant,
    },
    /// Records are missing here.
    Gap {
        /// On which line; `None` is on any of those watched.
        line: Option<LineId>,
        /// How many.
        missed: Missed,
    },
}

/// The clock of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EdgeClock {
    /// The board's ([`Board::now`](hal_core::Board::now)): `CLOCK_MONOTONIC` on Linux, virtual time in a simulation.
    Board,
}

/// How many records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Missed {
    /// This many, at least one.
    Exactly(u64),
    /// Perhaps none, perhaps many: the board cannot know.
    Unknown,
}

impl Missed {
    /// These and those.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Exactly(a), Self::Exactly(b)) => Self::Exactly(a.saturating_add(b)),
            _ => Self::Unknown,
        }
    }
}

impl What {
    /// The line that it is about; `None` is all that are watched.
    pub fn line(&self) -> Option<LineId> {
        match self {
            Self::Snapshot { line, .. } | Self::Edge { line, .. } | Self::Changed { line, .. } => Some(*line),
            Self::Gap { line, .. } => *line,
        }
    }

    /// What is missing if this is.
    pub(crate) fn if_dropped(&self) -> Missed {
        match self {
            Self::Gap { missed, .. } => *missed,
            _ => Missed::Exactly(1),
        }
    }
}
