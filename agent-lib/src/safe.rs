//! Leaving lines behind in their safe states.

use alloc::vec::Vec;

use hal_core::{Board, Instant, Line, LineId};

use crate::agent::{Held, House};
use crate::{Agent, Caller, Event, Refusal, SafeState, Token};

/// What an emergency stop came to.
#[derive(Debug, Default)]
pub struct Released {
    /// The lines that are free now, in order; those that were outputs are in their safe states.
    pub released: Vec<LineId>,
    /// The lines that the hardware would not make safe, in order, and why. They stay with their holders.
    pub failed: Vec<(LineId, Refusal)>,
}

impl<B: Board> Agent<B> {
    /// Puts an output into its safe state, then frees the line. If it is watched and an input now, the agent holds it for
    /// the watchers.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `LeaseExpired`, `StaleToken`, `Held` by somebody else, `NotHeld`. On `Hardware` the
    /// caller still holds the line.
    pub fn release(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        token: Option<Token>,
    ) -> Result<(), Refusal> {
        self.held_by(now, caller, line, token)?.ok_or(Refusal::NotHeld { line })?;
        self.let_go(now, line)
    }

    /// Emergency stop: releases every line, whoever holds it, and goes on after a failure. Free lines that are watched
    /// stay watched.
    pub fn release_all(&mut self, now: Instant) -> Released {
        self.release_lines(now, |_| true)
    }

    /// The same for the lines that `is_meant` means.
    pub fn release_lines(&mut self, now: Instant, is_meant: impl Fn(LineId) -> bool) -> Released {
        let mut outcome = Released::default();
        let held = self.held.iter().filter(|(line, held)| !held.is_idle() && is_meant(**line));
        let lines: Vec<_> = held.map(|(line, _)| *line).collect();
        for line in lines {
            match self.let_go(now, line) {
                Ok(()) => outcome.released.push(line),
                Err(refusal) => outcome.failed.push((line, refusal)),
            }
        }
        outcome
    }

    /// Makes a held line safe, then frees it.
    pub(crate) fn let_go(&mut self, now: Instant, line: LineId) -> Result<(), Refusal> {
        self.leave(line)?;
        self.free(now, line);
        Ok(())
    }

    /// Makes a held line safe: as its lease says, else as the policy does.
    pub(crate) fn leave(&mut self, line: LineId) -> Result<(), Refusal> {
        let declared = self.policy.safe_state(line);
        let Some(held) = self.held.get_mut(&line) else {
            return Ok(());
        };
        held.leave(declared)?;
        self.signal_over(line);
        Ok(())
    }

    /// Frees a line that has been made safe. The agent keeps a PWM channel that leaves its line high.
    pub(crate) fn free(&mut self, now: Instant, line: LineId) {
        self.remember(line);
        if let Some(held) = self.held.get_mut(&line).filter(|held| held.port.falls_when_dropped()) {
            held.keep_level(now);
        } else if !self.keep_watching(now, line) {
            self.held.remove(&line);
        }
        self.events.push(Event::Freed { line });
        self.look_again(line);
    }
}

impl<B: Board> Drop for Agent<B> {
    fn drop(&mut self) {
        for (line, mut held) in core::mem::take(&mut self.held) {
            // After a failure the others still have to be made safe, and nobody is left to tell. A channel is left as it is
            // only if that is its safe state: one that is dropped takes its line down, or tries to.
            if held.house == Some(House::Level) || held.leave(self.policy.safe_state(line)).is_ok() {
                held.port.abandon();
            }
        }
    }
}

impl<L: Line> Held<L> {
    fn leave(&mut self, declared: SafeState) -> Result<(), Refusal> {
        let safe = self.safe(declared);
        let moves = self.pulse.is_some() || self.soft.is_some();
        if moves && safe == SafeState::Hold {
            self.port.set(false)?; // who says "hold" does not mean the middle of a pulse
        }
        self.port.make_safe(safe)?;
        self.pulse = None;
        if self.wanted.is_output() && !self.port.config().is_output() {
            self.wanted = self.port.config(); // nobody wants it driven any more
        }
        Ok(())
    }

    fn keep_level(&mut self, now: Instant) {
        self.holder = House::Level.holder();
        self.house = Some(House::Level);
        self.since = now;
        (self.lease, self.overdue) = (None, None);
    }
}
