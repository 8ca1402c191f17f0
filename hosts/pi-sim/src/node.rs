//! One simulated Raspberry Pi.

use std::sync::Arc;

use hal_core::LineId;
use pi_agent::Hardware;
use proto::control::v1::Inventory;
use sim::{Bench, Clock, Eeprom, Lm75, SimBoard, SimBuses, SimMetrics, SpiLoopback};

use crate::commands::SimRunner;

/// Two header lines that a jumper wire connects on every simulated node, so that driving one shows on the other.
pub const WIRED: (LineId, LineId) = (LineId(18), LineId(23));

/// A board with the header's 28 lines and one jumper wire; on I2C bus 1 a temperature sensor (0x48, 21.5 °C) and an EEPROM
/// (0x50), on SPI0.0 a wire from output to input; its sensors, commands that are only played, and the hands that reach in
/// from outside. Its clock follows the real one.
pub fn hardware(name: &str) -> (Hardware<SimBoard, SimMetrics, SimBuses>, Bench) {
    let clock = Clock::paced();
    let board = SimBoard::builder().clock(clock.clone()).wire(WIRED.0, WIRED.1);
    let board = board.i2c(1, 0x48, Lm75::new(21_500)).i2c(1, 0x50, Eeprom::new_24c02()).spi(0, 0, SpiLoopback).build();
    let buses = board.buses();
    let bench = board.bench();
    let inventory = Inventory {
        model: "Simulated Raspberry Pi".to_owned(),
        serial: name.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        kernel: "simulated".to_owned(),
        os: "simulated".to_owned(),
        ram_bytes: Some(4 << 30),
        boot_id: format!("{name}-{}", std::process::id()),
        ..Inventory::default()
    };
    let runner = Arc::new(SimRunner::new(name));
    (Hardware { board, buses, metrics: SimMetrics::new(clock), inventory, runner }, bench)
}
