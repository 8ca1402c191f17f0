//! Pulse-width modulation: which lines have it, and what a backend implements.

use core::fmt;
use core::num::NonZeroU64;

use embedded_hal::pwm::SetDutyCycle;

use crate::{Fault, LineId};

/// A channel of the PWM block that reaches the header. Prints as `PWM0`.
///
/// Channels are fewer than the lines they can be led to: two lines of one channel carry the same signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PwmChannelId(pub u8);

impl fmt::Display for PwmChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PWM{}", self.0)
    }
}

/// Which header line can carry which channel.
pub type PwmLines = &'static [(LineId, PwmChannelId)];

/// The Pi 5 family: GPIO12 to 15 as alternate function 0, GPIO18 and 19 as 3 (`drivers/pinctrl/pinctrl-rp1.c`, the table
/// of functions).
pub const PI_5_PWM_LINES: PwmLines = &[
    (LineId(12), PwmChannelId(0)),
    (LineId(13), PwmChannelId(1)),
    (LineId(14), PwmChannelId(2)),
    (LineId(15), PwmChannelId(3)),
    (LineId(18), PwmChannelId(2)),
    (LineId(19), PwmChannelId(3)),
];

/// Every model before (BCM2835 and BCM2711 ARM Peripherals, the tables of alternative functions).
pub const PI_1_TO_4_PWM_LINES: PwmLines = &[
    (LineId(12), PwmChannelId(0)),
    (LineId(13), PwmChannelId(1)),
    (LineId(18), PwmChannelId(0)),
    (LineId(19), PwmChannelId(1)),
];

/// How long a period is, and how much of it is high. The high part is never longer than the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PwmTiming {
    period_ns: NonZeroU64,
    duty_ns: u64,
}

impl PwmTiming {
    /// A period with its high part; `None` if the period is 0 or the high part longer.
    pub const fn new(period_ns: u64, duty_ns: u64) -> Option<Self> {
        match NonZeroU64::new(period_ns) {
            Some(period_ns) if duty_ns <= period_ns.get() => Some(Self { period_ns, duty_ns }),
            _ => None,
        }
    }

    /// So many periods a second, high for so many millionths of each, both to the nearest nanosecond; `None` if the
    /// frequency is 0 or above 1 GHz, or the share above 1 000 000.
    pub const fn from_frequency(hz: u32, duty_ppm: u32) -> Option<Self> {
        if hz == 0 {
            return None;
        }
        let period_ns = (1_000_000_000 + hz as u64 / 2) / hz as u64;
        Self::new(period_ns, (period_ns * duty_ppm as u64 + 500_000) / 1_000_000)
    }

    /// The length of a period in nanoseconds; never 0.
    pub const fn period_ns(self) -> u64 {
        self.period_ns.get()
    }

    /// The high part of a period in nanoseconds.
    pub const fn duty_ns(self) -> u64 {
        self.duty_ns
    }

    /// The high part in millionths of the period, rounded down.
    pub const fn duty_ppm(self) -> u32 {
        scaled(1_000_000, self.duty_ns, self.period_ns.get()) as u32 // at most 1 000 000
    }

    /// Periods in 1000 seconds, rounded to the nearest.
    pub const fn frequency_millihertz(self) -> u64 {
        (1_000_000_000_000 + self.period_ns.get() / 2) / self.period_ns.get()
    }

    /// The same share of another period.
    pub const fn with_period_ns(self, period_ns: NonZeroU64) -> Self {
        Self { period_ns, duty_ns: scaled(self.duty_ns, period_ns.get(), self.period_ns.get()) }
    }

    /// The same period, high for `duty` of `u16::MAX` of it, as [`SetDutyCycle`] counts.
    pub const fn with_duty(self, duty: u16) -> Self {
        Self { duty_ns: scaled(self.period_ns.get(), duty as u64, u16::MAX as u64), ..self }
    }
}

/// `value * times / by` without overflow in between; the callers see to it that `times` is at most `by`, or the result
/// at most the period.
const fn scaled(value: u64, times: u64, by: u64) -> u64 {
    (value as u128 * times as u128 / by as u128) as u64
}

/// A PWM channel on a line.
///
/// As an embedded-hal output it has a `max_duty_cycle` of `u16::MAX`, whatever the period. Dropping it takes the high part
/// to 0, disables and frees the channel.
pub trait Pwm: SetDutyCycle<Error: Fault> {
    /// The line that carries it.
    fn line(&self) -> LineId;

