//! Traits for the hardware that an agent drives; this crate does no I/O of its own, allocates nothing and knows no
//! runtime.
//!
//! | to | implement | the agent gets |
//! | --- | --- | --- |
//! | drive lines | [`Board`], [`Line`] | claims, reads, writes, edges |
//! | modulate, talk on buses | [`PwmChip`], [`Pwm`], [`Buses`], [`I2cBus`] | PWM, I²C, SPI |
//! | measure the system | [`MetricsSource`] | processor, memory, disks, temperature, supply |
//!
//! Every claimed [`Line`] is an embedded-hal pin (`InputPin + StatefulOutputPin`), so drivers from the ecosystem run on
//! it unchanged. What a board cannot do it says in [`Caps`]; what went wrong it reduces to a [`FaultKind`].
//!
//! # Features
//!
//! | feature | adds | needs |
//! | --- | --- | --- |
//! | `linux` | the module `linux`: the GPIO character device, `/proc`, the identity of a Raspberry Pi | std |
//! | `uapi-v2` | to `linux`, the kernel's second GPIO interface | std |
//! | `conformance` | the module `conformance`: the test kit for boards | alloc |
//!
//! Everything else builds without std and without alloc.

#![no_std]

#[cfg(feature = "conformance")]
extern crate alloc;
#[cfg(feature = "linux")]
extern crate std;

mod board;
mod bus;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod fault;
pub mod header;
mod label;
mod line;
#[cfg(feature = "linux")]
pub mod linux;
mod metrics;
mod pwm;
mod time;

pub use board::{Board, Caps, ChipInfo, Direction, LineInfo};
pub use bus::{
    Buses, I2C_ADDRESSES, I2C_MESSAGE_BYTES, I2C_MESSAGES, I2cBus, Presence, SPI_TRANSACTION_BYTES, SpiConfig,
    SpiDeviceId,
};
pub use config::{Bias, Drive, Edges, LineConfig, LineMode};
pub use fault::{Fault, FaultKind};
pub use label::Label;
pub use line::{EdgeEvent, Line, LineId, Lost};
pub use metrics::{
    BlockDevice, Clock, CpuTime, Fan, FileSystem, Groups, Interface, Memory, MetricsSource, Own, Pressure, Processes,
    Reading, Resource, Stall, Throttled, Traffic, Trip, Usage, Voltage, Zone, Zram,
};
pub use pwm::{PI_1_TO_4_PWM_LINES, PI_5_PWM_LINES, Pwm, PwmChannelId, PwmChip, PwmLines, PwmTiming};
pub use time::Instant;
