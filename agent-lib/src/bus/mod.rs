//! Which buses and devices may be talked to, and how much at once. The talking is the host's: it waits, so each bus has a
//! thread of its own there.

mod lines;
mod refusal;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use hal_core::{I2C_ADDRESSES, I2C_MESSAGE_BYTES, I2C_MESSAGES, SPI_TRANSACTION_BYTES, SpiDeviceId};

pub use lines::Bus;
pub use refusal::{BusDevice, BusRefusal};

/// The SPI clocks in hertz that can be asked for: from the slowest that a Pi's divider gives (250 MHz / 65536,
/// `drivers/spi/spi-bcm2835.c`) to the fastest (a quarter of 500 MHz). The controller takes the next it can do below.
pub const SPI_CLOCKS_HZ: RangeInclusive<u32> = 4_000..=125_000_000;

/// One part of an I²C transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum I2cPart {
    /// Write these bytes.
    Write(Vec<u8>),
    /// Read so many.
    Read(usize),
}

impl I2cPart {
    fn len(&self) -> usize {
        match self {
            Self::Write(bytes) => bytes.len(),
            Self::Read(length) => *length,
        }
    }
}

/// Which devices may be talked to.
///
/// The default allows what is on the header: every address of I²C bus 1, and both chip selects of SPI bus 0. The other
/// buses of a Pi lead to its own parts: displays, cameras, the EEPROM of a HAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusPolicy {
    i2c: BTreeMap<u8, BTreeSet<u8>>,
    spi: BTreeSet<SpiDeviceId>,
}

impl Default for BusPolicy {
    fn default() -> Self {
        let spi = [0, 1].map(|chip_select| SpiDeviceId { bus: 0, chip_select });
        Self { i2c: BTreeMap::from([(1, I2C_ADDRESSES.collect())]), spi: spi.into() }
    }
}

impl BusPolicy {
    /// A policy of the addresses that may be used on each I²C bus, and of the SPI devices.
    ///
    /// # Errors
    ///
    /// `Reserved` if an address is.
    pub fn new(i2c: BTreeMap<u8, BTreeSet<u8>>, spi: BTreeSet<SpiDeviceId>) -> Result<Self, BusRefusal> {
        i2c.values().flatten().try_for_each(|address| possible(*address))?;
        Ok(Self { i2c, spi })
    }

    /// The I²C buses that may be used and the addresses on each, in order; a scan asks for no others.
    pub fn i2c(&self) -> impl Iterator<Item = (u8, impl Iterator<Item = u8>)> {
        self.i2c.iter().map(|(bus, addresses)| (*bus, addresses.iter().copied()))
    }

    /// The SPI devices that may be used, in order.
    pub fn spi(&self) -> impl Iterator<Item = SpiDeviceId> {
        self.spi.iter().copied()
    }

    /// Whether a transfer with an I²C device may be made: address, then policy, then size. Its parts together are at
    /// most 8 KiB, what the kernel takes in one message.
    ///
    /// # Errors
    ///
    /// `Reserved`, `NotAllowed`, `Empty`, `TooLong`.
    pub fn check_i2c(&self, bus: u8, address: u8, parts: &[I2cPart]) -> Result<BusDevice, BusRefusal> {
        possible(address)?;
        let device = BusDevice::I2c { bus, address };
        if !self.i2c.get(&bus).is_some_and(|addresses| addresses.contains(&address)) {
            return Err(BusRefusal::NotAllowed { device });
        }
        if parts.is_empty() {
            return Err(BusRefusal::Empty { device });
        }
        within(device, "parts", parts.len(), I2C_MESSAGES)?;
        let bytes = parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len()));
        within(device, "bytes", bytes, I2C_MESSAGE_BYTES).map(|()| device)
    }

    /// Whether so many bytes may be exchanged with an SPI device at this clock: policy, then clock, then size.
    ///
    /// # Errors
    ///
    /// `NotAllowed`, `Clock`, `Empty`, `TooLong`.
    pub fn check_spi(&self, id: SpiDeviceId, hz: u32, bytes: usize) -> Result<BusDevice, BusRefusal> {
        let device = BusDevice::Spi(id);
        if !self.spi.contains(&id) {
            return Err(BusRefusal::NotAllowed { device });
        }
        if !SPI_CLOCKS_HZ.contains(&hz) {
            return Err(BusRefusal::Clock { device, asked_hz: hz });
        }
        if bytes == 0 {
            return Err(BusRefusal::Empty { device });
        }
        within(device, "bytes", bytes, SPI_TRANSACTION_BYTES).map(|()| device)
    }
}

fn possible(address: u8) -> Result<(), BusRefusal> {
    if I2C_ADDRESSES.contains(&address) { Ok(()) } else { Err(BusRefusal::Reserved { address }) }
}

fn within(device: BusDevice, what: &'static str, asked: usize, limit: usize) -> Result<(), BusRefusal> {
    if asked <= limit { Ok(()) } else { Err(BusRefusal::TooLong { device, what, asked, limit }) }
}
