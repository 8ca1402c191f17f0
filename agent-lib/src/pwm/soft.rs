//! The schedule of a signal made by hand.

use hal_core::{Instant, PwmTiming};

use super::PwmKind;

/// What to do with the line now, and when to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftPwmStep {
    /// The level to write.
    pub level: bool,
    /// When the level changes next; `None` if it stays until [`SoftPwm::set`].
    pub next: Option<Instant>,
}

/// The schedule of a signal made by hand: it says when to write which level, and leaves the writing to its owner.
///
/// Every deadline is counted from the start, so that late wake-ups do not add up: the frequency is kept on average, only
/// the single edge comes late. Edges that nobody came for in time are left out and counted.
#[derive(Clone, Debug)]
pub struct SoftPwm {
    timing: PwmTiming,
    /// A timing that waits for the next period to begin.
    pending: Option<PwmTiming>,
    /// Where a period of this timing began.
    start: Instant,
    /// Changes of level since `start` up to the last step.
    changes: u64,
    missed: u64,
}

impl SoftPwm {
    /// A signal whose first period begins now.
    pub fn new(now: Instant, timing: PwmTiming) -> Self {
        Self { timing, pending: None, start: now, changes: 0, missed: 0 }
    }

    /// Who makes the signal: [`PwmKind::Software`], to be told to whoever asked for it.
    pub const fn kind(&self) -> PwmKind {
        PwmKind::Software
    }

    /// The timing in force. What it promises is achieved on average.
    pub const fn timing(&self) -> PwmTiming {
        self.timing
    }

    /// The timing asked for last: in force, or with the beginning of the next period.
    pub fn target(&self) -> PwmTiming {
        self.pending.unwrap_or(self.timing)
    }

    /// How many changes of level were left out because nobody came in time.
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    /// Changes the timing with the beginning of the next period, so that no period is cut short. A signal that stays at
    /// one level has no periods to wait for and changes at once.
    pub fn set(&mut self, now: Instant, timing: PwmTiming) -> SoftPwmStep {
        if self.is_constant() {
            *self = Self { missed: self.missed, ..Self::new(now, timing) };
        } else {
            self.pending = Some(timing);
        }
        self.step(now)
    }

    /// What to do now. Asking more often than told does no harm.
    pub fn step(&mut self, now: Instant) -> SoftPwmStep {
        self.take_pending(now);
        let at = self.place(now);
        if self.is_constant() {
            return SoftPwmStep { level: at.level, next: None };
        }
        self.missed += at.changes.saturating_sub(self.changes).saturating_sub(1);
        self.changes = self.changes.max(at.changes);
        SoftPwmStep { level: at.level, next: Some(at.next) }
    }

    /// Takes on the pending timing if a period has begun since it was set.
    fn take_pending(&mut self, now: Instant) {
        let at = self.place(now);
        let begun = at.changes / 2 > self.changes / 2;
        if let Some(timing) = self.pending.take_if(|_| begun) {
            self.missed += at.period_changes().saturating_sub(self.changes).saturating_sub(1);
            *self = Self { missed: self.missed, ..Self::new(at.period_start, timing) };
        }
    }

    fn is_constant(&self) -> bool {
        self.timing.duty_ns() == 0 || self.timing.duty_ns() == self.timing.period_ns()
    }

    /// Where in the signal a moment is.
    fn place(&self, now: Instant) -> Place {
        let period_ns = self.timing.period_ns();
        let passed = now.as_nanos().saturating_sub(self.start.as_nanos());
        let (periods, phase) = (passed / period_ns, passed % period_ns);
        let level = phase < self.timing.duty_ns();
        let period_start = self.start.as_nanos().saturating_add(periods * period_ns);
        let next = period_start.saturating_add(if level { self.timing.duty_ns() } else { period_ns });
        let period_start = Instant::from_nanos(period_start);
        Place { level, changes: periods * 2 + u64::from(!level), period_start, next: Instant::from_nanos(next) }
    }
}

/// A moment in a signal.
struct Place {
    level: bool,
    /// Changes of level since the start: even while high, odd while low.
    changes: u64,
    period_start: Instant,
    next: Instant,
}

impl Place {
    /// The changes up to the beginning of the period.
    fn period_changes(&self) -> u64 {
        self.changes / 2 * 2
    }
}
