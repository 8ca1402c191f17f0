//! What a held line is driven by: the GPIO chip, or its PWM channel.

use core::mem;

use hal_core::{Fault, FaultKind, Line, LineConfig};

use crate::pwm::Channel;
use crate::{Refusal, SafeState};

/// A line as somebody holds it. It stays what it is for as long as it is held.
#[derive(Debug)]
pub(crate) enum Port<L> {
    /// By the GPIO chip.
    Gpio(L),
    /// By the PWM block.
    Pwm(Channel),
}

impl<L: Line> Port<L> {
    pub(crate) fn config(&self) -> LineConfig {
        match self {
            Self::Gpio(line) => line.config(),
            Self::Pwm(channel) => channel.config(),
        }
    }

    pub(crate) fn reconfigure(&mut self, config: LineConfig) -> Result<(), Refusal> {
        match self {
            Self::Gpio(line) => line.reconfigure(config).map_err(|fault| Refusal::hardware(line.id(), fault)),
            Self::Pwm(channel) => channel.reconfigure(config),
        }
    }

    /// The logical level. That of a PWM channel is not measured: it is the one that it drives, high with any signal.
    pub(crate) fn level(&mut self) -> Result<bool, Refusal> {
        match self {
            Self::Gpio(line) => line.is_high().map_err(|fault| Refusal::hardware(line.id(), fault)),
            Self::Pwm(channel) => Ok(channel.level()),
        }
    }

    /// The logical level last written to an output.
    pub(crate) fn written(&mut self) -> Result<bool, Refusal> {
        match self {
            Self::Gpio(line) => line.is_set_high().map_err(|fault| Refusal::hardware(line.id(), fault)),
            Self::Pwm(channel) => Ok(channel.level()),
        }
    }

    /// Sets the logical level of an output.
    pub(crate) fn set(&mut self, level: bool) -> Result<(), Refusal> {
        match self {
            Self::Gpio(line) => line.set_state(level.into()).map_err(|fault| Refusal::hardware(line.id(), fault)),
            Self::Pwm(channel) => channel.set(level),
        }
    }

    pub(crate) fn make_safe(&mut self, safe: SafeState) -> Result<(), Refusal> {
        match self {
            Self::Gpio(line) => make_safe(line, safe).map_err(|fault| Refusal::hardware(line.id(), fault)),
            Self::Pwm(channel) => channel.make_safe(safe),
        }
    }
}

impl<L> Port<L> {
    pub(crate) fn is_pwm(&self) -> bool {
        matches!(self, Self::Pwm(_))
    }

    /// Whether the line would be left otherwise than it is now if its port were dropped: an idle PWM block drives low.
    pub(crate) fn falls_when_dropped(&self) -> bool {
        matches!(self, Self::Pwm(channel) if channel.level())
    }

    /// Ends with the agent: what would fall stays.
    pub(crate) fn abandon(self) {
        match self {
            Self::Pwm(channel) if channel.level() => channel.abandon(),
            port => mem::drop(port),
        }
    }
}

fn make_safe<L: Line>(line: &mut L, safe: SafeState) -> Result<(), L::Error> {
    match safe {
        _ if !line.config().is_output() => Ok(()),
        SafeState::Hold => Ok(()),
        SafeState::Input => line.reconfigure(LineConfig::input()),
        SafeState::Low => drive(line, false),
        SafeState::High => drive(line, true),
    }
}

/// By a write alone: unlike a reconfiguration it never lets go of the wire in between. Only a line that has been lost is
/// requested again.
fn drive<L: Line>(line: &mut L, raw: bool) -> Result<(), L::Error> {
    let config = line.config();
    let level = config.invert_if_active_low(raw);
    match line.set_state(level.into()) {
        Err(fault) if fault.fault() == FaultKind::Gone => line.reconfigure(config.with_initial(level)),
        outcome => outcome,
    }
}
