//! One SPI device.

use std::fmt;
use std::io;
use std::path::PathBuf;

use embedded_hal::spi::{ErrorType, Mode, Operation, Phase, Polarity, SpiDevice};
use linux_embedded_hal::SpidevDevice;
use linux_embedded_hal::spidev::{SpiModeFlags, Spidev, SpidevOptions};

use super::BusError;
use crate::{SPI_TRANSACTION_BYTES, SpiConfig, SpiDeviceId};

/// An SPI device through its character device; the kernel drives its chip select, and a transaction is one ioctl.
///
/// Delays within a transaction end at 65 535 µs each; longer ones are cut to that.
pub struct LinuxSpi {
    id: SpiDeviceId,
    device: SpidevDevice,
}

impl LinuxSpi {
    pub(super) fn open(id: SpiDeviceId, path: PathBuf, config: SpiConfig) -> Result<Self, BusError> {
        let configured = Spidev::open(path).and_then(|mut device| {
            device.configure(&options(config))?;
            Ok(SpidevDevice(device))
        });
        match configured {
            Ok(device) => Ok(Self { id, device }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BusError::NoSpi { device: id }),
            Err(source) => Err(BusError::Spi { device: id, source }),
        }
    }
}

impl fmt::Debug for LinuxSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxSpi").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ErrorType for LinuxSpi {
    type Error = BusError;
}

impl SpiDevice for LinuxSpi {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), BusError> {
        check_length(operations)?;
        let done = self.device.transaction(operations);
        done.map_err(|error| {
            let number = error.inner().raw_os_error();
            let source = number.map_or_else(|| error.inner().kind().into(), io::Error::from_raw_os_error);
            BusError::Spi { device: self.id, source }
        })
    }
}

fn options(config: SpiConfig) -> SpidevOptions {
    SpidevOptions::new().bits_per_word(8).max_speed_hz(config.hz).lsb_first(false).mode(flags(config.mode)).build()
}

fn flags(mode: Mode) -> SpiModeFlags {
    let when = |set, flag| if set { flag } else { SpiModeFlags::empty() };
    when(mode.polarity == Polarity::IdleHigh, SpiModeFlags::SPI_CPOL)
        | when(mode.phase == Phase::CaptureOnSecondTransition, SpiModeFlags::SPI_CPHA)
}

fn check_length(operations: &[Operation<'_, u8>]) -> Result<(), BusError> {
    let asked = operations.iter().map(length).sum();
    let limit = SPI_TRANSACTION_BYTES;
    if asked > limit { Err(BusError::TooLong { what: "bytes", asked, limit }) } else { Ok(()) }
}

fn length(operation: &Operation<'_, u8>) -> usize {
    match operation {
        Operation::Read(into) => into.len(),
        Operation::Write(bytes) => bytes.len(),
        Operation::Transfer(into, bytes) => into.len().max(bytes.len()),
        Operation::TransferInPlace(bytes) => bytes.len(),
        Operation::DelayNs(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_hal::spi::{MODE_0, MODE_1, MODE_2, MODE_3};

    #[test]
    fn modes_are_the_kernel_s() {
        assert_eq!([MODE_0, MODE_1, MODE_2, MODE_3].map(|mode| flags(mode).bits()), [0, 1, 2, 3]);
    }

    #[test]
    fn all_operations_count_together() {
        let long = [0; SPI_TRANSACTION_BYTES];
        assert!(check_length(&[Operation::Write(&long), Operation::DelayNs(5)]).is_ok());
        let refused = check_length(&[Operation::Write(&long), Operation::Read(&mut [0])]);
        assert!(matches!(refused, Err(BusError::TooLong { asked: 4097, .. })));
    }
}
