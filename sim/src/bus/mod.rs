//! Simulated buses and the devices on them.

mod eeprom;
mod fault;
mod i2c;
mod lm75;
mod registers;
mod shift_register;
mod spi;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hal_core::{Buses, FaultKind, I2C_ADDRESSES, SpiConfig, SpiDeviceId};

pub use eeprom::Eeprom;
pub use fault::SimBusError;
pub use i2c::{Ack, Controller, I2cModel, SimI2c};
pub use lm75::Lm75;
pub use registers::RegisterMap;
pub use shift_register::ShiftRegister;
pub use spi::{SimSpi, SpiLoopback, SpiModel};

use crate::bench::Bench;
use crate::state::Shared;

/// The buses with what is on them.
#[derive(Debug)]
pub(crate) struct Wiring {
    pub(crate) controller: Controller,
    i2c: BTreeMap<u8, I2cDevices>,
    spi: BTreeMap<SpiDeviceId, Option<Box<dyn SpiModel>>>,
}

/// The devices of one I²C bus by address.
#[derive(Debug, Default)]
struct I2cDevices {
    at: BTreeMap<u8, Box<dyn I2cModel>>,
    next_fault: Option<FaultKind>,
}

impl Default for Wiring {
    /// What the header has: I²C bus 1 and SPI bus 0 with two chip selects, all without devices.
    fn default() -> Self {
        let chip_selects = [0, 1].map(|chip_select| (SpiDeviceId { bus: 0, chip_select }, None));
        let i2c = BTreeMap::from([(1, I2cDevices::default())]);
        Self { controller: Controller::default(), i2c, spi: chip_selects.into() }
    }
}

impl Wiring {
    pub(crate) fn attach_i2c(&mut self, bus: u8, address: u8, device: Box<dyn I2cModel>) {
        assert!(I2C_ADDRESSES.contains(&address), "I²C address {address:#04x} is reserved");
        self.i2c.entry(bus).or_default().at.insert(address, device);
    }

    pub(crate) fn attach_spi(&mut self, id: SpiDeviceId, device: Box<dyn SpiModel>) {
        self.spi.insert(id, Some(device));
    }
}

impl Bench {
    /// Plugs a device into an I²C bus, in place of one at the same address. A bus that was not there is now.
    ///
    /// # Panics
    ///
    /// If the address is reserved.
    pub fn attach_i2c(&self, bus: u8, address: u8, device: impl I2cModel + 'static) {
        self.shared.on_buses(|wiring, _| wiring.attach_i2c(bus, address, Box::new(device)));
    }

    /// Unplugs whatever is at this address.
    pub fn detach_i2c(&self, bus: u8, address: u8) {
        self.shared.on_buses(|wiring, _| _ = wiring.i2c.get_mut(&bus).map(|devices| devices.at.remove(&address)));
    }

    /// Makes the next transaction on an I²C bus fail with this kind, once. No device takes notice of it.
    pub fn fail_next_i2c(&self, bus: u8, kind: FaultKind) {
        self.shared.on_buses(|wiring, _| _ = wiring.i2c.get_mut(&bus).map(|devices| devices.next_fault = Some(kind)));
    }
}

/// The buses of the simulated chip. Clones are the same buses.
#[derive(Clone, Debug)]
pub struct SimBuses {
    shared: Shared,
}

impl SimBuses {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

impl Buses for SimBuses {
    type Error = SimBusError;
    type I2c = SimI2c;
    type Spi = SimSpi;

    fn i2c_buses(&self) -> impl Iterator<Item = u8> {
        self.shared.on_buses(|wiring, _| wiring.i2c.keys().copied().collect::<Vec<_>>()).into_iter()
    }

    fn i2c(&mut self, bus: u8) -> Result<SimI2c, SimBusError> {
        match self.i2c_buses().find(|there| *there == bus) {
            Some(bus) => Ok(SimI2c::new(self.shared.clone(), bus)),
            None => Err(SimBusError::NoI2c { bus }),
        }
    }

    fn spi_devices(&self) -> impl Iterator<Item = SpiDeviceId> {
        self.shared.on_buses(|wiring, _| wiring.spi.keys().copied().collect::<Vec<_>>()).into_iter()
    }

    fn spi(&mut self, device: SpiDeviceId, config: SpiConfig) -> Result<SimSpi, SimBusError> {
        if config.hz == 0 {
            return Err(SimBusError::NoClock { device });
        }
        match self.spi_devices().find(|there| *there == device) {
            Some(device) => Ok(SimSpi::new(self.shared.clone(), device, config)),
            None => Err(SimBusError::NoSpi { device }),
        }
    }
}

/// A test that panicked with the lock held does not take the device with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
