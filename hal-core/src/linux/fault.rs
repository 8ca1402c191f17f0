//! What the kernel refuses, and what to do about it.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

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
        source: io::Error,
    },
    /// The kernel does not answer in this interface.
    #[error(
        "{} does not speak the kernel's {interface} GPIO interface; {}", path.display(), interface_advice(interface)
    )]
    NoInterface {
        /// The chip's device file.
        path: PathBuf,
        /// `first` or `second`.
        interface: &'static str,
        /// What the kernel said.
        source: io::Error,
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
        source: io::Error,
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
        source: io::Error,
    },
}

impl Fault for CdevError {
    fn fault(&self) -> FaultKind {
        match self {
            Self::NoHeaderChip | Self::Lost { .. } => FaultKind::Gone,
            Self::NoSuchLine { .. } => FaultKind::NoSuchLine,
            Self::Debounce { .. } | Self::NoEdges { .. } | Self::NoInterface { .. } => FaultKind::Unsupported,
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
pub(super) fn would_block(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::AGAIN)
}

/// What the kernel answers to a call that it does not know: `gpio_ioctl` in `drivers/gpio/gpiolib-cdev.c`.
pub(super) fn unknown_call(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INVAL)
}

/// The kind of fault behind the kernel's number.
pub(super) fn kind_of(error: &io::Error) -> FaultKind {
    match Errno::from_io_error(error) {
        Some(Errno::BUSY) => FaultKind::Busy,
        Some(Errno::PERM | Errno::ACCESS) => FaultKind::Denied,
        Some(Errno::NODEV | Errno::NXIO | Errno::NOENT) => FaultKind::Gone,
        Some(Errno::INVAL) => FaultKind::InvalidConfig,
        // What any other file answers to everything.
        Some(Errno::NOTTY) => FaultKind::Unsupported,
        Some(Errno::IO | Errno::REMOTEIO | Errno::TIMEDOUT) => FaultKind::Bus,
        _ => FaultKind::Other,
    }
}

fn advice(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Busy => "used by another process or a driver; see `gpioinfo` for its name, or the enabled overlays",
        FaultKind::Denied => "not permitted to this user; add it to the group `gpio`",
        FaultKind::Gone => "the chip is no longer there; see `dmesg` and restart the agent",
        FaultKind::InvalidConfig => "the kernel rejects this configuration; try another bias, drive or edge",
        FaultKind::Unsupported => "the driver cannot do this; see the chip's documentation",
        FaultKind::Bus => "the chip did not answer; try again",
        _ => "the kernel refused; see the cause",
    }
}

fn interface_advice(interface: &str) -> &'static str {
    match (interface, cfg!(feature = "uapi-v2")) {
        ("second", _) => "it takes Linux 5.10 or later",
        (_, true) => "enable CONFIG_GPIO_CDEV_V1, or use Linux 5.10 or later",
        (_, false) => "enable CONFIG_GPIO_CDEV_V1, or build with the feature `uapi-v2`",
    }
}

fn open_advice(error: &io::Error) -> &'static str {
    match kind_of(error) {
        FaultKind::Denied => "add this user to the group `gpio`",
        FaultKind::Gone => "see `ls /dev/gpiochip*` for the chips there are",
        FaultKind::Unsupported => "the file is not a GPIO chip: see `ls /dev/gpiochip*`",
        _ => "see the cause",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_kinds() {
        let kind = |errno: Errno| kind_of(&errno.into());
        assert_eq!(kind(Errno::BUSY), FaultKind::Busy);
        assert_eq!(kind(Errno::ACCESS), FaultKind::Denied);
        assert_eq!(kind(Errno::NODEV), FaultKind::Gone);
        assert_eq!(kind(Errno::INVAL), FaultKind::InvalidConfig);
        assert_eq!(kind(Errno::NOMEM), FaultKind::Other);
        assert!(would_block(&Errno::AGAIN.into()) && unknown_call(&Errno::INVAL.into()));
    }

    #[test]
    fn an_interface_that_is_not_there_says_what_would_help() {
        let error =
            CdevError::NoInterface { path: "/dev/gpiochip0".into(), interface: "second", source: Errno::INVAL.into() };
        assert_eq!(
            std::string::ToString::to_string(&error),
            "/dev/gpiochip0 does not speak the kernel's second GPIO interface; it takes Linux 5.10 or later"
        );
        assert_eq!(error.fault(), FaultKind::Unsupported);
    }
}
