//! Whichever of the kernel's GPIO interfaces there is.

use core::task::{Context, Poll};
use std::os::fd::BorrowedFd;
use std::path::Path;

use embedded_hal::digital::{ErrorType, InputPin, OutputPin, StatefulOutputPin};

#[cfg(feature = "uapi-v2")]
use super::{Cdev2Board, Cdev2Line};
use super::{CdevBoard, CdevError, CdevLine, chip};
use crate::{Board, Caps, ChipInfo, EdgeEvent, Instant, Line, LineConfig, LineId, LineInfo};

/// A GPIO chip through the better of the interfaces that the kernel and this build have in common;
/// [`ChipInfo::backend`] says which it is.
#[derive(Debug)]
pub enum LinuxBoard {
    /// The first interface.
    V1(CdevBoard),
    /// The second.
    #[cfg(feature = "uapi-v2")]
    V2(Cdev2Board),
}

/// One of the kernel's GPIO interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// The first.
    V1,
    /// The second.
    #[cfg(feature = "uapi-v2")]
    V2,
}

/// A line of a [`LinuxBoard`].
#[derive(Debug)]
pub enum LinuxLine {
    /// Through the first interface.
    V1(CdevLine),
    /// Through the second.
    #[cfg(feature = "uapi-v2")]
    V2(Cdev2Line),
}

/// The same call on whichever it is.
macro_rules! either {
    ($kind:ident, $one:expr, $it:ident => $call:expr) => {
        match $one {
            $kind::V1($it) => $call,
            #[cfg(feature = "uapi-v2")]
            $kind::V2($it) => $call,
        }
    };
}

impl LinuxBoard {
    /// Opens the chip that carries the Raspberry Pi header, found by its label ([`HEADER_LABELS`](super::HEADER_LABELS)).
    ///
    /// # Errors
    ///
    /// As for [`LinuxBoard::open`]; `Gone` if there is no such chip.
    pub fn open_header() -> Result<Self, CdevError> {
        Self::open(&chip::find_header()?)
    }

    /// Opens a chip by its device file, for boards that are no Raspberry Pi.
    ///
    /// # Errors
    ///
    /// `Gone` if there is no such file, `Unsupported` if it is no GPIO chip or speaks no interface that is compiled in,
    /// `Denied` if this user may not open it.
    pub fn open(path: &Path) -> Result<Self, CdevError> {
        #[cfg(feature = "uapi-v2")]
        match Cdev2Board::open(path) {
            Err(CdevError::NoInterface { .. }) => {}
            answer => return answer.map(Self::V2),
        }
        CdevBoard::open(path).map(Self::V1)
    }

    /// The same through this interface and no other.
    ///
    /// # Errors
    ///
    /// As for [`LinuxBoard::open`].
    pub fn open_through(interface: Interface, path: &Path) -> Result<Self, CdevError> {
        match interface {
            Interface::V1 => CdevBoard::open(path).map(Self::V1),
            #[cfg(feature = "uapi-v2")]
            Interface::V2 => Cdev2Board::open(path).map(Self::V2),
        }
    }
}

impl Board for LinuxBoard {
    type Error = CdevError;
    type Line = LinuxLine;

    fn caps(&self) -> Caps {
        either!(Self, self, board => board.caps())
    }

    fn chip(&self) -> ChipInfo {
        either!(Self, self, board => board.chip())
    }

    fn info(&self, id: LineId) -> Result<LineInfo, CdevError> {
        either!(Self, self, board => board.info(id))
    }

    fn claim(&mut self, id: LineId, config: LineConfig, consumer: &str) -> Result<LinuxLine, CdevError> {
        match self {
            Self::V1(board) => board.claim(id, config, consumer).map(LinuxLine::V1),
            #[cfg(feature = "uapi-v2")]
            Self::V2(board) => board.claim(id, config, consumer).map(LinuxLine::V2),
        }
    }

    fn now(&self) -> Instant {
        either!(Self, self, board => board.now())
    }
}

impl LinuxLine {
    /// The descriptor that is readable while edges wait; `None` on a line that reports none.
    pub fn edge_fd(&self) -> Option<BorrowedFd<'_>> {
        either!(Self, self, line => line.edge_fd())
    }
}

impl ErrorType for LinuxLine {
    type Error = CdevError;
}

impl InputPin for LinuxLine {
    fn is_high(&mut self) -> Result<bool, CdevError> {
        either!(Self, self, line => line.is_high())
    }

    fn is_low(&mut self) -> Result<bool, CdevError> {
        either!(Self, self, line => line.is_low())
    }
}

impl OutputPin for LinuxLine {
    fn set_low(&mut self) -> Result<(), CdevError> {
        either!(Self, self, line => line.set_low())
    }

    fn set_high(&mut self) -> Result<(), CdevError> {
        either!(Self, self, line => line.set_high())
    }
}

impl StatefulOutputPin for LinuxLine {
    fn is_set_high(&mut self) -> Result<bool, CdevError> {
        either!(Self, self, line => line.is_set_high())
    }

    fn is_set_low(&mut self) -> Result<bool, CdevError> {
        either!(Self, self, line => line.is_set_low())
    }
}

impl Line for LinuxLine {
    fn id(&self) -> LineId {
        either!(Self, self, line => line.id())
    }

    fn config(&self) -> LineConfig {
        either!(Self, self, line => line.config())
    }

    fn reconfigure(&mut self, config: LineConfig) -> Result<(), CdevError> {
        either!(Self, self, line => line.reconfigure(config))
    }

    fn poll_edge(&mut self, cx: &mut Context<'_>) -> Poll<Result<EdgeEvent, CdevError>> {
        either!(Self, self, line => line.poll_edge(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, FaultKind};

    #[test]
    fn what_is_no_chip_is_refused_in_either_interface() {
        let kind = |path: &str| LinuxBoard::open(Path::new(path)).unwrap_err().fault();
        assert_eq!(kind("/dev/null"), FaultKind::Unsupported);
        assert_eq!(kind("/nonexistent"), FaultKind::Gone);
    }
}
