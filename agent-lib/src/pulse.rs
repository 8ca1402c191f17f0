//! Pulses that the node makes by itself, and ends by itself.

use core::ops::RangeInclusive;
use core::time::Duration;

use hal_core::{Board, Instant, LineConfig, LineId};

use crate::expire::RETRY;
use crate::lease::Leased;
use crate::{Agent, Caller, Event, Grant, Refusal, Token};

/// A train of pulses: active for a while, inactive for a while, so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pulse {
    /// How long the line is active in each, 1 ms to 1 h.
    pub active: Duration,
    /// How many, 1 to 10 000.
    pub count: u32,
    /// How long the line is inactive between two, 1 ms to 1 h; a single pulse has none, and this is ignored.
    pub gap: Duration,
}

const LENGTH: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
const COUNT: RangeInclusive<u32> = 1..=10_000;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A train under way. Its steps are numbered: even ones go active, odd ones inactive, the first was step 0. Each is due
/// at a fixed distance from the start, so that lateness does not add up.
#[derive(Debug)]
pub(crate) struct Running {
    pulse: Pulse,
    start: Instant,
    /// The last step done.
    step: u32,
    /// The next step failed and is tried again then.
    retry: Option<Instant>,
    missed: u32,
    /// The line was free before, and is to be free afterwards.
    own: bool,
}

impl Pulse {
    /// One pulse.
    pub const fn once(active: Duration) -> Self {
        Self { active, count: 1, gap: Duration::ZERO }
    }

    /// How long the train takes, from the first step to the last.
    pub fn total(&self) -> Duration {
        let pairs = self.active.saturating_add(self.gap).saturating_mul(self.count.saturating_sub(1));
        pairs.saturating_add(self.active)
    }

    fn check(&self, line: LineId) -> Result<(), Refusal> {
        let lengths = LENGTH.contains(&self.active) && (self.count == 1 || LENGTH.contains(&self.gap));
        let fits = lengths && COUNT.contains(&self.count) && self.total() <= LONGEST;
        if fits { Ok(()) } else { Err(Refusal::PulseOutOfRange { line }) }
    }
}

const fn goes_active(step: u32) -> bool {
    step.is_multiple_of(2)
}

impl Running {
    /// When to look at it again.
    pub(crate) fn next(&self) -> Instant {
        self.retry.unwrap_or_else(|| self.due(self.step + 1))
    }

    fn due(&self, step: u32) -> Instant {
        let Pulse { active, gap, .. } = self.pulse;
        let pairs = active.saturating_add(gap).saturating_mul(step / 2);
        let within = if goes_active(step) { Duration::ZERO } else { active };
        self.start.saturating_add(pairs).saturating_add(within)
    }

    fn last(&self) -> u32 {
        2 * self.pulse.count - 1
    }

    /// The step that the line should be at.
    fn step_at(&self, now: Instant) -> u32 {
        (self.step + 1..=self.last()).take_while(|step| self.due(*step) <= now).last().unwrap_or(self.step)
    }

    /// Takes down that the line is at this step. Pulses that were skipped over, or ran into the next, are missed.
    fn reached(&mut self, step: u32) {
        let began = u32::from(goes_active(step) && !goes_active(self.step));
        self.missed += (step / 2 - self.step / 2).saturating_sub(began);
        self.step = step;
        self.retry = None;
    }
}

impl<B: Board> Agent<B> {
    /// Starts a train of pulses on an output, in logical levels, at once. It goes on without the caller and ends inactive;
    /// a write, a release, a signal, a new pulse or a new configuration ends it early, and a lease that runs out ends it in
    /// the safe state.
    ///
    /// A free line becomes the caller's as by a bare [`write`](Self::write), with a lease that lasts as long as the train
    /// at least; when the train has ended by itself it is released. Steps that the host comes too late for are left out,
    /// not made up for by needles: see [`Event::PulseDone`].
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), and `PulseOutOfRange`.
    pub fn pulse(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        pulse: Pulse,
        token: Option<Token>,
    ) -> Result<Grant, Refusal> {
        self.permitted(line)?;
        pulse.check(line)?;
        let own = match self.writable(now, caller, line, token)? {
            Some(held) => {
                held.set(true)?;
                held.renew(now);
                held.pulse.as_ref().is_some_and(|pulse| pulse.own)
            }
            None => self.borrow(now, caller, line, pulse)?,
        };
        let running = Running { pulse, start: now, step: 0, retry: None, missed: 0, own };
        self.signal_over(line);
        let held = self.held.get_mut(&line).ok_or(Refusal::NotHeld { line })?;
        held.pulse = Some(running);
        let grant = held.grant(line);
        self.changed(line);
        Ok(grant)
    }

    /// Takes a free line for as long as a train needs it.
    fn borrow(&mut self, now: Instant, caller: Caller<'_>, line: LineId, pulse: Pulse) -> Result<bool, Refusal> {
        let lease = self.bare_lease(now, line);
        let lease = lease.map(|lease| Leased::new(now, lease.ttl.max(pulse.total()), lease.safe));
        self.take(now, caller.holder, line, LineConfig::output(true), lease)?;
        Ok(true)
    }

    /// Puts a pulsing line at the level that is due.
    pub(crate) fn go_on(&mut self, now: Instant, line: LineId) {
        let Some(held) = self.held.get_mut(&line) else {
            return;
        };
        let end = held.lease.map_or(now, |lease| lease.expires.min(now));
        let Some(step) = held.pulse.as_ref().map(|pulse| pulse.step_at(end)) else {
            return;
        };
        let done = held.set(goes_active(step));
        let Some(pulse) = &mut held.pulse else {
            return;
        };
        match done {
            Ok(()) => {
                pulse.reached(step);
                let over = (step == pulse.last()).then_some((pulse.missed, pulse.own));
                self.changed(line);
                over.into_iter().for_each(|(missed, own)| self.pulse_over(now, line, missed, own));
            }
            Err(refusal) => {
                let first = pulse.retry.replace(now.saturating_add(RETRY)).is_none();
                first.then(|| self.safe_failed(line, &refusal));
            }
        }
    }

    fn pulse_over(&mut self, now: Instant, line: LineId, missed: u32, own: bool) {
        if let Some(held) = self.held.get_mut(&line) {
            held.pulse = None;
        }
        self.events.push(Event::PulseDone { line, missed });
        if own && self.leave_later(now, line, now).is_ok() {
            self.free(now, line);
        }
    }

    /// Ends a pulse early, with the line inactive.
    pub(crate) fn end_pulse(&mut self, line: LineId) -> Result<(), Refusal> {
        if let Some(held) = self.held.get_mut(&line).filter(|held| held.pulse.is_some()) {
            held.set(false)?;
            held.pulse = None;
        }
        Ok(())
    }
}
