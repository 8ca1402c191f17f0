//! One simulated SPI device.

use std::fmt;

use embedded_hal::spi::{ErrorType, Operation, SpiDevice};
use hal_core::{Instant, LineId, SPI_TRANSACTION_BYTES, SpiConfig, SpiDeviceId};

use super::SimBusError;
use crate::net::Driver;
use crate::state::Shared;

/// A device behind an SPI chip select. A model must not use the bus it is on.
pub trait SpiModel: fmt::Debug + Send {
    /// Its chip select became active.
    fn select(&mut self, _now: Instant) {}

    /// One byte in each direction at the same time.
    fn exchange(&mut self, now: Instant, byte: u8) -> u8;

    /// Its chip select became inactive. Answers what the device drives from now on: lines whose wires end at its pins.
    fn deselect(&mut self, _now: Instant) -> Vec<(LineId, Driver)> {
        Vec::new()
    }
}

/// A wire from the output of the bus to its input: what is written is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpiLoopback;

impl SpiModel for SpiLoopback {
    fn exchange(&mut self, _now: Instant, byte: u8) -> u8 {
        byte
    }
}

/// An SPI device of the simulated chip. Transfers and delays take no time; where no device is, zeros are read.
#[derive(Debug)]
pub struct SimSpi {
    shared: Shared,
    id: SpiDeviceId,
    config: SpiConfig,
}

impl SimSpi {
    pub(super) fn new(shared: Shared, id: SpiDeviceId, config: SpiConfig) -> Self {
        Self { shared, id, config }
    }

    /// How it is talked to. Models take no notice of it.
    pub fn config(&self) -> SpiConfig {
        self.config
    }

    /// The whole transaction; answers what the device drives after it.
    fn exchange(&self, operations: &mut [Operation<'_, u8>]) -> Vec<(LineId, Driver)> {
        self.shared.on_buses(|wiring, now| {
            let Some(device) = wiring.spi.get_mut(&self.id).and_then(Option::as_deref_mut) else {
                operations.iter_mut().for_each(|operation| perform(operation, |_| 0));
                return Vec::new();
            };
            device.select(now);
            operations.iter_mut().for_each(|operation| perform(operation, |byte| device.exchange(now, byte)));
            device.deselect(now)
        })
    }
}

impl ErrorType for SimSpi {
    type Error = SimBusError;
}

impl SpiDevice for SimSpi {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), SimBusError> {
        let (asked, limit) = (operations.iter().map(length).sum(), SPI_TRANSACTION_BYTES);
        if asked > limit {
            return Err(SimBusError::TooLong { what: "bytes", asked, limit });
        }
        let driven = self.exchange(operations);
        self.shared.with(|state, now| {
            for (line, driver) in driven {
                _ = state.change(now, line, |pad| pad.outside = driver); // a line that is not there takes no notice
            }
        });
        Ok(())
    }
}

/// One operation, byte by byte; zeros are written where there is nothing to write.
fn perform(operation: &mut Operation<'_, u8>, mut exchange: impl FnMut(u8) -> u8) {
    match operation {
        Operation::Read(into) => into.iter_mut().for_each(|byte| *byte = exchange(0)),
        Operation::Write(bytes) => bytes.iter().for_each(|byte| _ = exchange(*byte)),
        Operation::TransferInPlace(bytes) => bytes.iter_mut().for_each(|byte| *byte = exchange(*byte)),
        Operation::Transfer(into, bytes) => {
            for at in 0..into.len().max(bytes.len()) {
                let read = exchange(bytes.get(at).copied().unwrap_or_default());
                into.get_mut(at).into_iter().for_each(|byte| *byte = read);
            }
        }
        Operation::DelayNs(_) => {}
    }
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
