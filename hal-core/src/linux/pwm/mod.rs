//! Hardware PWM through sysfs, the only way that Linux has.
//!
//! A line carries PWM only while its pin is led to the PWM block. An overlay does that at the start of the machine
//! (`dtoverlay=pwm` or `pwm-2chan`), and the device tree tells for which pins; a request of the line as GPIO undoes it, which
//! nothing tells.

mod chip;
mod fault;
mod output;
mod pins;
#[cfg(test)]
mod tests;

pub use chip::SysfsPwmChip;
pub use fault::PwmError;
pub use output::SysfsPwm;
