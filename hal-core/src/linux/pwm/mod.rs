//! Hardware PWM through sysfs, the only way that Linux has.
//!
//! A line carries PWM only while its pin is led to the PWM block, which an overlay does (`dtoverlay=pwm` or
//! `pwm-2chan`); nothing here can tell whether it is.

mod chip;
mod fault;
mod output;
#[cfg(test)]
mod tests;

pub use chip::SysfsPwmChip;
pub use fault::PwmError;
pub use output::SysfsPwm;
