//! I²C and SPI through the kernel's character devices, `/dev/i2c-N` and `/dev/spidevN.M`.

mod fault;
mod i2c;
mod message;
mod spi;

use std::format;
use std::fs;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

pub use fault::BusError;
pub use i2c::LinuxI2c;
pub use spi::LinuxSpi;

use crate::{Buses, SpiConfig, SpiDeviceId};

/// The buses of a Linux machine.
///
/// They are there once they are enabled: on a Raspberry Pi by `dtparam=i2c_arm=on` and `dtparam=spi=on`.
#[derive(Clone, Debug)]
pub struct LinuxBuses {
    dev: PathBuf,
}

impl LinuxBuses {
    /// The buses whose devices are in `dev`, which is `/dev` but in tests.
    pub fn new(dev: &Path) -> Self {
        Self { dev: dev.into() }
    }

    /// What follows `prefix` in the names of the device files.
    fn ends(&self, prefix: &str) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(&self.dev).into_iter().flatten().flatten();
        entries.filter_map(move |entry| Some(entry.file_name().to_str()?.strip_prefix(prefix)?.into()))
    }
}

impl Buses for LinuxBuses {
    type Error = BusError;
    type I2c = LinuxI2c;
    type Spi = LinuxSpi;

    fn i2c_buses(&self) -> impl Iterator<Item = u8> {
        let mut buses: Vec<u8> = self.ends("i2c-").filter_map(|number| number.parse().ok()).collect();
        buses.sort_unstable();
        buses.into_iter()
    }

    fn i2c(&mut self, bus: u8) -> Result<LinuxI2c, BusError> {
        LinuxI2c::open(bus, self.dev.join(format!("i2c-{bus}")))
    }

    fn spi_devices(&self) -> impl Iterator<Item = SpiDeviceId> {
        let mut devices: Vec<_> = self.ends("spidev").filter_map(|name| device_id(&name)).collect();
        devices.sort_unstable();
        devices.into_iter()
    }

    fn spi(&mut self, device: SpiDeviceId, config: SpiConfig) -> Result<LinuxSpi, BusError> {
        let SpiDeviceId { bus, chip_select } = device;
        LinuxSpi::open(device, self.dev.join(format!("spidev{bus}.{chip_select}")), config)
    }
}

fn device_id(name: &str) -> Option<SpiDeviceId> {
    let (bus, chip_select) = name.split_once('.')?;
    Some(SpiDeviceId { bus: bus.parse().ok()?, chip_select: chip_select.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, FaultKind, I2cBus, Presence};
    use embedded_hal::i2c::I2c;
    use embedded_hal::spi::MODE_0;
    use std::string::ToString;

    /// A folder with plain files of these names, made up: nothing behind them is a bus.
    fn made_up(names: &[&str]) -> (tempfile::TempDir, LinuxBuses) {
        let dev = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| fs::write(dev.path().join(name), "").unwrap());
        let buses = LinuxBuses::new(dev.path());
        (dev, buses)
    }

    const SLOW: SpiConfig = SpiConfig { mode: MODE_0, hz: 100_000 };
    const FIRST: SpiDeviceId = SpiDeviceId { bus: 0, chip_select: 0 };

    #[test]
    fn buses_are_listed_by_number() {
        let (_dev, buses) = made_up(&["i2c-20", "i2c-1", "i2c-x", "spidev10.0", "spidev0.1", "spidev0", "null"]);
        assert_eq!(buses.i2c_buses().collect::<Vec<_>>(), [1, 20]);
        let devices: Vec<_> = buses.spi_devices().map(|device| device.to_string()).collect();
        assert_eq!(devices, ["SPI0.1", "SPI10.0"]);
        assert_eq!(LinuxBuses::new(Path::new("/nonexistent")).i2c_buses().count(), 0);
    }

    #[test]
    fn a_bus_that_is_not_there_says_how_to_enable_it() {
        let (_dev, mut buses) = made_up(&[]);
        let refused = buses.i2c(1).unwrap_err();
        assert_eq!(refused.fault(), FaultKind::Unsupported);
        assert_eq!(refused.to_string(), "there is no I2C1; enable it with `dtparam=i2c_arm=on` and restart");
        assert_eq!(buses.spi(FIRST, SLOW).unwrap_err().fault(), FaultKind::Unsupported);
    }

    #[test]
    fn a_file_that_is_no_bus_is_unsupported() {
        let (_dev, mut buses) = made_up(&["i2c-1", "spidev0.0"]);
        assert_eq!(buses.i2c(1).unwrap().write(0x48, &[0]).unwrap_err().fault(), FaultKind::Unsupported);
        assert_eq!(buses.spi(FIRST, SLOW).unwrap_err().fault(), FaultKind::Unsupported);
        assert!(buses.i2c(1).unwrap().probe(0x48).is_err());
        assert_ne!(buses.i2c(1).unwrap().probe(0x48).ok(), Some(Presence::Absent));
    }
}
