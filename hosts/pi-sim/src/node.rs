//! One simulated Raspberry Pi.

use std::sync::Arc;

use agent_lib::PwmBlock;
use hal_core::LineId;
use pi_agent::{Hardware, SystemLog};
use proto::control::v1::Inventory;
use sim::{Bench, Clock, Eeprom, Lm75, SimBoard, SimBuses, SimMetrics, SpiLoopback, seed_of};

use crate::log::NodeLog;

use crate::commands::SimRunner;

/// Two header lines that a jumper wire connects on every simulated node, so that driving one shows on the other.
pub const WIRED: (LineId, LineId) = (LineId(18), LineId(23));

/// A board with the header's 28 lines and one jumper wire; on I2C bus 1 a temperature sensor (0x48, 21.5 °C) and an EEPROM
/// (0x50), on SPI0.0 a wire from output to input; its sensors, an hour of log, commands that are only played, and the hands
/// that reach in from outside. Its clock follows the real one.
pub fn hardware(name: &str) -> (Hardware<SimBoard, SimMetrics, SimBuses>, Bench, NodeLog) {
    let clock = Clock::paced();
    let board = SimBoard::builder().clock(clock.clone()).wire(WIRED.0, WIRED.1);
    let board = board.i2c(1, 0x48, Lm75::new(21_500)).i2c(1, 0x50, Eeprom::new_24c02()).spi(0, 0, SpiLoopback).build();
    let (buses, pwm) = (board.buses(), PwmBlock::new(board.pwm()));
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
    let log = NodeLog::new(name);
    let metrics = SimMetrics::new(clock).with_seed(seed_of(name));
    let runner = Arc::new(SimRunner::new(name));
    (Hardware { board, pwm, buses, metrics, log: SystemLog::Memory(log.ring()), inventory, runner }, bench, log)
}
