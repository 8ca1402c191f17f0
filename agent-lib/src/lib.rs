//! What a node does; no I/O of its own: no socket, no runtime, no wall clock, no wire format.
//!
//! An [`Agent`] owns a board and decides who may do what with its lines. Its methods are plain calls that take `now`
//! and answer at once, so a host may be a gRPC server, a serial console or a test. Beside it stand a [`Meter`], which
//! turns readings of the system into percentages, and [`Health`], which says whether all is well.
//!
//! Every method checks in the same order, and a [`Refusal`] changes nothing: is the line known, does the policy allow
//! it, does somebody else hold it, does the hardware do it.
//!
//! The crate builds without std, and needs no atomic compare-and-swap: it runs on a Cortex-M0.

#![no_std]

extern crate alloc;

mod agent;
mod bus;
mod health;
mod holder;
mod meter;
mod name;
mod policy;
mod pwm;
mod refusal;
mod safe;
mod status;
mod write;

pub use agent::Agent;
pub use bus::{BusDevice, BusPolicy, BusRefusal, I2cPart, SPI_CLOCKS_HZ};
pub use health::{Condition, ConditionKind, Health, State, Status};
pub use holder::{Holder, HolderError};
pub use meter::{Meter, Metrics};
pub use name::LineName;
pub use policy::{Policy, PolicyError, SafeState};
pub use pwm::{PwmKind, PwmRefusal, SoftPwm, SoftPwmStep, pwm_timing};
pub use refusal::Refusal;
pub use safe::Released;
pub use status::{HeldStatus, LineStatus, Reading};
