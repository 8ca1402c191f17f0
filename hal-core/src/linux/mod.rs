//! Linux: the GPIO character device, `/proc` and `/sys`, and who this machine is. It waits for nothing and needs no
//! runtime.
//!
//! The kernel has two GPIO interfaces. [`LinuxBoard`] takes the second where it is compiled in (feature `uapi-v2`) and the
//! kernel answers in it, else the first. What the difference is, is said in [`Caps`](crate::Caps):
//!
//! | | first: [`CdevBoard`] | second: `Cdev2Board` |
//! | --- | --- | --- |
//! | crate | gpio-cdev 0.6 | gpiocdev 0.8 |
//! | kernel | any with `CONFIG_GPIO_CDEV_V1` | 5.10 and later |
//! | debouncing | no | by the kernel |
//! | edges kept for who does not fetch | the oldest 16 | the newest 64 |
//! | lost edges | not told | counted |
//! | reconfiguration | released and requested anew | in place |

mod auto;
mod board;
mod bus;
mod chip;
mod fault;
mod identity;
mod line;
mod metrics;
mod persist;
mod pwm;
mod reactor;
mod request;
#[cfg(feature = "uapi-v2")]
mod v2;

use rustix::time::{ClockId, clock_gettime};

use crate::Instant;

pub use auto::{Interface, LinuxBoard, LinuxLine};
pub use board::CdevBoard;
pub use bus::{BusError, LinuxBuses, LinuxI2c, LinuxSpi};
pub use chip::{HEADER_LABELS, find_header};
pub use fault::CdevError;
pub use identity::Identity;
pub use line::CdevLine;
pub use metrics::ProcfsMetrics;
pub use persist::persist_outputs;
#[cfg(feature = "uapi-v2")]
pub use v2::{Cdev2Board, Cdev2Line};

/// The clock of the kernel's edge timestamps since Linux 5.7.
fn monotonic() -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    Instant::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}
pub use pwm::{PwmError, SysfsPwm, SysfsPwmChip};
