//! What the simulated buses refuse.

use embedded_hal::{digital, i2c, spi};
use hal_core::{Fault, FaultKind, SpiDeviceId};

/// Why a simulated bus refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimBusError {
    /// There is no such I²C bus.
    #[error("the simulated chip has no I2C{bus}; put a device on it")]
    NoI2c {
        /// The bus.
        bus: u8,
    },
    /// There is no such SPI device.
    #[error("the simulated chip has no {device}; put a device there")]
    NoSpi {
        /// The device.
        device: SpiDeviceId,
    },
    /// A clock of 0 Hz was asked for.
    #[error("{device} cannot be clocked at 0 Hz; ask for more")]
    NoClock {
        /// The device.
        device: SpiDeviceId,
    },
    /// Nobody acknowledged.
    #[error("device {address:#04x} on I2C{bus} does not answer; check the address, or try again if it is busy")]
    NoAcknowledge {
        /// The bus.
        bus: u8,
        /// The address.
        address: u8,
    },
    /// The controller cannot do such a transaction, where a real one answers EOPNOTSUPP.
    #[error("the controller of I2C{bus} cannot do this; {advice}")]
    Controller {
        /// The bus.
        bus: u8,
        /// What it could do.
        advice: &'static str,
    },
    /// A transaction has more than the kernel takes.
    #[error("a transfer of {asked} {what} is too long; keep it to {limit}")]
    TooLong {
        /// What there is too much of.
        what: &'static str,
        /// How much was asked for.
        asked: usize,
        /// The most that is possible.
        limit: usize,
    },
    /// The fault that the bench asked for.
    #[error("I2C{bus} was made to fail by the bench; try again")]
    Injected {
        /// The bus.
        bus: u8,
        /// The kind asked for.
        kind: FaultKind,
    },
}

impl Fault for SimBusError {
    fn fault(&self) -> FaultKind {
        match self {
            Self::NoI2c { .. } | Self::NoSpi { .. } | Self::Controller { .. } => FaultKind::Unsupported,
            Self::NoClock { .. } | Self::TooLong { .. } => FaultKind::InvalidConfig,
            Self::NoAcknowledge { .. } => FaultKind::NoAcknowledge,
            Self::Injected { kind, .. } => *kind,
        }
    }
}

impl digital::Error for SimBusError {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other // it has no other
    }
}

impl i2c::Error for SimBusError {
    /// Whether address or data went unacknowledged nobody can tell on a Raspberry Pi, so nobody can here.
    fn kind(&self) -> i2c::ErrorKind {
        match self.fault() {
            FaultKind::NoAcknowledge => i2c::ErrorKind::NoAcknowledge(i2c::NoAcknowledgeSource::Unknown),
            FaultKind::Bus => i2c::ErrorKind::Bus,
            _ => i2c::ErrorKind::Other,
        }
    }
}

impl spi::Error for SimBusError {
    fn kind(&self) -> spi::ErrorKind {
        spi::ErrorKind::Other // as on Linux
    }
}
