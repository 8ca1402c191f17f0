//! The PWM block, whatever it is made of.

use alloc::boxed::Box;
use core::fmt;

use hal_core::{LineId, Pwm, PwmChannelId, PwmChip, PwmTiming};

use super::Channel;
use crate::Refusal;

/// The hardware PWM of a node, or that it has none; then all PWM is made in software.
///
/// Boxed, unlike the board: a board without PWM needs no type for it, and a signal is changed by people, not in a loop.
#[derive(Default)]
pub struct PwmBlock(Option<Box<dyn Channels + Send>>);

impl PwmBlock {
    /// No hardware PWM.
    pub const NONE: Self = Self(None);

    /// The channels of this chip.
    pub fn new(chip: impl PwmChip<Pwm: Send + 'static> + Send + 'static) -> Self {
        Self(Some(Box::new(chip)))
    }

    /// The channel that a line can carry; `None` if it can carry none.
    pub fn channel_for(&self, line: LineId) -> Option<PwmChannelId> {
        self.0.as_ref()?.channel_of(line)
    }

    /// Takes the channel of a line, silent: low, and not let out yet. `None` if the line has none.
    pub(crate) fn claim(&mut self, line: LineId) -> Option<Result<Channel, Refusal>> {
        let chip = self.0.as_mut().filter(|chip| chip.channel_of(line).is_some())?;
        Some(chip.claim(line, super::channel::SILENT).map(|output| Channel::new(line, output)))
    }
}

impl fmt::Debug for PwmBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "PwmBlock(..)" } else { "PwmBlock(none)" })
    }
}

/// A [`PwmChip`] whose type is of no interest.
trait Channels {
    fn channel_of(&self, line: LineId) -> Option<PwmChannelId>;
    fn claim(&mut self, line: LineId, timing: PwmTiming) -> Result<Box<dyn Output + Send>, Refusal>;
}

impl<P: PwmChip<Pwm: Send + 'static>> Channels for P {
    fn channel_of(&self, line: LineId) -> Option<PwmChannelId> {
        self.channel_for(line)
    }

    fn claim(&mut self, line: LineId, timing: PwmTiming) -> Result<Box<dyn Output + Send>, Refusal> {
        match self.claim_pwm(line, timing) {
            Ok(output) => Ok(Box::new(output)),
            Err(fault) => Err(Refusal::hardware(line, fault)),
        }
    }
}

/// A [`Pwm`] whose type is of no interest.
pub(super) trait Output {
    /// Changes the timing and answers what was achieved.
    fn change(&mut self, timing: PwmTiming) -> Result<PwmTiming, Refusal>;
    /// Lets the signal out.
    fn let_out(&mut self) -> Result<(), Refusal>;
    /// What is in force.
    fn in_force(&self) -> PwmTiming;
}

impl<P: Pwm> Output for P {
    fn change(&mut self, timing: PwmTiming) -> Result<PwmTiming, Refusal> {
        self.set(timing).map_err(|fault| Refusal::hardware(self.line(), fault))
    }

    fn let_out(&mut self) -> Result<(), Refusal> {
        self.enable().map_err(|fault| Refusal::hardware(self.line(), fault))
    }

    fn in_force(&self) -> PwmTiming {
        self.timing()
    }
}
