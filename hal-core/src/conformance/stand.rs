//! Where a case stands: the harness, its line, and short ways to say what is expected.

use alloc::format;
use alloc::string::String;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::{Harness, Need, Outcome};
use crate::{Board, Caps, EdgeEvent, Fault, FaultKind, Line, LineConfig, LineId, LineInfo};

/// Long enough for an edge to reach the queue: an interrupt and a thread on Linux.
pub(super) const PAUSE: Duration = Duration::from_millis(2);
/// Whom other processes see as the line's user.
pub(super) const CONSUMER: &str = "conformance";

pub(super) type LineOf<H> = <<H as Harness>::Board as Board>::Line;
type ErrorOf<H> = <<H as Harness>::Board as Board>::Error;

/// Why a case did not pass.
pub(super) enum Unmet {
    Failed(String),
    NotPossible(String),
}

pub(super) type Verdict = Result<(), Unmet>;

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Ok(()) => Self::Passed,
            Err(Unmet::Failed(why)) => Self::Failed(why),
            Err(Unmet::NotPossible(why)) => Self::NotPossible(why),
        }
    }
}

/// The case goes on if this holds.
pub(super) fn check(holds: bool, otherwise: impl Into<String>) -> Verdict {
    if holds { Ok(()) } else { Err(Unmet::Failed(otherwise.into())) }
}

/// The case goes on if the board declares this.
pub(super) fn declared(capability: bool, what: &str) -> Verdict {
    if capability { Ok(()) } else { Err(Unmet::NotPossible(format!("the board declares no {what}"))) }
}

/// A call that has to work.
pub(super) fn works<T, E: Fault>(answer: Result<T, E>, what: &str) -> Result<T, Unmet> {
    answer.map_err(|error| Unmet::Failed(format!("{what}: {:?}, {error}", error.fault())))
}

/// A call that has to be refused in this way.
pub(super) fn refused<T, E: Fault>(answer: Result<T, E>, kind: FaultKind, what: &str) -> Verdict {
    match answer {
        Err(error) if error.fault() == kind => Ok(()),
        Err(error) => Err(Unmet::Failed(format!("{what}: {:?} instead of {kind:?}, {error}", error.fault()))),
        Ok(_) => Err(Unmet::Failed(format!("{what}: went through, expected {kind:?}"))),
    }
}

/// A line has to read as this logical level, by both ways of asking.
pub(super) fn reads<L: Line>(line: &mut L, level: bool, when: &str) -> Verdict {
    let (high, low) = (works(line.is_high(), "is_high")?, works(line.is_low(), "is_low")?);
    check(high != low, format!("{when}: is_high and is_low both say {high}"))?;
    check(high == level, format!("{when}: reads {}, expected {}", named(high), named(level)))
}

/// An output has to remember this as its last written logical level.
pub(super) fn is_set<L: Line>(line: &mut L, level: bool, when: &str) -> Verdict {
    let (high, low) = (works(line.is_set_high(), "is_set_high")?, works(line.is_set_low(), "is_set_low")?);
    check(high != low, format!("{when}: is_set_high and is_set_low both say {high}"))?;
    check(high == level, format!("{when}: is_set_high says {high}, expected {level}"))
}

pub(super) fn named(level: bool) -> &'static str {
    if level { "high" } else { "low" }
}

/// The next edge that waits, if one does.
pub(super) fn next_edge<L: Line>(line: &mut L) -> Result<Option<EdgeEvent>, Unmet> {
    match line.poll_edge(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => works(answer, "poll_edge").map(Some),
        Poll::Pending => Ok(None),
    }
}

pub(super) struct Stand<'h, H> {
    harness: &'h mut H,
    pub(super) line: LineId,
}

impl<'h, H: Harness> Stand<'h, H> {
    pub(super) fn new(harness: &'h mut H) -> Self {
        let line = harness.line();
        Self { harness, line }
    }

    /// Nobody drives the line and nobody has it, if the board goes along; a board that does not will fail the cases.
    pub(super) fn clear(&mut self) {
        self.clear_outside();
        drop(self.try_claim(LineConfig::input()));
    }

    /// The outside does not get in the way of an output.
    pub(super) fn clear_outside(&mut self) {
        if self.harness.lacks(Need::Drive).is_none() {
            self.harness.drive(self.line, None);
        }
    }

    pub(super) fn board(&mut self) -> &mut H::Board {
        self.harness.board()
    }

    pub(super) fn caps(&mut self) -> Caps {
        self.board().caps()
    }

    pub(super) fn needs(&self, need: Need) -> Verdict {
        self.harness.lacks(need).map_or(Ok(()), |why| Err(Unmet::NotPossible(why.into())))
    }

    pub(super) fn try_claim(&mut self, config: LineConfig) -> Result<LineOf<H>, ErrorOf<H>> {
        let line = self.line;
        self.board().claim(line, config, CONSUMER)
    }

    pub(super) fn claim(&mut self, config: LineConfig) -> Result<LineOf<H>, Unmet> {
        works(self.try_claim(config), "claim")
    }

    pub(super) fn info(&mut self) -> Result<LineInfo, Unmet> {
        let line = self.line;
        works(self.board().info(line), "info")
    }

    pub(super) fn drive(&mut self, level: bool) -> Verdict {
        self.needs(Need::Drive)?;
        self.harness.drive(self.line, Some(level));
        self.settle(PAUSE);
        Ok(())
    }

    pub(super) fn let_go(&mut self) -> Verdict {
        self.needs(Need::LetGo)?;
        self.harness.drive(self.line, None);
        self.settle(PAUSE);
        Ok(())
    }

    pub(super) fn level(&mut self) -> Result<Option<bool>, Unmet> {
        self.needs(Need::Level)?;
        Ok(self.harness.level(self.line))
    }

    /// The wire has to show this raw level.
    pub(super) fn wire(&mut self, level: bool, when: &str) -> Verdict {
        let seen = self.level()?;
        let shown = seen.map_or("nothing", named);
        check(seen == Some(level), format!("{when}: the wire shows {shown}, expected {}", named(level)))
    }

    pub(super) fn changes(&mut self) -> Result<alloc::vec::Vec<bool>, Unmet> {
        self.needs(Need::History)?;
        Ok(self.harness.changes(self.line))
    }

    pub(super) fn driven(&mut self) -> Result<Option<bool>, Unmet> {
        self.needs(Need::Driven)?;
        Ok(self.harness.driven(self.line))
    }

    pub(super) fn settle(&mut self, time: Duration) {
        self.harness.settle(time);
    }

    pub(super) fn too_many_edges(&self) -> u32 {
        self.harness.too_many_edges()
    }
}
