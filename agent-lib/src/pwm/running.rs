//! What runs on a held line: a signal, by hand or by its channel.

use core::time::Duration;

use hal_core::{Instant, Line, PwmTiming};

use super::{PwmKind, Signal, SoftPwm};
use crate::Refusal;
use crate::agent::Held;
use crate::port::Port;

/// How often missed edges are told at most.
const TELL: Duration = Duration::from_secs(10);

/// A signal that the agent makes by hand.
#[derive(Clone, Debug)]
pub(crate) struct Soft {
    pub(super) pwm: SoftPwm,
    /// When the level changes next.
    pub(super) next: Option<Instant>,
    /// A change failed and is tried again then.
    pub(super) retry: Option<Instant>,
    /// Missed edges that have been told, and when.
    told: (u64, Option<Instant>),
}

impl Soft {
    pub(crate) fn next(&self) -> Option<Instant> {
        self.retry.or(self.next)
    }

    /// The missed edges to tell now.
    pub(super) fn untold(&mut self, now: Instant) -> Option<u64> {
        let (told, at) = self.told;
        let missed = self.pwm.missed().saturating_sub(told);
        let tell = missed > 0 && at.is_none_or(|at| now >= at.saturating_add(TELL));
        tell.then(|| {
            self.told = (self.pwm.missed(), Some(now));
            missed
        })
    }

    /// The missed edges that have not been told when it ends.
    pub(super) fn left_untold(&self) -> u64 {
        self.pwm.missed().saturating_sub(self.told.0)
    }
}

impl<L: Line> Held<L> {
    /// The signal on the line, if there is one.
    pub(crate) fn signal(&self) -> Option<Signal> {
        match (&self.port, &self.soft) {
            (Port::Pwm(channel), _) => channel.signal().map(|timing| Signal { kind: PwmKind::Hardware, timing }),
            (_, Some(soft)) => Some(Signal { kind: soft.pwm.kind(), timing: soft.pwm.target() }),
            _ => None,
        }
    }

    /// Whether a signal is on the line, and active at times.
    pub(crate) fn has_active_signal(&self) -> Option<bool> {
        self.signal().map(|signal| signal.is_active())
    }

    /// Makes or changes a signal; a pulse is over.
    pub(super) fn run(&mut self, now: Instant, timing: PwmTiming) -> Result<Signal, Refusal> {
        let signal = match &mut self.port {
            Port::Pwm(channel) => {
                let timing = channel.run(timing)?;
                self.wanted = channel.config();
                Signal { kind: PwmKind::Hardware, timing }
            }
            Port::Gpio(_) => self.run_soft(now, timing)?,
        };
        self.pulse = None;
        Ok(signal)
    }

    fn run_soft(&mut self, now: Instant, timing: PwmTiming) -> Result<Signal, Refusal> {
        let (mut pwm, told) = match &self.soft {
            Some(soft) => (soft.pwm.clone(), soft.told),
            None => (SoftPwm::new(now, timing), (0, None)),
        };
        let step = if self.soft.is_some() { pwm.set(now, timing) } else { pwm.step(now) };
        self.port.set(step.level)?;
        self.soft = Some(Soft { pwm, next: step.next, retry: None, told });
        Ok(Signal { kind: PwmKind::Software, timing })
    }
}
