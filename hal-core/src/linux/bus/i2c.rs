//! One I²C bus.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::vec::Vec;

use embedded_hal::i2c::{ErrorType, I2c, Operation};
use linux_embedded_hal::i2cdev::core::I2CDevice;
use linux_embedded_hal::i2cdev::linux::{LinuxI2CDevice, LinuxI2CError};
use linux_embedded_hal::{I2CError, I2cdev};

use super::BusError;
use super::fault::kind_of;
use super::message::{hand_out, messages};
use crate::{FaultKind, I2cBus, Presence};

/// An I²C bus through its character device; a transaction is one ioctl (`I2C_RDWR`).
///
/// A device is opened at its first transaction and stays open: linux-embedded-hal opens the file anew whenever the
/// address changes.
pub struct LinuxI2c {
    bus: u8,
    path: PathBuf,
    devices: BTreeMap<u8, I2cdev>,
}

impl LinuxI2c {
    pub(super) fn open(bus: u8, path: PathBuf) -> Result<Self, BusError> {
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(_) => Ok(Self { bus, path, devices: BTreeMap::new() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BusError::NoI2c { bus }),
            Err(source) => Err(BusError::OpenI2c { bus, source }),
        }
    }

    fn device(&mut self, address: u8) -> Result<&mut I2cdev, LinuxI2CError> {
        match self.devices.entry(address) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(I2cdev::new(&self.path)?)),
        }
    }

    fn failed(&self, address: u8, error: impl Into<io::Error>) -> BusError {
        BusError::I2c { bus: self.bus, address, source: error.into() }
    }
}

impl fmt::Debug for LinuxI2c {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxI2c").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ErrorType for LinuxI2c {
    type Error = BusError;
}

impl I2c for LinuxI2c {
    /// A transaction without operations does nothing.
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), BusError> {
        let mut messages = messages(operations)?;
        if messages.is_empty() {
            return Ok(());
        }
        let mut joined: Vec<_> = messages.iter_mut().map(|message| message.operation()).collect();
        let device = self.device(address).map_err(I2CError::from);
        let done = device.and_then(|device| I2c::<u8>::transaction(device, address, &mut joined));
        done.map_err(|error| self.failed(address, number(error.inner())))?;
        hand_out(&messages, operations);
        Ok(())
    }
}

impl I2cBus for LinuxI2c {
    /// Asks as i2cdetect(8) does by default: it reads a byte of addresses that EEPROMs and the like have, since a quick
    /// write can garble those, and writes no byte to all others, since a byte read can hang write-only devices. Where
    /// the controller has no quick write, it reads there too.
    fn probe(&mut self, address: u8) -> Result<Presence, BusError> {
        let mut device = match LinuxI2CDevice::new(&self.path, address.into()) {
            Ok(device) => device,
            Err(error) => return presence(Err(number(&error))).map_err(|error| self.failed(address, error)),
        };
        let mut asked = ask(&mut device, reads(address));
        if asked.as_ref().is_err_and(|error| kind_of(error) == FaultKind::Unsupported) {
            asked = ask(&mut device, true);
        }
        presence(asked).map_err(|error| self.failed(address, error))
    }
}

/// EEPROMs, clocks and the like (i2cdetect, `MODE_AUTO`).
fn reads(address: u8) -> bool {
    matches!(address, 0x30..=0x37 | 0x50..=0x5f)
}

fn ask(device: &mut LinuxI2CDevice, by_reading: bool) -> Result<(), io::Error> {
    let answer = if by_reading { device.smbus_read_byte().map(drop) } else { device.smbus_write_quick(false) };
    answer.map_err(io::Error::from)
}

fn presence(asked: Result<(), io::Error>) -> Result<Presence, io::Error> {
    match asked {
        Ok(()) => Ok(Presence::Present),
        Err(error) => match kind_of(&error) {
            FaultKind::NoAcknowledge => Ok(Presence::Absent),
            FaultKind::Busy => Ok(Presence::InUse),
            _ => Err(error),
        },
    }
}

/// The kernel's number, which i2cdev keeps in two ways.
fn number(error: &LinuxI2CError) -> io::Error {
    match error {
        LinuxI2CError::Errno(errno) => io::Error::from_raw_os_error(*errno),
        LinuxI2CError::Io(error) => {
            error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn addresses_that_a_write_could_garble_are_read() {
        assert_eq!([0x08, 0x2f, 0x30, 0x37, 0x38, 0x50, 0x5f, 0x60].map(reads), {
            [false, false, true, true, false, true, true, false]
        });
    }

    #[test]
    fn silence_and_a_kernel_driver_are_answers() {
        let answer = |errno: Errno| presence(Err(errno.into())).ok();
        assert_eq!(answer(Errno::REMOTEIO), Some(Presence::Absent));
        assert_eq!(answer(Errno::BUSY), Some(Presence::InUse));
        assert_eq!(answer(Errno::TIMEDOUT), None);
        assert_eq!(presence(Ok(())).ok(), Some(Presence::Present));
    }

    #[test]
    fn both_kinds_of_numbers_are_the_kernel_s() {
        let errno = LinuxI2CError::Errno(Errno::REMOTEIO.raw_os_error());
        let cause = LinuxI2CError::Io(Errno::REMOTEIO.into());
        assert!([errno, cause].iter().all(|error| kind_of(&number(error)) == FaultKind::NoAcknowledge));
    }
}
