//! `pictl gpio pwm`: what is asked for, and how a signal reads.

use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::{GpioRequest, GpioState, Pwm, PwmLine};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  pictl gpio pwm pi-7 18 --frequency 25000 --duty 40
  pictl gpio pwm pi-7 GPIO5 --frequency 0.5 --duty 12.5
  pictl gpio pwm pi-7 18 --off

Lines with hardware PWM go from 0.25 Hz to 10 MHz, others from 0.25 to 200 Hz by software. The line becomes
yours; on a line with a declared safe state renew the lease with `pictl gpio keepalive`.")]
pub(crate) struct Signal {
    /// Name of the node
    pub(crate) node: String,
    #[arg(help = crate::gpio::LINE_HELP)]
    line: String,
    /// Periods a second, such as 25000 or 0.5
    #[arg(long, value_name = "HZ", required_unless_present = "off", allow_negative_numbers = true)]
    frequency: Option<f64>,
    /// Active share of a period in percent, 0 to 100
    #[arg(long, value_name = "PERCENT", required_unless_present = "off", value_parser = percent)]
    duty: Option<f64>,
    /// End the signal low; the line stays yours
    #[arg(long, conflicts_with_all = ["frequency", "duty"])]
    off: bool,
}

impl Signal {
    pub(crate) fn request(self) -> GpioRequest {
        let Self { node: _, line, frequency, duty, off } = self;
        if off {
            return GpioRequest { line, state: GpioState::Low.into(), ..GpioRequest::default() };
        }
        let duty_ppm = (duty.unwrap_or_default() * 10_000.0).round() as u32; // at most a million
        let signal = PwmLine { frequency_hz: frequency.unwrap_or_default(), duty_ppm };
        GpioRequest { line, operation: Some(Operation::Pwm(signal)), ..GpioRequest::default() }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&number) { Ok(number) } else { Err("not from 0 to 100".to_owned()) }
}

/// Such as `PWM 25000 Hz, 40 % active, by hardware`; what was achieved, not what was asked for.
pub(crate) fn words(pwm: &Pwm) -> String {
    let Pwm { hardware, frequency_hz, duty_ppm } = pwm;
    let maker = if *hardware { "hardware" } else { "software" };
    format!("PWM {} Hz, {} % active, by {maker}", rounded(*frequency_hz), rounded(f64::from(*duty_ppm) / 10_000.0))
}

/// With as many digits as say something, at most four behind the point.
fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!((percent("0"), percent("12.5"), percent("100")), (Ok(0.0), Ok(12.5), Ok(100.0)));
        for wrong in ["-1", "100.1", "NaN", "inf", "half", ""] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_achieved_reads_well() {
        let words = |hardware, frequency_hz, duty_ppm| words(&Pwm { hardware, frequency_hz, duty_ppm });
        assert_eq!(words(true, 25_000.0, 400_000), "PWM 25000 Hz, 40 % active, by hardware");
        assert_eq!(words(false, 1e9 / 19_801_980.0, 333_333), "PWM 50.5 Hz, 33.3333 % active, by software");
    }
}
