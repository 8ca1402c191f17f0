//! What the kernel refuses of PWM, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::vec::Vec;

use rustix::io::Errno;

use crate::{Fault, FaultKind, LineId, PwmChannelId};

/// Why a PWM channel could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PwmError {
    /// None of the chips in sysfs reaches a Raspberry Pi's header.
    #[error("no PWM chip reaches the header; enable it with `dtoverlay=pwm-2chan` and restart")]
    NoHeaderChip,
    /// The line cannot carry PWM.
    #[error("{line} has no PWM channel; choose {}", Among(lines))]
    NoChannel {
        /// The line.
        line: LineId,
        /// Those that have one.
        lines: Vec<(LineId, PwmChannelId)>,
    },
    /// The channel serves a line already, this one or one that shares it.
    #[error("{line} and {other} share {channel}, which {other} uses; release that first")]
    Shared {
        /// The line asked for.
        line: LineId,
        /// The line that has the channel.
        other: LineId,
        /// The channel.
        channel: PwmChannelId,
    },
    /// The channel is exported, but not by us.
    #[error("{line}: {channel} is in use by another program; stop that, then release what it left behind")]
    Exported {
        /// The line.
        line: LineId,
        /// The channel.
        channel: PwmChannelId,
    },
    /// A file of sysfs could not be used.
    #[error("{}: {}", path.display(), advice(kind_of(source)))]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of sysfs does not hold what it should.
    #[error("{} holds no timing; look at the file", path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
    },
}

impl Fault for PwmError {
    fn fault(&self) -> FaultKind {
        match self {
            Self::NoHeaderChip | Self::NoChannel { .. } => FaultKind::Unsupported,
            Self::Shared { .. } | Self::Exported { .. } => FaultKind::Busy,
            Self::File { source, .. } => kind_of(source),
            Self::Garbled { .. } => FaultKind::Other,
        }
    }
}

impl embedded_hal::digital::Error for PwmError {
    fn kind(&self) -> embedded_hal::digital::ErrorKind {
        embedded_hal::digital::ErrorKind::Other // it has no other
    }
}

impl embedded_hal::pwm::Error for PwmError {
    fn kind(&self) -> embedded_hal::pwm::ErrorKind {
        embedded_hal::pwm::ErrorKind::Other // it has no other
    }
}

pub(super) fn kind_of(error: &io::Error) -> FaultKind {
    match Errno::from_io_error(error) {
        Some(Errno::BUSY) => FaultKind::Busy,
        Some(Errno::ACCESS | Errno::PERM) => FaultKind::Denied,
        Some(Errno::INVAL | Errno::RANGE) => FaultKind::InvalidConfig,
        Some(Errno::NOENT | Errno::NODEV) => FaultKind::Gone,
        Some(Errno::OPNOTSUPP) => FaultKind::Unsupported,
        _ => FaultKind::Other,
    }
}

fn advice(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Busy => "used by another program; stop that",
        FaultKind::Denied => "not permitted to this user; add it to the group `gpio`",
        FaultKind::InvalidConfig => "the PWM block rejects this timing; try another period",
        FaultKind::Gone => "the channel is no longer there; claim it again",
        FaultKind::Unsupported => "the PWM block cannot do this; try another timing",
        _ => "the kernel refused; see the cause",
    }
}

/// Prints as `GPIO12, GPIO13, GPIO18`.
struct Among<'a>(&'a [(LineId, PwmChannelId)]);

impl core::fmt::Display for Among<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (index, (line, _)) in self.0.iter().enumerate() {
            write!(f, "{}{line}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
