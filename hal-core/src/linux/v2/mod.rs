//! The kernel's second GPIO interface (uAPI v2, since Linux 5.10), by way of gpiocdev.

mod board;
mod config;
mod line;

use std::io;

use rustix::io::Errno;

pub use board::Cdev2Board;
pub use line::Cdev2Line;

/// What the kernel said.
fn cause(error: gpiocdev::Error) -> io::Error {
    match error {
        gpiocdev::Error::Os(errno) => io::Error::from_raw_os_error(errno.0),
        gpiocdev::Error::Uapi(_, gpiocdev_uapi::Error::Os(errno)) => io::Error::from_raw_os_error(errno.0),
        // Found out without asking the file: what it would have answered.
        gpiocdev::Error::GpioChip(..) => Errno::NOTTY.into(),
        other => io::Error::other(other),
    }
}
