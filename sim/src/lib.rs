//! A simulated board below the hardware traits of hal-core; it opens no socket, sleeps nowhere and draws no random
//! number: the same calls give the same history.
//!
//! The code under test gets a [`SimBoard`] and a [`SimMetrics`], as it would get real ones. The test holds the other
//! ends: the [`Bench`], which is the world outside the chip, and the [`Clock`].
//!
//! ```
//! use embedded_hal::digital::{InputPin, OutputPin};
//! use hal_core::{Board, LineConfig, LineId};
//! use sim::{Level, SimBoard};
//!
//! # fn main() -> Result<(), sim::SimError> {
//! let mut board = SimBoard::builder().wire(LineId(17), LineId(27)).build();
//! let bench = board.bench();
//! let mut output = board.claim(LineId(17), LineConfig::output(false), "example")?;
//! let mut input = board.claim(LineId(27), LineConfig::input(), "example")?;
//! output.set_high()?;
//! assert!(input.is_high()?);
//! assert_eq!(bench.level(LineId(17)), Level::High);
//! # Ok(())
//! # }
//! ```
//!
//! What it models: wires that join lines, the strength of what drives them, pull resistors, open drain, contention, the
//! kernel's edge queues ([`Profile`]), outputs that stay driven when their program dies, PWM channels, devices on buses
//! ([`I2cModel`], [`SpiModel`]) behind a controller with its limits ([`Controller`]), and faults on demand. What it does
//! not model: the time that a write or a transfer takes, analogue levels, debouncing, the edges of hardware PWM.

mod bench;
mod board;
mod bus;
mod clock;
mod edges;
mod fault;
mod line;
mod log;
mod metrics;
mod net;
mod pad;
mod pwm;
mod state;

pub use bench::{Bench, Contention};
pub use board::{Builder, SimBoard};
pub use bus::{
    Ack, Controller, Eeprom, I2cModel, Lm75, RegisterMap, ShiftRegister, SimBusError, SimBuses, SimI2c, SimSpi,
    SpiLoopback, SpiModel,
};
pub use clock::Clock;
pub use edges::Profile;
pub use fault::SimError;
pub use line::SimLine;
pub use log::{SimLog, SimLogEntry, SimLogEvent};
pub use metrics::{SimMetrics, SystemFault, UnknownFault, seed_of};
pub use net::{Driver, Level, Strength, resolve};
pub use pwm::{PwmChange, SimPwm, SimPwmChip};
