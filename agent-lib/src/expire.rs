//! Time passes: leases run out, pulses and signals go on.

use alloc::vec::Vec;
use core::time::Duration;

use hal_core::{Board, Instant, LineId};

use crate::agent::Held;
use crate::{Agent, Event, Holder, Refusal};

/// How long to wait before a line that could not be made safe is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// A hold that ended by itself.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) holder: Holder,
    pub(crate) at: Instant,
}

/// A hold that has ended while its line is not safe yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overdue {
    /// When it ended.
    pub(crate) since: Instant,
    /// When to try again.
    pub(crate) retry: Instant,
}

impl<B: Board> Agent<B> {
    /// When [`handle_timeout`](Self::handle_timeout) has something to do next; `None` if it has nothing to wait for. Any
    /// other call may bring this forward.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held = self.held.values().filter_map(Held::deadline);
        held.chain(self.hub.deadlines()).min()
    }

    /// Does what is due by `now`: makes the lines of expired leases safe, then frees them; goes on with pulses and signals;
    /// reports
    /// edges that have been stable for their debounce time. Does no harm when nothing is due.
    ///
    /// A host that comes late changes nothing but the time: each call settles the line that it is about first, so nobody
    /// can use a lease past its end.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |held: &Held<B::Line>| held.deadline().is_some_and(|at| at <= now);
        let lines: Vec<_> = self.held.iter().filter(|(_, held)| due(held)).map(|(line, _)| *line).collect();
        lines.into_iter().for_each(|line| self.settle(now, line));
        self.debounce(now);
    }

    /// Does what is due on one line.
    pub(crate) fn settle(&mut self, now: Instant, line: LineId) {
        while let Some(held) = self.held.get(&line).filter(|held| held.deadline().is_some_and(|at| at <= now)) {
            let (signal, comes_first) = (held.soft.is_some(), held.step_comes_first());
            if comes_first && signal {
                self.step_signal(now, line);
            } else if comes_first {
                self.go_on(now, line);
            } else {
                // What failed has been told as an event and is tried again.
                _ = self.expire(now, line);
            }
        }
    }

    /// Ends a hold of its own accord: the line is made safe, then it is free, and latched against its former holder.
    pub(crate) fn expire(&mut self, now: Instant, line: LineId) -> Result<(), Refusal> {
        let Some(held) = self.held.get(&line) else {
            return Ok(());
        };
        let expires = held.lease.map(|lease| lease.expires);
        let at = held.overdue.map(|overdue| overdue.since).or(expires).unwrap_or(now);
        let (holder, safe) = (held.holder.clone(), held.safe(self.policy.safe_state(line)));
        self.leave_later(now, line, at)?;
        self.events.push(Event::Expired { line, holder: holder.clone(), safe });
        self.expired.insert(line, Expired { holder, at });
        self.free(now, line);
        Ok(())
    }

    /// Makes a line safe whose hold ended at `at`, or sees to it that this is tried again.
    pub(crate) fn leave_later(&mut self, now: Instant, line: LineId, at: Instant) -> Result<(), Refusal> {
        let Err(refusal) = self.leave(line) else {
            return Ok(());
        };
        if let Some(held) = self.held.get_mut(&line) {
            let first = held.overdue.replace(Overdue { since: at, retry: now.saturating_add(RETRY) }).is_none();
            first.then(|| self.safe_failed(line, &refusal));
        }
        Err(refusal)
    }

    pub(crate) fn safe_failed(&mut self, line: LineId, refusal: &Refusal) {
        if let Refusal::Hardware { kind, .. } = refusal {
            self.events.push(Event::SafeFailed { line, kind: *kind });
        }
    }
}

impl<L> Held<L> {
    /// When something is to be done about this line.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let expires = self.lease.map(|lease| lease.expires);
        let next = self.next_step();
        match self.overdue {
            Some(overdue) => Some(overdue.retry),
            None => [expires, next].into_iter().flatten().min(),
        }
    }

    /// When the pulse or the signal goes on; never both are on a line.
    fn next_step(&self) -> Option<Instant> {
        let pulse = self.pulse.as_ref().map(|pulse| pulse.next());
        pulse.or_else(|| self.soft.as_ref().and_then(|soft| soft.next()))
    }

    /// Whether that is due before the lease runs out; a pulse that ends with its lease has ended well.
    fn step_comes_first(&self) -> bool {
        let next = self.next_step();
        let expires = self.lease.map(|lease| lease.expires);
        self.overdue.is_none() && next.is_some_and(|next| expires.is_none_or(|expires| next <= expires))
    }
}
