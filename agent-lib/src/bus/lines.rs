//! A bus and lines exclude each other: who drives a line of a bus tears its transfers, and older Raspberry Pi kernels let
//! it happen.

use alloc::vec::Vec;
use core::fmt;

use hal_core::{Board, Instant, LineId, header};

use super::{BusDevice, BusRefusal};
use crate::Agent;

/// A bus. Prints as `I2C1` or `SPI0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bus {
    /// An I²C bus.
    I2c(u8),
    /// An SPI bus.
    Spi(u8),
}

impl Bus {
    /// The lines of the header that it needs, in order; none where an overlay chooses them.
    fn lines(self) -> Vec<LineId> {
        match self {
            Self::I2c(bus) => header::i2c_lines(bus).collect(),
            Self::Spi(bus) => header::spi_lines(bus).collect(),
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I2c(bus) => write!(f, "I2C{bus}"),
            Self::Spi(bus) => write!(f, "SPI{bus}"),
        }
    }
}

impl BusDevice {
    /// The bus that it is on.
    pub fn bus(self) -> Bus {
        match self {
            Self::I2c { bus, .. } => Bus::I2c(bus),
            Self::Spi(id) => Bus::Spi(id.bus),
        }
    }
}

impl<B: Board> Agent<B> {
    /// Leaves the lines of a device's bus to it. From now on they are refused to everybody, also for reading: a line that
    /// was requested and let go need not be the bus's again. To be called before each transfer.
    ///
    /// # Errors
    ///
    /// `LineHeld`, also by the agent itself for watchers; nothing has changed then.
    pub fn lend_lines(&mut self, now: Instant, device: BusDevice) -> Result<(), BusRefusal> {
        let (bus, lines) = (device.bus(), device.bus().lines());
        for line in &lines {
            self.settle(now, *line);
            if let Some(held) = self.held.get(line) {
                return Err(BusRefusal::LineHeld { device, line: *line, holder: held.holder.clone() });
            }
        }
        self.on_bus.extend(lines.into_iter().map(|line| (line, bus)));
        Ok(())
    }

    /// Takes the lines back from a bus that turned out not to be there.
    pub fn return_lines(&mut self, bus: Bus) {
        self.on_bus.retain(|_, user| *user != bus);
    }
}
