//! Writing lines, one or several together.

use alloc::vec::Vec;

use hal_core::{Board, Instant, Line, LineConfig, LineId};

use crate::agent::Held;
use crate::{Agent, Holder, Refusal};

/// How to take one write back.
enum Undo {
    /// The line was an output at this logical level.
    Level(LineId, bool),
    /// The line was free.
    Free(LineId),
}

impl<B: Board> Agent<B> {
    /// Sets the logical level of an output. A free line becomes the caller's, as a push-pull output that starts at this
    /// level.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `Held` by somebody else, `WrongDirection` if the caller holds it but not as an output,
    /// `Hardware`.
    pub fn write(&mut self, now: Instant, holder: &Holder, line: LineId, level: bool) -> Result<(), Refusal> {
        self.writable(now, holder, line)?;
        self.put(now, holder, line, level).map(drop)
    }

    /// Sets the logical levels of several lines, in the order given. All are checked before the first is written.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), and `DuplicateLine`: nothing has been written then. `Hardware` says at which line the
    /// board failed. Its predecessors had been written by then: they were set back to their levels, last first, and those
    /// that had been free were left in their safe states. A line that the board refused to set back stays as written, and
    /// one that it refused to make safe stays the caller's.
    pub fn write_all(&mut self, now: Instant, holder: &Holder, levels: &[(LineId, bool)]) -> Result<(), Refusal> {
        for (at, &(line, _)) in levels.iter().enumerate() {
            if levels[..at].iter().any(|(earlier, _)| *earlier == line) {
                return Err(Refusal::DuplicateLine { line });
            }
            self.writable(now, holder, line)?;
        }
        let mut done = Vec::with_capacity(levels.len());
        for &(line, level) in levels {
            match self.put(now, holder, line, level) {
                Ok(undo) => done.push(undo),
                Err(refusal) => {
                    self.take_back(done);
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    /// Inverts the logical level of an output and answers the new one. A free line becomes the caller's, as an output of
    /// the inverse of what its wire shows.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn toggle(&mut self, now: Instant, holder: &Holder, line: LineId) -> Result<bool, Refusal> {
        let level = match self.writable(now, holder, line)? {
            Some(held) => held.written()?,
            None => self.read(now, line)?.raw,
        };
        self.put(now, holder, line, !level)?;
        Ok(!level)
    }

    /// The caller's hold on an output, or `None` on a free line.
    fn writable(&mut self, now: Instant, holder: &Holder, line: LineId) -> Result<Option<&mut Held<B::Line>>, Refusal> {
        match self.held_by(now, holder, line)? {
            Some(held) if !held.line.config().is_output() => Err(Refusal::WrongDirection { line }),
            held => Ok(held),
        }
    }

    /// Writes a line that has been found writable.
    fn put(&mut self, now: Instant, holder: &Holder, line: LineId, level: bool) -> Result<Undo, Refusal> {
        let Some(held) = self.held.get_mut(&line) else {
            self.request(now, holder, line, LineConfig::output(level))?;
            return Ok(Undo::Free(line));
        };
        let before = held.written()?;
        held.set(level)?;
        Ok(Undo::Level(line, before))
    }

    /// Takes writes back, last first, as far as the board lets it.
    fn take_back(&mut self, done: Vec<Undo>) {
        for undo in done.into_iter().rev() {
            // The caller learns of the fault that led here; a second one would only hide it.
            match undo {
                Undo::Level(line, before) => _ = self.held.get_mut(&line).map(|held| held.set(before)),
                Undo::Free(line) => _ = self.let_go(line),
            }
        }
    }
}

impl<L: Line> Held<L> {
    /// The logical level last written to an output.
    fn written(&mut self) -> Result<bool, Refusal> {
        self.line.is_set_high().map_err(|fault| Refusal::hardware(self.line.id(), fault))
    }

    fn set(&mut self, level: bool) -> Result<(), Refusal> {
        self.line.set_state(level.into()).map_err(|fault| Refusal::hardware(self.line.id(), fault))
    }
}
