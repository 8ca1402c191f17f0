//! Signals on lines: started, changed, stepped, ended.

use hal_core::{Board, Instant, LineConfig, LineId, PwmTiming};

use super::{PwmKind, pwm_timing};
use crate::expire::RETRY;
use crate::port::Port;
use crate::{Agent, Caller, Event, Refusal, Token};

/// A signal that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wave {
    /// Periods a second, within [`PwmKind::frequencies_hz`].
    pub frequency_hz: f64,
    /// The active share of each in millionths, 0 to 1 000 000.
    pub duty_ppm: u32,
}

/// A signal as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Who makes it.
    pub kind: PwmKind,
    /// What is achieved: in software on average, and after a change from the next period on.
    pub timing: PwmTiming,
}

impl Signal {
    /// Periods a second.
    pub fn frequency_hz(&self) -> f64 {
        1e9 / self.timing.period_ns() as f64
    }

    /// Whether it is active at times.
    pub(super) fn is_active(&self) -> bool {
        self.timing.duty_ns() > 0
    }
}

impl<B: Board> Agent<B> {
    /// Makes a signal on an output, or changes the one that runs, without cutting a period short. It goes on without the
    /// caller until something ends it: a write, toggle, pulse or new configuration by the holder, a release, the end of the
    /// lease; what it ends at is said there. A claim or configuration that leaves the line as it is leaves the signal, too.
    ///
    /// The PWM block makes it ([`PwmKind::Hardware`]) where the line has a channel and the agent has not used it as GPIO
    /// since its start, which leads the pin away from the block. Elsewhere the agent does, in logical levels, and what it
    /// comes too late for is left out: see [`Event::PwmMissed`]. Watchers are told of its beginning and its end, not of its
    /// edges.
    ///
    /// A free line becomes the caller's as by a bare [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); `Pwm` if the signal is out of range, `SharedChannel` if another line has the channel.
    pub fn pwm(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        wave: Wave,
        token: Option<Token>,
    ) -> Result<Signal, Refusal> {
        self.permitted(line)?;
        self.settle(now, line);
        let Wave { frequency_hz, duty_ppm } = wave;
        let timing = pwm_timing(line, self.pwm_kind(line), frequency_hz, duty_ppm).map_err(Refusal::Pwm)?;
        let signal = match self.held_by(now, caller, line, token)? {
            Some(held) if !held.port.is_pwm() && !held.port.config().is_output() => {
                return Err(Refusal::WrongDirection { line });
            }
            Some(held) => held.run(now, timing)?,
            None => self.borrow_for_signal(now, caller, line, timing)?,
        };
        self.renew(now, line);
        self.look_again(line);
        Ok(signal)
    }

    /// Takes a free line and puts a signal on it, or leaves it free.
    fn borrow_for_signal(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        timing: PwmTiming,
    ) -> Result<Signal, Refusal> {
        let config = match self.pwm_kind(line) {
            PwmKind::Hardware => LineConfig::as_is(),
            PwmKind::Software => LineConfig::output(timing.duty_ns() > 0),
        };
        let kept = self.held.contains_key(&line);
        let lease = self.bare_lease(now, line);
        self.take(now, caller.holder, line, config, lease)?;
        let held = self.held.get_mut(&line).ok_or(Refusal::NotHeld { line })?;
        held.run(now, timing).inspect_err(|_| {
            if kept {
                _ = self.let_go(now, line); // as it was kept; what fails leaves it with the caller
            } else {
                self.held.remove(&line); // which takes the channel down as far as the hardware lets it
            }
        })
    }

    /// Who would make a signal on this line.
    fn pwm_kind(&self, line: LineId) -> PwmKind {
        let by_block = self.held.get(&line).map_or_else(|| self.leads_to_pwm(line), |held| held.port.is_pwm());
        if by_block { PwmKind::Hardware } else { PwmKind::Software }
    }

    /// Whether the pin of a line that nobody holds is led to the PWM block, as far as the agent can know.
    pub(crate) fn leads_to_pwm(&self, line: LineId) -> bool {
        self.pwm.channel_for(line).is_some() && !self.used_as_gpio.contains(&line)
    }

    /// Takes the channel of a line that is led to the PWM block; `None` if it is not.
    pub(crate) fn request_channel(&mut self, now: Instant, line: LineId) -> Option<Result<Port<B::Line>, Refusal>> {
        if !self.leads_to_pwm(line) {
            return None;
        }
        let channel = self.pwm.channel_for(line)?;
        let shares = |of: &LineId| *of != line && self.pwm.channel_for(*of) == Some(channel);
        if let Some((other, held)) = self.held.iter().find(|(of, held)| held.port.is_pwm() && shares(of)) {
            let (holder, held_for) = (held.holder.clone(), now.saturating_since(held.since));
            return Some(Err(Refusal::SharedChannel { line, other: *other, channel, holder, held_for }));
        }
        self.pwm.claim(line).map(|claimed| claimed.map(Port::Pwm))
    }

    /// Makes the change of a signal that is due.
    pub(crate) fn step_signal(&mut self, now: Instant, line: LineId) {
        let Some(held) = self.held.get_mut(&line) else {
            return;
        };
        let end = held.lease.map_or(now, |lease| lease.expires.min(now));
        let Some(soft) = &mut held.soft else {
            return;
        };
        let step = soft.pwm.step(end);
        soft.next = step.next;
        let missed = soft.untold(now);
        let failed = held.port.set(step.level).err();
        let retry = failed.as_ref().map(|_| now.saturating_add(RETRY));
        let before = core::mem::replace(&mut soft.retry, retry);
        missed.into_iter().for_each(|missed| self.events.push(Event::PwmMissed { line, missed }));
        if let (Some(refusal), None) = (failed, before) {
            self.safe_failed(line, &refusal);
        }
    }

    /// Ends a signal that the agent makes, whose line has just been set to a level.
    pub(crate) fn signal_over(&mut self, line: LineId) {
        let Some(soft) = self.held.get_mut(&line).and_then(|held| held.soft.take()) else {
            return;
        };
        let missed = soft.left_untold();
        if missed > 0 {
            self.events.push(Event::PwmMissed { line, missed });
        }
    }

    /// Ends a signal that the agent makes, with the line inactive.
    pub(crate) fn end_signal(&mut self, line: LineId) -> Result<(), Refusal> {
        if let Some(held) = self.held.get_mut(&line).filter(|held| held.soft.is_some()) {
            held.port.set(false)?;
            self.signal_over(line);
        }
        Ok(())
    }
}
