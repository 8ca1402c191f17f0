//! Linux: the GPIO character device, `/proc` and `/sys`, and who this machine is. It waits for nothing and needs no
//! runtime.
//!
//! GPIO goes through the kernel's first interface (uAPI v1), because that is what gpio-cdev 0.6 speaks. What that costs
//! is said in [`Caps`](crate::Caps): no kernel debounce, no numbered edges, no reconfiguration in place.

mod board;
mod bus;
mod chip;
mod fault;
mod identity;
mod line;
mod metrics;
mod pwm;
mod request;
mod thermal;

pub use board::CdevBoard;
pub use bus::{BusError, LinuxBuses, LinuxI2c, LinuxSpi};
pub use chip::HEADER_LABELS;
pub use fault::CdevError;
pub use identity::Identity;
pub use line::CdevLine;
pub use metrics::ProcfsMetrics;
pub use pwm::{PwmError, SysfsPwm, SysfsPwmChip};
