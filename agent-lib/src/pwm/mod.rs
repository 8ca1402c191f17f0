//! Pulse-width modulation: what may be asked for, who makes it, and the agent's part in it.

mod block;
mod channel;
mod running;
mod signal;
mod soft;

use core::ops::RangeInclusive;

use hal_core::{LineId, PwmTiming};

pub use block::PwmBlock;
pub(crate) use channel::{Channel, fits};
pub(crate) use running::Soft;
pub use signal::{Signal, Wave};
pub use soft::{SoftPwm, SoftPwmStep};

/// Who makes the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PwmKind {
    /// A PWM block; exact to its clock.
    Hardware,
    /// The agent, by writing the line; every edge comes as late as the host is woken.
    Software,
}

impl PwmKind {
    /// The frequencies in hertz that make sense.
    ///
    /// From a period of 4 s, which older kernels still hold in 32 bits of nanoseconds. Hardware: to one of 100 ns, which on
    /// a Pi 5 is five ticks of its clock. Software: to one of 5 ms, in which a late edge is still a small part.
    pub const fn frequencies_hz(self) -> RangeInclusive<f64> {
        match self {
            Self::Hardware => 0.25..=10_000_000.0,
            Self::Software => 0.25..=200.0,
        }
    }
}

/// Why a signal is refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PwmRefusal {
    /// The frequency is out of range, or no number.
    #[error("{line} cannot do {asked_hz} Hz; ask for {} to {} Hz{}", range.start(), range.end(), hint(*kind))]
    Frequency {
        /// The line.
        line: LineId,
        /// What was asked for.
        asked_hz: f64,
        /// Who would have made the signal.
        kind: PwmKind,
        /// What can be asked for.
        range: RangeInclusive<f64>,
    },
    /// More than always high was asked for.
    #[error("{line} cannot be active for {asked_ppm} millionths of a period; ask for 0 to 1000000")]
    Duty {
        /// The line.
        line: LineId,
        /// What was asked for.
        asked_ppm: u32,
    },
}

impl PwmRefusal {
    pub(crate) fn line(&self) -> LineId {
        match self {
            Self::Frequency { line, .. } | Self::Duty { line, .. } => *line,
        }
    }
}

fn hint(kind: PwmKind) -> &'static str {
    match kind {
        PwmKind::Hardware => "",
        PwmKind::Software => " or choose a line with hardware PWM that has not been used as GPIO",
    }
}

/// The timing of a signal of `hz` periods a second that is high for `duty_ppm` millionths of each, both to the nearest
/// nanosecond.
///
/// # Errors
///
/// `Frequency` if it is not among [`PwmKind::frequencies_hz`], as infinities and what is no number are not; `Duty` above
/// 1 000 000.
pub fn pwm_timing(line: LineId, kind: PwmKind, hz: f64, duty_ppm: u32) -> Result<PwmTiming, PwmRefusal> {
    let range = kind.frequencies_hz();
    if !range.contains(&hz) {
        return Err(PwmRefusal::Frequency { line, asked_hz: hz, kind, range });
    }
    let period_ns = (1e9 / hz + 0.5) as u64; // 100 to 4 000 000 000
    let duty_ns = (period_ns * u64::from(duty_ppm) + 500_000) / 1_000_000;
    PwmTiming::new(period_ns, duty_ns).ok_or(PwmRefusal::Duty { line, asked_ppm: duty_ppm })
}
