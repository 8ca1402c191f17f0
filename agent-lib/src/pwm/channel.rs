//! A line that its PWM channel drives.

use alloc::boxed::Box;
use core::fmt;
use core::mem;

use hal_core::{Bias, Drive, LineConfig, LineId, LineMode, PwmTiming};

use super::block::Output;
use crate::{Refusal, SafeState};

/// A channel that nobody has asked anything of yet: low.
pub(super) const SILENT: PwmTiming = match PwmTiming::new(1_000_000, 0) {
    Some(timing) => timing,
    None => panic!("a period of a millisecond is none"),
};

/// A line in the hands of its PWM channel: a signal, or a level made by a share of none or all.
///
/// The GPIO chip is not asked for such a line: on Raspberry Pi kernels a GPIO request leads the pin away from the PWM block,
/// and nothing but a restart leads it back.
pub(crate) struct Channel {
    line: LineId,
    output: Box<dyn Output + Send>,
    config: LineConfig,
    let_out: bool,
    /// It carries a signal, not a level.
    signal: bool,
}

impl Channel {
    pub(super) fn new(line: LineId, output: Box<dyn Output + Send>) -> Self {
        Self { line, output, config: LineConfig::as_is(), let_out: false, signal: false }
    }

    pub(crate) fn config(&self) -> LineConfig {
        self.config
    }

    /// The signal on it, if there is one.
    pub(crate) fn signal(&self) -> Option<PwmTiming> {
        self.signal.then(|| self.output.in_force())
    }

    /// Whether it drives the line high, if only for a part of the time.
    pub(crate) fn level(&self) -> bool {
        self.let_out && self.output.in_force().duty_ns() > 0
    }

    /// Makes a signal, or changes it without a break; answers what was achieved.
    pub(super) fn run(&mut self, timing: PwmTiming) -> Result<PwmTiming, Refusal> {
        let achieved = self.drive(timing)?;
        (self.config, self.signal) = (LineConfig::output(false), true);
        Ok(achieved)
    }

    /// Ends a signal at a level.
    pub(crate) fn set(&mut self, level: bool) -> Result<(), Refusal> {
        let period_ns = self.output.in_force().period_ns();
        let still = PwmTiming::new(period_ns, if level { period_ns } else { 0 }).unwrap_or(SILENT);
        self.drive(still)?;
        self.signal = false;
        Ok(())
    }

    /// Becomes a push-pull output, ending a signal at its first level; a PWM block can do nothing else.
    pub(crate) fn reconfigure(&mut self, config: LineConfig) -> Result<(), Refusal> {
        if !fits(config) {
            return Err(Refusal::CarriesPwm { line: self.line });
        }
        if let LineMode::Output { initial, .. } = config.mode {
            self.set(initial)?;
        }
        self.config = config;
        Ok(())
    }

    /// How a line is left that a PWM block drives. An input it can be none: it is left low, which is what an idle block
    /// drives. A signal needs somebody who makes it, so `Hold` ends it low; a level stays.
    pub(crate) fn make_safe(&mut self, safe: SafeState) -> Result<(), Refusal> {
        match safe {
            _ if !self.config.is_output() => Ok(()),
            SafeState::Hold if !self.signal => Ok(()),
            SafeState::High => self.set(true),
            SafeState::Hold | SafeState::Low => self.set(false),
            SafeState::Input => {
                self.set(false)?;
                self.config = LineConfig::as_is();
                Ok(())
            }
        }
    }

    /// Leaves the channel as it drives the line now, for ever.
    pub(crate) fn abandon(self) {
        mem::forget(self.output);
    }

    fn drive(&mut self, timing: PwmTiming) -> Result<PwmTiming, Refusal> {
        let achieved = self.output.change(timing)?;
        if !self.let_out {
            self.output.let_out()?;
            self.let_out = true;
        }
        Ok(achieved)
    }
}

/// Whether a PWM channel can be this: a plain output, or whatever it is.
pub(crate) fn fits(config: LineConfig) -> bool {
    let plain = match config.mode {
        LineMode::AsIs => true,
        LineMode::Input { .. } => false,
        LineMode::Output { drive, bias, .. } => drive == Drive::PushPull && bias == Bias::AsIs,
    };
    plain && !config.active_low
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timing = self.output.in_force();
        f.debug_struct("Channel").field("line", &self.line).field("timing", &timing).finish_non_exhaustive()
    }
}
