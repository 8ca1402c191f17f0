//! Writing lines, one or several together.

use alloc::vec::Vec;

use hal_core::{Board, Instant, Line, LineConfig, LineId};

use crate::agent::Held;
use crate::{Agent, Caller, Refusal, Token};

/// One of several writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineWrite {
    /// The line.
    pub line: LineId,
    /// The logical level.
    pub level: bool,
    /// The token of the caller's hold on this line, if they want to be sure that it is this one.
    pub token: Option<Token>,
}

/// How to take one write back.
enum Undo {
    /// The line was an output at this logical level; inactive if a pulse or a signal was on it, which has ended.
    Level(LineId, bool),
    /// The line was free.
    Free(LineId),
}

impl<B: Board> Agent<B> {
    /// Sets the logical level of an output. Ends a pulse or a signal, renews a lease.
    ///
    /// A free line becomes the caller's, as a push-pull output that starts at this level: if it has a declared safe state
    /// for the policy's default lease, else until it is released. A line that the agent restored or watches is free in
    /// this sense.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `LeaseExpired`, `StaleToken`, `Held` by somebody else, `WrongDirection` if the caller
    /// holds it but not as an output, `Hardware`.
    pub fn write(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        level: bool,
        token: Option<Token>,
    ) -> Result<(), Refusal> {
        self.writable(now, caller, line, token)?;
        self.put(now, caller, line, level).map(drop)
    }

    /// Sets the logical levels of several lines, in the order given. All are checked before the first is written.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), and `DuplicateLine`: nothing has been written then. `Hardware` says at which line the
    /// board failed. Its predecessors had been written by then: they were set back to their levels, or to inactive
    /// where a pulse or a signal ran, last first, and those that had been free were left in their safe states. A line that the board refused to set back stays as written, and
    /// one that it refused to make safe stays the caller's.
    pub fn write_all(&mut self, now: Instant, caller: Caller<'_>, writes: &[LineWrite]) -> Result<(), Refusal> {
        for (at, &LineWrite { line, token, .. }) in writes.iter().enumerate() {
            if writes[..at].iter().any(|earlier| earlier.line == line) {
                return Err(Refusal::DuplicateLine { line });
            }
            self.writable(now, caller, line, token)?;
        }
        let mut done = Vec::with_capacity(writes.len());
        for &LineWrite { line, level, .. } in writes {
            match self.put(now, caller, line, level) {
                Ok(undo) => done.push(undo),
                Err(refusal) => {
                    self.take_back(now, done);
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    /// Inverts the logical level of an output and answers the new one: inactive, if an active signal was on it. A
    /// free line becomes the caller's, as an output of the inverse of what its wire shows.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn toggle(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        token: Option<Token>,
    ) -> Result<bool, Refusal> {
        let level = match self.writable(now, caller, line, token)? {
            Some(held) => held.written()?,
            None => self.look(line)?.raw,
        };
        self.put(now, caller, line, !level)?;
        Ok(!level)
    }

    /// The caller's hold on an output, or `None` on a free line.
    pub(crate) fn writable(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        token: Option<Token>,
    ) -> Result<Option<&mut Held<B::Line>>, Refusal> {
        match self.held_by(now, caller, line, token)? {
            Some(held) if !held.port.config().is_output() => Err(Refusal::WrongDirection { line }),
            held => Ok(held),
        }
    }

    /// Writes a line that has been found writable.
    fn put(&mut self, now: Instant, caller: Caller<'_>, line: LineId, level: bool) -> Result<Undo, Refusal> {
        let Some(held) = self.held.get_mut(&line).filter(|held| held.house.is_none()) else {
            let lease = self.bare_lease(now, line);
            self.take(now, caller.holder, line, LineConfig::output(level), lease)?;
            return Ok(Undo::Free(line));
        };
        let moves = held.pulse.is_some() || held.signal().is_some();
        let before = held.written()? && !moves;
        held.set(level)?;
        held.pulse = None;
        held.renew(now);
        self.signal_over(line);
        self.changed(line);
        Ok(Undo::Level(line, before))
    }

    /// Takes writes back, last first, as far as the board lets it.
    fn take_back(&mut self, now: Instant, done: Vec<Undo>) {
        for undo in done.into_iter().rev() {
            // The caller learns of the fault that led here; a second one would only hide it.
            match undo {
                Undo::Level(line, before) => {
                    _ = self.held.get_mut(&line).map(|held| held.set(before));
                    self.changed(line);
                }
                Undo::Free(line) => _ = self.let_go(now, line),
            }
        }
    }
}

impl<L: Line> Held<L> {
    /// The logical level last written to an output. A signal counts as active.
    pub(crate) fn written(&mut self) -> Result<bool, Refusal> {
        self.has_active_signal().map_or_else(|| self.port.written(), Ok)
    }

    /// Sets the logical level of an output.
    pub(crate) fn set(&mut self, level: bool) -> Result<(), Refusal> {
        self.port.set(level)
    }
}
