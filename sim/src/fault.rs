//! What the simulated chip refuses.

use embedded_hal::digital;
use hal_core::{Fault, FaultKind, Label, LineId};

/// Why the simulated board refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The line is claimed already.
    #[error("{line} is claimed by {consumer}; release it there first")]
    Busy {
        /// The line.
        line: LineId,
        /// Who has it.
        consumer: Label,
    },
    /// The board has fewer lines.
    #[error("the simulated chip has no {line}; choose a line below {lines}")]
    NoSuchLine {
        /// The line asked for.
        line: LineId,
        /// How many lines there are.
        lines: u16,
    },
    /// A debounce time was asked for.
    #[error("{line} cannot be debounced by the simulated chip; ask for 0 µs")]
    Debounce {
        /// The line.
        line: LineId,
    },
    /// The operation does not fit the line's mode.
    #[error("{line} is not {needed}; configure it first")]
    WrongMode {
        /// The line.
        line: LineId,
        /// What it would have to be.
        needed: &'static str,
    },
    /// The fault that the bench asked for.
    #[error("{line} was made to fail by the bench; try again")]
    Injected {
        /// The line.
        line: LineId,
        /// The kind asked for.
        kind: FaultKind,
    },
}

impl Fault for SimError {
    fn fault(&self) -> FaultKind {
        match self {
            Self::Busy { .. } => FaultKind::Busy,
            Self::NoSuchLine { .. } => FaultKind::NoSuchLine,
            Self::Debounce { .. } => FaultKind::Unsupported,
            Self::WrongMode { .. } => FaultKind::WrongMode,
            Self::Injected { kind, .. } => *kind,
        }
    }
}

impl digital::Error for SimError {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other // it has no other
    }
}
