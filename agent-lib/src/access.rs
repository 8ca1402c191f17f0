//! Whether a caller may do something with a line: known, allowed, theirs, and not too late.

use hal_core::{Board, Instant, LineId};

use crate::agent::Held;
use crate::{Agent, Caller, LineName, Refusal, Token};

impl<B: Board> Agent<B> {
    /// The caller's hold on a line, `None` on a line that is free for them; refused if it is somebody else's, or if the
    /// call comes from an earlier hold.
    pub(crate) fn held_by(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        token: Option<Token>,
    ) -> Result<Option<&mut Held<B::Line>>, Refusal> {
        self.permitted(line)?;
        self.settle(now, line);
        self.not_expired(now, caller, line)?;
        self.fenced(line, token)?;
        match self.held.get_mut(&line) {
            Some(held) if held.house.is_some() => Ok(None),
            Some(held) if held.holder != *caller.holder => Err(held.conflict(now, line)),
            held => Ok(held),
        }
    }

    /// Refuses who held the line until their lease ran out.
    fn not_expired(&self, now: Instant, caller: Caller<'_>, line: LineId) -> Result<(), Refusal> {
        let unsafe_yet = self.held.get(&line).and_then(|held| Some((&held.holder, held.overdue?.since)));
        let left = || self.expired.get(&line).map(|expired| (&expired.holder, expired.at));
        match unsafe_yet.or_else(left) {
            Some((holder, at)) if holder == caller.holder => {
                Err(Refusal::LeaseExpired { line, ago: now.saturating_since(at) })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a token of another hold.
    fn fenced(&self, line: LineId, token: Option<Token>) -> Result<(), Refusal> {
        let current = self.held.get(&line).filter(|held| held.house.is_none()).map(|held| held.token);
        match token {
            Some(given) if current != Some(given) => Err(Refusal::StaleToken { line, given, current }),
            _ => Ok(()),
        }
    }

    /// Refuses lines that the board does not have, the policy keeps back, or a bus uses.
    pub(crate) fn permitted(&self, line: LineId) -> Result<(), Refusal> {
        if !self.exists(line) {
            return Err(self.unknown(LineName::Number(line.0.into())));
        }
        if !self.policy.allows(line) {
            return Err(Refusal::NotAllowed { line });
        }
        self.on_bus.get(&line).map_or(Ok(()), |bus| Err(Refusal::OnBus { line, bus: *bus }))
    }

    pub(crate) fn exists(&self, line: LineId) -> bool {
        line.0 < self.board.chip().lines
    }
}

impl<L> Held<L> {
    /// What somebody else is told who asks for this line.
    pub(crate) fn conflict(&self, now: Instant, line: LineId) -> Refusal {
        Refusal::Held {
            line,
            holder: self.holder.clone(),
            held_for: now.saturating_since(self.since),
            lease_left: self.lease.map(|lease| lease.expires.saturating_since(now)),
        }
    }
}
