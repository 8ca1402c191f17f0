//! I²C and SPI: which buses there are, and what a backend implements.

use core::fmt;
use core::ops::RangeInclusive;

use embedded_hal::i2c::I2c;
use embedded_hal::spi::{Mode, SpiDevice};

use crate::Fault;

/// The 7-bit addresses that devices may have; the eight below and the eight above are reserved (NXP UM10204, "Reserved addresses").
///
/// 10-bit addresses are left out.
pub const I2C_ADDRESSES: RangeInclusive<u8> = 0x08..=0x77;

/// The bytes that one message of an I²C transaction may carry: what the kernel takes (`drivers/i2c/i2c-dev.c`,
/// `i2cdev_ioctl_rdwr`).
pub const I2C_MESSAGE_BYTES: usize = 8192;

/// The messages that one I²C transaction may have (`I2C_RDWR_IOCTL_MAX_MSGS` in `include/uapi/linux/i2c-dev.h`).
pub const I2C_MESSAGES: usize = 42;

/// The bytes that one SPI transaction may carry, all its operations together: the kernel's default for the parameter
/// `bufsiz` of `drivers/spi/spidev.c`.
pub const SPI_TRANSACTION_BYTES: usize = 4096;

/// What a probe found at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Nobody acknowledges.
    Absent,
    /// Something acknowledges.
    Present,
    /// A kernel driver has the device; it was not disturbed.
    InUse,
}

/// One I²C bus.
///
/// A transaction holds the bus from its first start to its stop, a device that does not acknowledge is
/// `NoAcknowledge`, and neighbouring operations of one kind are one message on the wire, as embedded-hal has it. What
/// the controller cannot do is `Unsupported`: that of a Pi 4 and before reads only in the last message
/// (`drivers/i2c/busses/i2c-bcm2835.c`), that of a Pi 5 has no messages without bytes under mainline kernels
/// (`i2c-designware-master.c`; Raspberry Pi's own have them).
///
/// Calls wait for the bus, for milliseconds and with a stuck bus for a second: give each bus a thread of its own.
pub trait I2cBus: I2c<Error: Fault> {
    /// Whether there is a device, asked in the way that disturbs known devices least.
    ///
    /// # Errors
    ///
    /// `Bus` if the bus itself fails, `Gone`. That nobody acknowledges is an answer.
    fn probe(&mut self, address: u8) -> Result<Presence, Self::Error>;
}

/// A device on an SPI bus, by the bus and the chip select that the kernel drives for it. Prints as `SPI0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiDeviceId {
    /// The bus.
    pub bus: u8,
    /// The chip select on it.
    pub chip_select: u8,
}

impl fmt::Display for SpiDeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SPI{}.{}", self.bus, self.chip_select)
    }
}

/// How to talk to an SPI device. Words have 8 bits, the most significant first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiConfig {
    /// Polarity and phase of the clock.
    pub mode: Mode,
    /// The fastest clock that the device bears, in hertz; the controller chooses the next it can do below.
    pub hz: u32,
}

/// The buses of a machine.
///
/// They are opened, not claimed: the kernel lets several programs talk on one bus, a transaction at a time.
pub trait Buses {
    /// What goes wrong with them.
    type Error: Fault + embedded_hal::i2c::Error + embedded_hal::spi::Error;
    /// One I²C bus.
    type I2c: I2cBus<Error = Self::Error>;
    /// One SPI device.
    type Spi: SpiDevice<Error = Self::Error>;

    /// The I²C buses by number, in order. The header's is 1; others belong to the board and to displays.
    fn i2c_buses(&self) -> impl Iterator<Item = u8>;

    /// Opens an I²C bus. Nothing moves on the wire.
    ///
    /// # Errors
    ///
    /// `Unsupported` if there is no such bus or it is not enabled, `Denied`.
    fn i2c(&mut self, bus: u8) -> Result<Self::I2c, Self::Error>;

    /// The SPI devices, in order.
    fn spi_devices(&self) -> impl Iterator<Item = SpiDeviceId>;

    /// Opens an SPI device. Nothing moves on the wire.
    ///
    /// # Errors
    ///
    /// `Unsupported` if there is no such device or it is not enabled, `Denied`, `InvalidConfig`.
    fn spi(&mut self, device: SpiDeviceId, config: SpiConfig) -> Result<Self::Spi, Self::Error>;
}
