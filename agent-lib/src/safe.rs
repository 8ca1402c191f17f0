//! Leaving lines behind in their safe states.

use alloc::vec::Vec;

use hal_core::{Board, Fault, FaultKind, Instant, Line, LineConfig, LineId};

use crate::{Agent, Holder, Refusal, SafeState};

/// What an emergency stop came to.
#[derive(Debug, Default)]
pub struct Released {
    /// The lines that are free now, in order; those that were outputs are in their safe states.
    pub released: Vec<LineId>,
    /// The lines that the hardware would not make safe, in order, and why. They stay with their holders.
    pub failed: Vec<(LineId, Refusal)>,
}

impl<B: Board> Agent<B> {
    /// Puts an output into its safe state, then frees the line.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `Held` by somebody else, `NotHeld`. On `Hardware` the caller still holds the line.
    pub fn release(&mut self, now: Instant, holder: &Holder, line: LineId) -> Result<(), Refusal> {
        self.held_by(now, holder, line)?.ok_or(Refusal::NotHeld { line })?;
        self.let_go(line)
    }

    /// Emergency stop: releases every line, whoever holds it, and goes on after a failure.
    pub fn release_all(&mut self, _now: Instant) -> Released {
        let mut outcome = Released::default();
        let lines: Vec<_> = self.held.keys().copied().collect();
        for line in lines {
            match self.let_go(line) {
                Ok(()) => outcome.released.push(line),
                Err(refusal) => outcome.failed.push((line, refusal)),
            }
        }
        outcome
    }

    /// Makes a held line safe, then frees it.
    pub(crate) fn let_go(&mut self, line: LineId) -> Result<(), Refusal> {
        let safe = self.policy.safe_state(line);
        let Some(held) = self.held.get_mut(&line) else {
            return Ok(());
        };
        make_safe(&mut held.line, safe).map_err(|fault| Refusal::hardware(line, fault))?;
        self.held.remove(&line);
        Ok(())
    }
}

impl<B: Board> Drop for Agent<B> {
    fn drop(&mut self) {
        for (line, held) in &mut self.held {
            // The others still have to be made safe, and nobody is left to tell.
            _ = make_safe(&mut held.line, self.policy.safe_state(*line));
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