    /// The timing in force, as far as the backend can know it: see [`Pwm::set`].
    fn timing(&self) -> PwmTiming;

    /// Changes period and high part, also while enabled. Answers what was achieved as the kernel tells it; drivers that
    /// round to their clock without saying so, as the Raspberry Pi's do (`drivers/pwm/pwm-rp1.c`, `pwm-bcm2835.c`), answer
    /// what was asked for.
    ///
    /// # Errors
    ///
    /// `InvalidConfig` if the hardware cannot do it, `Gone`.
    fn set(&mut self, timing: PwmTiming) -> Result<PwmTiming, Self::Error>;

    /// Changes the period and keeps the share of it that is high.
    ///
    /// # Errors
    ///
    /// As [`Pwm::set`].
    fn set_period_ns(&mut self, period_ns: NonZeroU64) -> Result<PwmTiming, Self::Error> {
        let timing = self.timing().with_period_ns(period_ns);
        self.set(timing)
    }

    /// Lets the signal out.
    ///
    /// # Errors
    ///
    /// `Gone`.
    fn enable(&mut self) -> Result<(), Self::Error>;

    /// Stops the signal. The level that remains is the driver's choice, low on most; who needs it low sets the high part
    /// to 0 first.
    ///
    /// # Errors
    ///
    /// `Gone`.
    fn disable(&mut self) -> Result<(), Self::Error>;
}

/// The PWM block that reaches the header.
pub trait PwmChip {
    /// What goes wrong with it.
    type Error: Fault;
    /// A claimed channel.
    type Pwm: Pwm<Error = Self::Error>;

    /// The channel that a line can carry; `None` if it can carry none.
    fn channel_for(&self, line: LineId) -> Option<PwmChannelId>;

    /// Takes the channel of a line for the caller alone, until it is dropped. It has this timing and is disabled.
    ///
    /// # Errors
    ///
    /// Nothing has changed then. `Unsupported` if the line has no channel; `Busy` if the channel is taken, also by
    /// another line that shares it, which the message names; `Denied`, `InvalidConfig`, `Gone`.
    fn claim_pwm(&mut self, line: LineId, timing: PwmTiming) -> Result<Self::Pwm, Self::Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequency_and_share_become_nanoseconds() {
        let servo = PwmTiming::from_frequency(50, 75_000).unwrap();
        assert_eq!((servo.period_ns(), servo.duty_ns()), (20_000_000, 1_500_000));
        assert_eq!((servo.frequency_millihertz(), servo.duty_ppm()), (50_000, 75_000));
        let third = PwmTiming::from_frequency(3, 500_000).unwrap();
        assert_eq!((third.period_ns(), third.frequency_millihertz()), (333_333_333, 3_000));
    }

    #[test]
    fn what_is_no_timing_does_not_exist() {
        assert!(PwmTiming::new(0, 0).is_none());
        assert!(PwmTiming::new(100, 101).is_none());
        assert!(PwmTiming::from_frequency(0, 0).is_none());
        assert!(PwmTiming::from_frequency(2_000_000_001, 0).is_none());
        assert!(PwmTiming::from_frequency(50, 1_000_001).is_none());
    }

    #[test]
    fn the_ends_are_exact() {
        let timing = PwmTiming::new(333, 0).unwrap();
        assert_eq!(timing.with_duty(u16::MAX).duty_ns(), 333);
        assert_eq!(timing.with_duty(0).duty_ns(), 0);
        let longest = PwmTiming::new(u64::MAX, u64::MAX).unwrap();
        assert_eq!((longest.duty_ppm(), longest.frequency_millihertz()), (1_000_000, 0));
    }

    #[test]
    fn another_period_keeps_the_share() {
        let timing = PwmTiming::new(1_000, 250).unwrap().with_period_ns(NonZeroU64::new(4_000).unwrap());
        assert_eq!((timing.period_ns(), timing.duty_ns()), (4_000, 1_000));
    }

    #[test]
    fn lines_that_share_a_channel() {
        let on = |lines: PwmLines, channel| lines.iter().filter(move |(_, at)| at.0 == channel).count();
        assert_eq!([0, 1, 2, 3].map(|channel| on(PI_5_PWM_LINES, channel)), [1, 1, 2, 2]);
        assert_eq!([0, 1].map(|channel| on(PI_1_TO_4_PWM_LINES, channel)), [2, 2]);
    }
}
