//! What a node does; no I/O of its own: no socket, no runtime, no wall clock, no wire format.
//!
//! An [`Agent`] owns a board, perhaps a PWM block, and decides who may do what with its lines. Its methods are plain
//! calls that take `now` and answer at once, so a host may be a gRPC server, a serial console or a test. Beside it
//! stand a [`Meter`], which turns readings of the system into percentages, [`Health`], which says whether all is well, and
//! [`RateLimit`], which keeps one caller from taking everybody's time.
//!
//! Every method checks in the same order, and a [`Refusal`] changes nothing: is the line known, does the policy allow
//! it, does the call come too late (an expired lease, an old token), does somebody else hold it, does the hardware do it.
//!
//! Time is the host's to bring: it sleeps until [`Agent::poll_timeout`], calls [`Agent::handle_timeout`], and so leases
//! run out, pulses and signals go on and debounced edges come to count.
//!
//! The crate builds without std, and needs no atomic compare-and-swap: it runs on a Cortex-M0.

#![no_std]

extern crate alloc;

mod access;
mod agent;
mod bus;
mod caller;
mod claim;
mod command;
mod event;
mod expire;
mod health;
mod holder;
mod lease;
mod meter;
mod name;
mod policy;
mod policy_error;
mod port;
mod pulse;
mod pwm;
mod rate;
mod refusal;
mod restore;
mod safe;
mod sample;
mod status;
mod vitals;
mod watch;
mod write;

pub use agent::Agent;
pub use bus::{Bus, BusDevice, BusPolicy, BusRefusal, I2cPart, SPI_CLOCKS_HZ};
pub use caller::{Caller, Rights};
pub use command::{
    Begun, CommandMode, CommandPolicy, CommandRefusal, Job, JobNumber, Jobs, KeptOutput, OutputKeeper, Parameter,
    Program, RequestId, Template, TemplateError,
};
pub use event::Event;
pub use health::{Condition, ConditionKind, Health, State, Status};
pub use holder::{Holder, HolderError};
pub use lease::{Claim, Grant, Lease, OnConflict, Token};
pub use meter::{Meter, Metrics, Shares};
pub use name::LineName;
pub use policy::{Policy, Restore, SafeState};
pub use policy_error::PolicyError;
pub use pulse::Pulse;
pub use pwm::{PwmBlock, PwmKind, PwmRefusal, Signal, SoftPwm, SoftPwmStep, Wave, pwm_timing};
pub use rate::{RateLimit, RateLimited};
pub use refusal::Refusal;
pub use restore::outputs_off;
pub use safe::Released;
pub use sample::{Failure, Sample};
pub use status::{Debounce, HeldStatus, LeaseStatus, LineStatus, Reading};
pub use vitals::{Verdict, Vitals};
pub use watch::{EdgeClock, Missed, Position, Record, WatchId, What};
pub use write::LineWrite;
