//! Knows no hardware of its own and decides nothing about lines: it wires `agent-lib` to mutual TLS, gRPC and time.
//!
//! [`join`] makes a node of a machine; [`serve`] is the whole agent, on whatever board it is given. `main.rs` gives it
//! the Pi's own, `pi-sim` a simulated one.

mod access;
mod audit;
mod beliefs;
mod boots;
mod buses;
mod checked;
mod clock;
mod conditions;
mod config;
mod driver;
mod exec;
mod gpio;
mod hardware;
mod join;
mod join_patiently;
mod last;
mod limits;
mod logs;
mod metering;
mod persist;
#[cfg(feature = "prometheus")]
mod prometheus;
mod sampler;
mod scope;
mod serve;
mod service;
mod standard;
mod stream;
mod token_source;
mod trust_watch;
mod uplink;
mod watch;
mod watchdog;
mod wire;

pub use access::{Access, Right};
pub use audit::{AuditCommand, AuditError};
pub use config::{Config, Operator, Prometheus};
pub use exec::{
    Ended, ExecConfig, ExecError, Identity, Input, LinuxRunner, Order, Output, Plan, Process, Runner, WindowSize,
    run_as_stage,
};
pub use hardware::{Hardware, inventory};
pub use join::{JoinError, Joined, join};
pub use join_patiently::join_patiently;
pub use logs::{LogConfig, LogRecord, LogRing, SystemLog, log_own, own_log};
pub use scope::{Scope, ScopeError};
pub use serve::{ServeError, serve};
pub use token_source::{TokenSource, TokenSourceError};
