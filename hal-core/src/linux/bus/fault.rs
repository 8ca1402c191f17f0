//! What the kernel refuses of buses, and what to do about it.

use std::io;

use embedded_hal::{digital, i2c, spi};
use rustix::io::Errno;

use crate::{Fault, FaultKind, SpiDeviceId};

/// Why a bus or a device on it could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// There is no such I²C bus.
    #[error("there is no I2C{bus}; enable it with `dtparam=i2c_arm=on` and restart")]
    NoI2c {
        /// The bus.
        bus: u8,
    },
    /// There is no such SPI device.
    #[error("there is no {device}; enable it with `dtparam=spi=on` and restart")]
    NoSpi {
        /// The device.
        device: SpiDeviceId,
    },
    /// The I²C bus could not be opened.
    #[error("I2C{bus} cannot be opened: {}", i2c_advice(kind_of(source)))]
    OpenI2c {
        /// The bus.
        bus: u8,
        /// What the kernel said.
        source: io::Error,
    },
    /// A transaction has more bytes or messages than the kernel takes.
    #[error("a transfer of {asked} {what} is too long; keep it to {limit}")]
    TooLong {
        /// What there is too much of.
        what: &'static str,
        /// How much was asked for.
        asked: usize,
        /// The most that is possible.
        limit: usize,
    },
    /// A transaction on an I²C bus failed.
    #[error("device {address:#04x} on I2C{bus}: {}", i2c_advice(kind_of(source)))]
    I2c {
        /// The bus.
        bus: u8,
        /// The device's address.
        address: u8,
        /// What the kernel said.
        source: io::Error,
    },
    /// A transaction with an SPI device failed, or its configuration.
    #[error("{device}: {}", spi_advice(kind_of(source)))]
    Spi {
        /// The device.
        device: SpiDeviceId,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Fault for BusError {
    fn fault(&self) -> FaultKind {
        match self {
            Self::NoI2c { .. } | Self::NoSpi { .. } => FaultKind::Unsupported,
            Self::TooLong { .. } => FaultKind::InvalidConfig,
            Self::OpenI2c { source, .. } | Self::I2c { source, .. } | Self::Spi { source, .. } => kind_of(source),
        }
    }
}

impl digital::Error for BusError {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other // it has no other
    }
}

impl i2c::Error for BusError {
    fn kind(&self) -> i2c::ErrorKind {
        let Self::I2c { source, .. } = self else { return i2c::ErrorKind::Other };
        match Errno::from_io_error(source) {
            Some(Errno::AGAIN) => i2c::ErrorKind::ArbitrationLoss,
            Some(Errno::NXIO) => i2c::ErrorKind::NoAcknowledge(i2c::NoAcknowledgeSource::Address),
            Some(Errno::REMOTEIO) => i2c::ErrorKind::NoAcknowledge(i2c::NoAcknowledgeSource::Unknown),
            _ if self.fault() == FaultKind::Bus => i2c::ErrorKind::Bus,
            _ => i2c::ErrorKind::Other,
        }
    }
}

impl spi::Error for BusError {
    fn kind(&self) -> spi::ErrorKind {
        spi::ErrorKind::Other // the kernel tells nothing finer
    }
}

/// The kind of fault behind the kernel's number (`Documentation/i2c/fault-codes.rst`).
///
/// Both of the Raspberry Pi's I²C controllers answer EREMOTEIO when nobody acknowledges (`i2c-bcm2835.c`,
/// `i2c_dw_handle_tx_abort`), where the document has ENXIO.
pub(super) fn kind_of(error: &io::Error) -> FaultKind {
    match Errno::from_io_error(error) {
        Some(Errno::REMOTEIO | Errno::NXIO) => FaultKind::NoAcknowledge,
        Some(Errno::BUSY) => FaultKind::Busy,
        Some(Errno::ACCESS | Errno::PERM) => FaultKind::Denied,
        Some(Errno::NODEV | Errno::NOENT) => FaultKind::Gone,
        Some(Errno::INVAL | Errno::MSGSIZE) => FaultKind::InvalidConfig,
        Some(Errno::OPNOTSUPP | Errno::NOTTY) => FaultKind::Unsupported,
        Some(Errno::AGAIN | Errno::IO | Errno::TIMEDOUT | Errno::PROTO) => FaultKind::Bus,
        _ => FaultKind::Other,
    }
}

fn i2c_advice(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::NoAcknowledge => "it does not answer; check address, wiring and power, or try again if it is busy",
        FaultKind::Busy => "a kernel driver has it; unload that or leave the device to it",
        FaultKind::Denied => "not permitted to this user; add it to the group `i2c`",
        FaultKind::Unsupported => "the controller cannot do this; read in the last message only, and at least one byte",
        FaultKind::Bus => "the bus failed; try again, and check its pull-ups",
        _ => other_advice(kind),
    }
}

fn spi_advice(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Denied => "not permitted to this user; add it to the group `spi`",
        FaultKind::InvalidConfig => "the controller rejects mode or length; try another",
        FaultKind::Unsupported => "the file is no SPI device; look at /dev",
        FaultKind::Bus => "the bus failed; try again",
        _ => other_advice(kind),
    }
}

fn other_advice(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::InvalidConfig => "the kernel rejects the transfer; make it shorter",
        FaultKind::Gone => "the bus is no longer there; see `dmesg`",
        _ => "the kernel refused; see the cause",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    use std::string::ToString;

    fn i2c(errno: Errno) -> BusError {
        BusError::I2c { bus: 1, address: 0x48, source: errno.into() }
    }

    #[test]
    fn a_missing_device_does_not_acknowledge() {
        let missing = i2c(Errno::REMOTEIO);
        assert_eq!(i2c::Error::kind(&missing), ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown));
        assert_eq!(missing.fault(), FaultKind::NoAcknowledge);
        assert!(missing.to_string().starts_with("device 0x48 on I2C1: it does not answer; check address"));
        assert_eq!(i2c(Errno::NXIO).fault(), FaultKind::NoAcknowledge);
    }

    #[test]
    fn other_numbers_become_kinds() {
        let both = |errno| (i2c::Error::kind(&i2c(errno)), i2c(errno).fault());
        assert_eq!(both(Errno::AGAIN), (ErrorKind::ArbitrationLoss, FaultKind::Bus));
        assert_eq!(both(Errno::TIMEDOUT), (ErrorKind::Bus, FaultKind::Bus));
        assert_eq!(both(Errno::OPNOTSUPP), (ErrorKind::Other, FaultKind::Unsupported));
        assert_eq!(both(Errno::BUSY), (ErrorKind::Other, FaultKind::Busy));
    }
}
