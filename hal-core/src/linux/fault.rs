//! What the kernel refuses, and what to do about it.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::{Fault, FaultKind, LineId};

/// Why a chip or a line of the GPIO character device could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CdevError {
    /// None of the chips is a Raspberry Pi's header.
    #[error("no chip in /dev carries a Raspberry Pi header; name the chip's device file in the configuration")]
    NoHeaderChip,
    /// The device file could not be opened as a GPIO chip.
    #[error("{} cannot be opened as a GPIO chip; {}", path.display(), open_advice(source))]
    Open {
        /// The device file.
        path: PathBuf,
        /// What the kernel said.
        source: gpio_cdev::Error,
    },
    /// The chip has fewer lines.
    #[error("the chip has no {line}; choose a line below {lines}")]
    NoSuchLine {
        /// The line asked for.
        line: LineId,
        /// How many lines there are.
        lines: u16,
    },
    /// A debounce time was asked for; only the kernel's second GPIO interface has it.
    #[error("{line} cannot be debounced by this backend; ask for 0 µs and filter the edges")]
    Debounce {
        /// The line.
        line: LineId,
    },
    /// Edges were asked for, of a chip without interrupts.
    #[error("{line} cannot report edges on this chip; read its level from time to time")]
    NoEdges {
        /// The line.
        line: LineId,
        /// What the kernel said.
        source: gpio_cdev::Error,
    },
    /// The operation does not fit the line's mode.
    #[error("{line} is not {needed}; configure it first")]
    WrongMode {
        /// The line.
        line: LineId,
        /// What it would have to be.
        needed: &'static str,
    },
    /// The line was given up for a new configuration and could not be requested again.
    #[error("{line} was lost while it was reconfigured; configure it again or release it")]
    Lost {
        /// The line.
        line: LineId,
    },
    /// The kernel refused an operation on a line.
    #[error("{line}: {}", advice(kind_of(source)))]
    Kernel {
        /// The line.
        line: LineId,
        /// What the kernel said.
        source: gpio_cdev::Error,
    },
}

impl Fault for CdevError {
    fn fault(&self) -> FaultKind {
        match self {
            Self::NoHeaderChip | Self::Lost { .. } => FaultKind::Gone,
            Self::NoSuchLine { .. } => FaultKind::NoSuchLine,
            Self::Debounce { .. } | Self::NoEdges { .. } => FaultKind::Unsupported,
            Self::WrongMode { .. } => FaultKind::WrongMode,
            Self::Open { source, .. } | Self::Kernel { source, .. } => kind_of(source),
        }
    }
}

impl embedded_hal::digital::Error for CdevError {
    fn kind(&self) -> embedded_hal::digital::ErrorKind {
        embedded_hal::digital::ErrorKind::Other // it has no other
    }
}

/// Whether a read found nothing to read.
pub(super) fn would_block(error: &gpio_cdev::Error) -> bool {
    errno(error) == Some(Errno::EAGAIN)
}

/// The kind of fault behind the kernel's number.
pub(super) fn kind_of(error: &gpio_cdev::Error) -> FaultKind {
    match errno(error) {
        Some(Errno::EBUSY) => FaultKind::Busy,
        Some(Errno::EPERM | Errno::EACCES) => FaultKind::Denied,
        Some(Errno::ENODEV | Errno::ENXIO | Errno::ENOENT) => FaultKind::Gone,
        Some(Errno::EINVAL) => FaultKind::InvalidConfig,
        // What a kernel without CONFIG_GPIO_CDEV_V1 answers to a request, and any other file to everything.
        Some(Errno::ENOTTY) => FaultKind::Unsupported,
        Some(Errno::EIO | Errno::EREMOTEIO | Errno::ETIMEDOUT) => FaultKind::Bus,
        _ => FaultKind::Other,
    }
}

/// gpio-cdev keeps its error's kind to itself: the number is only to be had from the cause.
fn errno(error: &gpio_cdev::Error) -> Option<Errno> {
    let cause = error.source()?;
    let io = || cause.downcast_ref::<io::Error>()?.raw_os_error().map(Errno::from_i32);
    cause.downcast_ref::<Errno>().copied().or_else(io)
}

fn advice(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Busy => "used by another process or a driver; see `gpioinfo` for its name, or the enabled overlays",
        FaultKind::Denied => "not permitted to this user; add it to the group `gpio`",
        FaultKind::Gone => "the chip is no longer there; see `dmesg` and restart the agent",
        FaultKind::InvalidConfig => "the kernel rejects this configuration; try another bias, drive or edge",
        FaultKind::Unsupported => "this kernel is without the first GPIO interface; enable CONFIG_GPIO_CDEV_V1",
        FaultKind::Bus => "the chip did not answer; try again",
        _ => "the kernel refused; see the cause",
    }
}

fn open_advice(error: &gpio_cdev::Error) -> &'static str {
    match kind_of(error) {
        FaultKind::Denied => "add this user to the group `gpio`",
        FaultKind::Gone => "see `ls /dev/gpiochip*` for the chips there are",
        FaultKind::Unsupported => "the file is not a GPIO chip: see `ls /dev/gpiochip*`",
        _ => "see the cause",
    }
}

#[cfg(test)]
mod tests {
    use super::super::chip::open;
    use super::*;
    use std::path::Path;
    use std::string::ToString;

    // These two also notice when gpio-cdev moves to another nix: the number would be hidden again.
    #[test]
    fn a_file_that_is_no_chip_is_unsupported() {
        let error = open(Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.fault(), FaultKind::Unsupported);
        assert!(error.source().is_some());
        assert_eq!(
            error.to_string(),
            "/dev/null cannot be opened as a GPIO chip; the file is not a GPIO chip: see `ls /dev/gpiochip*`"
        );
    }

    #[test]
    fn a_missing_file_is_gone() {
        assert_eq!(open(Path::new("/nonexistent")).unwrap_err().fault(), FaultKind::Gone);
    }

    #[test]
    fn numbers_become_kinds() {
        let kind = |errno: Errno| kind_of(&gpio_cdev::Error::from(io::Error::from(errno)));
        assert_eq!(kind(Errno::EBUSY), FaultKind::Busy);
        assert_eq!(kind(Errno::EACCES), FaultKind::Denied);
        assert_eq!(kind(Errno::ENODEV), FaultKind::Gone);
        assert_eq!(kind(Errno::EINVAL), FaultKind::InvalidConfig);
        assert_eq!(kind(Errno::ENOMEM), FaultKind::Other);
        assert!(would_block(&io::Error::from(Errno::EAGAIN).into()));
    }
}
