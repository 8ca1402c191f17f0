//! Leaving lines behind in their safe states.

use alloc::vec::Vec;

use hal_core::{Board, Fault, FaultKind, Instant, Line, LineConfig, LineId};

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
        let mut outcome = Released::default();
        let held = self.held.iter().filter(|(_, held)| held.house != Some(House::Watch));
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
        held.leave(declared).map_err(|fault| Refusal::hardware(line, fault))
    }

    /// Frees a line that has been made safe.
    pub(crate) fn free(&mut self, now: Instant, line: LineId) {
        self.remember(line);
        if !self.keep_watching(now, line) {
            self.held.remove(&line);
        }
        self.events.push(Event::Freed { line });
        self.look_again(line);
    }
}

impl<B: Board> Drop for Agent<B> {
    fn drop(&mut self) {
        for (line, held) in &mut self.held {
            // The others still have to be made safe, and nobody is left to tell.
            _ = held.leave(self.policy.safe_state(*line));
        }
    }
}

impl<L: Line> Held<L> {
    fn leave(&mut self, declared: SafeState) -> Result<(), L::Error> {
        let safe = self.safe(declared);
        if self.pulse.is_some() && safe == SafeState::Hold {
            self.line.set_low()?; // who says "hold" does not mean the middle of a pulse
        }
        make_safe(&mut self.line, safe)?;
        self.pulse = None;
        if self.wanted.is_output() && !self.line.config().is_output() {
            self.wanted = self.line.config(); // nobody wants it driven any more
        }
        Ok(())
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
