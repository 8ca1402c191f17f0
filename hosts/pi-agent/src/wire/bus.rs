//! What a request says of buses.

use agent_lib::I2cPart;
use embedded_hal::spi::{MODE_0, MODE_1, MODE_2, MODE_3};
use hal_core::{SpiConfig, SpiDeviceId};
use proto::agent::v1 as pb;
use tonic::Status;

use super::invalid;

/// A number that fits a byte.
pub(crate) fn byte(field: &str, number: u32) -> Result<u8, Status> {
    u8::try_from(number).map_err(|_| invalid(field, "is at most 255"))
}

/// The parts of an I²C transaction.
pub(crate) fn i2c_parts(operations: Vec<pb::I2cOperation>) -> Result<Vec<I2cPart>, Status> {
    use pb::i2c_operation::Operation;
    let part = |pb::I2cOperation { operation }| match operation {
        Some(Operation::Write(bytes)) => Ok(I2cPart::Write(bytes)),
        // the agent's limit is far below what a usize holds
        Some(Operation::Read(length)) => Ok(I2cPart::Read(usize::try_from(length).unwrap_or(usize::MAX))),
        None => Err(invalid("operations", "must each write or read")),
    };
    operations.into_iter().map(part).collect()
}

/// Clock of an SPI device unless the caller says otherwise.
const SPI_HZ: u32 = 1_000_000;

/// A transfer with an SPI device.
pub(crate) fn spi_transfer(message: pb::TransferSpiRequest) -> Result<(SpiDeviceId, SpiConfig, Vec<u8>), Status> {
    let pb::TransferSpiRequest { bus, chip_select, mode, clock_hz, write } = message;
    let device = SpiDeviceId { bus: byte("bus", bus)?, chip_select: byte("chip_select", chip_select)? };
    let mode = match mode {
        0 => MODE_0,
        1 => MODE_1,
        2 => MODE_2,
        3 => MODE_3,
        _ => return Err(invalid("mode", "is 0 to 3")),
    };
    let hz = if clock_hz == 0 { SPI_HZ } else { clock_hz };
    Ok((device, SpiConfig { mode, hz }, write))
}
