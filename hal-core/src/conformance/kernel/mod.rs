//! What a test has in hand of a Linux kernel: a chip that the kernel simulates, and a record of all that drivers are told.
//! Both want root, and a machine that may be played with.

mod gpio_sim;
mod trace;

pub use gpio_sim::GpioSim;
pub use trace::{Act, Told, Trace};
