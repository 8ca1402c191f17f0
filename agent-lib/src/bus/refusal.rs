//! Why a bus is not used.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;

use hal_core::{Fault, FaultKind, I2C_ADDRESSES, LineId, SpiDeviceId};

use super::SPI_CLOCKS_HZ;
use crate::Holder;

/// A device on a bus. Prints as `I2C1:0x48` or `SPI0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BusDevice {
    /// On an I²C bus.
    I2c {
        /// The bus.
        bus: u8,
        /// The 7-bit address.
        address: u8,
    },
    /// Behind an SPI chip select.
    Spi(SpiDeviceId),
}

impl fmt::Display for BusDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I2c { bus, address } => write!(f, "I2C{bus}:{address:#04x}"),
            Self::Spi(device) => device.fmt(f),
        }
    }
}

/// Why a bus is not used. Nothing has moved on the wire, except where a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusRefusal {
    /// No device may have the address.
    #[error("I²C address {address:#04x} is reserved; use {:#04x} to {:#04x}", I2C_ADDRESSES.start(), I2C_ADDRESSES.end())]
    Reserved {
        /// The address.
        address: u8,
    },
    /// The node's policy keeps the device to itself.
    #[error("{device} is not allowed on this node; allow it in the agent's policy or choose another device")]
    NotAllowed {
        /// The device.
        device: BusDevice,
    },
    /// Somebody holds a line that the bus needs.
    #[error("{device} needs {line}, which is held by {holder}; ask them to release it")]
    LineHeld {
        /// The device.
        device: BusDevice,
        /// The line.
        line: LineId,
        /// Who holds it.
        holder: Holder,
    },
    /// The transfer has no parts.
    #[error("the transfer with {device} is empty; write or read something")]
    Empty {
        /// The device.
        device: BusDevice,
    },
    /// The transfer has too much of something.
    #[error("the transfer with {device} has {asked} {what}; keep it to {limit}")]
    TooLong {
        /// The device.
        device: BusDevice,
        /// What it has too much of.
        what: &'static str,
        /// How much it has.
        asked: usize,
        /// How much there may be.
        limit: usize,
    },
    /// The clock is out of range.
    #[error("{device} cannot be clocked at {asked_hz} Hz; ask for {} to {} Hz", SPI_CLOCKS_HZ.start(), SPI_CLOCKS_HZ.end())]
    Clock {
        /// The device.
        device: BusDevice,
        /// What was asked for.
        asked_hz: u32,
    },
    /// The hardware did not do it. Part of the transfer may have reached the device.
    #[error("{device} could not be used: {}", advice(*kind))]
    Hardware {
        /// The device.
        device: BusDevice,
        /// What kind of fault it was.
        kind: FaultKind,
        /// The bus's own error.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl BusRefusal {
    /// What a bus answered to the host that used it.
    pub fn hardware(device: BusDevice, fault: impl Fault) -> Self {
        Self::Hardware { device, kind: fault.fault(), source: Box::new(fault) }
    }
}

fn advice(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::NoAcknowledge => "it does not answer; check address, wiring and power, or try again if it is busy",
        FaultKind::Busy => "a kernel driver has it; unload that or leave the device to it",
        FaultKind::Denied => "the agent may not use the bus; give its user access",
        FaultKind::Unsupported => "the bus is not enabled or its controller cannot do this; see the cause",
        FaultKind::InvalidConfig => "the bus rejects this; try another mode, clock or length",
        FaultKind::Gone => "the bus has disappeared; check the hardware and restart the agent",
        FaultKind::Bus => "the bus failed; try again, and check its wiring",
        _ => "the bus failed; see the agent's log for the cause",
    }
}
