//! What the simulated chip refuses.

use embedded_hal::{digital, pwm};
use hal_core::{Fault, FaultKind, Label, LineId, PwmChannelId};

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
    /// The line cannot carry PWM.
    #[error("{line} has no PWM channel on the simulated chip; choose another line")]
    NoPwm {
        /// The line.
        line: LineId,
    },
    /// The channel serves a line already, this one or one that shares it.
    #[error("{line} and {other} share {channel}, which {other} uses; release that first")]
    ChannelShared {
        /// The line asked for.
        line: LineId,
        /// The line that has the channel.
        other: LineId,
        /// The channel.
        channel: PwmChannelId,
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
            Self::Busy { .. } | Self::ChannelShared { .. } => FaultKind::Busy,
            Self::NoSuchLine { .. } => FaultKind::NoSuchLine,
            Self::Debounce { .. } | Self::NoPwm { .. } => FaultKind::Unsupported,
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

impl pwm::Error for SimError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other // it has no other
    }
}
