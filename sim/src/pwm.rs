//! The simulated PWM block.

use std::collections::{BTreeMap, VecDeque};

use embedded_hal::pwm::{ErrorType, SetDutyCycle};
use hal_core::{Drive, Instant, LineConfig, LineId, Pwm, PwmChannelId, PwmChip, PwmLines, PwmTiming};

use crate::bench::Bench;
use crate::fault::SimError;
use crate::net::Level;
use crate::state::{Shared, State};

/// Changes that a line remembers, so that a simulation may run for months.
const HISTORY: usize = 4096;

/// One change of what a PWM channel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PwmChange {
    /// When.
    pub at: Instant,
    /// Its timing from then on.
    pub timing: PwmTiming,
    /// Whether the signal is let out.
    pub enabled: bool,
}

/// Which lines have channels, who has them, and what they did.
#[derive(Debug)]
pub(crate) struct Block {
    lines: PwmLines,
    taken: BTreeMap<PwmChannelId, LineId>,
    changes: BTreeMap<LineId, VecDeque<PwmChange>>,
}

impl Block {
    pub(crate) fn new(lines: PwmLines) -> Self {
        Self { lines, taken: BTreeMap::new(), changes: BTreeMap::new() }
    }

    fn channel_for(&self, line: LineId) -> Option<PwmChannelId> {
        self.lines.iter().find(|(carrier, _)| *carrier == line).map(|(_, channel)| *channel)
    }

    /// The line's channel, if nobody has it.
    fn free_channel(&self, line: LineId) -> Result<PwmChannelId, SimError> {
        let channel = self.channel_for(line).ok_or(SimError::NoPwm { line })?;
        match self.taken.get(&channel) {
            Some(&other) => Err(SimError::ChannelShared { line, other, channel }),
            None => Ok(channel),
        }
    }

    fn remember(&mut self, line: LineId, change: PwmChange) {
        let changes = self.changes.entry(line).or_default();
        if changes.len() == HISTORY {
            changes.pop_front();
        }
        changes.push_back(change);
    }
}

impl State {
    fn claim_pwm(&mut self, now: Instant, line: LineId, timing: PwmTiming) -> Result<PwmChannelId, SimError> {
        let channel = self.pwm.free_channel(line)?;
        self.claim(now, line, LineConfig::output(false), "pwm")?;
        self.pwm.taken.insert(channel, line);
        self.pwm.remember(line, PwmChange { at: now, timing, enabled: false });
        Ok(channel)
    }

    /// The wire shows the level that a period begins with: high, unless the signal is off or never high.
    fn change_pwm(&mut self, line: LineId, change: PwmChange) -> Result<(), SimError> {
        self.ordered_fault(line)?;
        let high = change.enabled && change.timing.duty_ns() > 0;
        self.change(change.at, line, |pad| pad.output = Some((Drive::PushPull, high)))?;
        self.pwm.remember(line, change);
        Ok(())
    }

    fn release_pwm(&mut self, now: Instant, line: LineId, timing: PwmTiming) {
        self.pwm.taken.retain(|_, taken| *taken != line);
        _ = self.change(now, line, |pad| {
            pad.claim = None;
            pad.output = Some((Drive::PushPull, false));
        });
        self.pwm.remember(line, PwmChange { at: now, timing, enabled: false });
    }

    /// What the last whole period of a line that is switched by hand looked like; `None` if it has stopped.
    fn measured(&self, now: Instant, line: LineId) -> Option<PwmTiming> {
        let history = &self.pad(line).ok()?.history;
        let last = |level: Level, before: Instant| {
            history.iter().rev().find(|(at, seen)| *seen == level && *at < before).map(|(at, _)| *at)
        };
        let end = history.iter().rev().find(|(_, seen)| *seen == Level::High)?.0;
        let fall = last(Level::Low, end)?;
        let start = last(Level::High, fall)?;
        let period = end.saturating_since(start);
        let stopped = now.saturating_since(end) > period * 2;
        let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).ok();
        if stopped { None } else { PwmTiming::new(nanos(period)?, nanos(fall.saturating_since(start))?) }
    }
}

impl Bench {
    /// The signal on a line as an oscilloscope would show it: that of its PWM channel while it is let out, else the last
    /// whole period of a line that is switched from high to low and back. `None` where there is no such signal.
    pub fn pwm(&self, line: LineId) -> Option<PwmTiming> {
        self.shared.with(|state, now| match state.pwm.changes.get(&line).and_then(VecDeque::back) {
            Some(change) if change.enabled => Some(change.timing),
            _ => state.measured(now, line),
        })
    }

    /// What a line's PWM channel did, oldest first; the last 4096 changes.
    pub fn pwm_changes(&self, line: LineId) -> Vec<PwmChange> {
        self.shared.with(|state, _| state.pwm.changes.get(&line).into_iter().flatten().copied().collect())
    }
}

/// The PWM block of the simulated chip.
///
/// A channel claims its line as well, as kernels with strict pin control have it: a line is an output of PWM or of GPIO.
#[derive(Clone, Debug)]
pub struct SimPwmChip {
    shared: Shared,
}

impl SimPwmChip {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

impl PwmChip for SimPwmChip {
    type Error = SimError;
    type Pwm = SimPwm;

    fn channel_for(&self, line: LineId) -> Option<PwmChannelId> {
        self.shared.with(|state, _| state.pwm.channel_for(line))
    }

    fn claim_pwm(&mut self, line: LineId, timing: PwmTiming) -> Result<SimPwm, SimError> {
        self.shared.with(|state, now| state.claim_pwm(now, line, timing))?;
        Ok(SimPwm { shared: self.shared.clone(), line, timing, enabled: false })
    }
}

/// A claimed channel. It achieves every timing exactly.
#[derive(Debug)]
pub struct SimPwm {
    shared: Shared,
    line: LineId,
    timing: PwmTiming,
    enabled: bool,
}

impl SimPwm {
    fn change(&mut self, timing: PwmTiming, enabled: bool) -> Result<(), SimError> {
        self.shared.with(|state, at| state.change_pwm(self.line, PwmChange { at, timing, enabled }))?;
        (self.timing, self.enabled) = (timing, enabled);
        Ok(())
    }
}

impl ErrorType for SimPwm {
    type Error = SimError;
}

impl SetDutyCycle for SimPwm {
    fn max_duty_cycle(&self) -> u16 {
        u16::MAX
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), SimError> {
        self.change(self.timing.with_duty(duty), self.enabled)
    }
}

impl Pwm for SimPwm {
    fn line(&self) -> LineId {
        self.line
    }

    fn timing(&self) -> PwmTiming {
        self.timing
    }

    fn set(&mut self, timing: PwmTiming) -> Result<PwmTiming, SimError> {
        self.change(timing, self.enabled).map(|()| timing)
    }

    fn enable(&mut self) -> Result<(), SimError> {
        self.change(self.timing, true)
    }

    fn disable(&mut self) -> Result<(), SimError> {
        self.change(self.timing, false)
    }
}

impl Drop for SimPwm {
    fn drop(&mut self) {
        self.shared.with(|state, now| state.release_pwm(now, self.line, self.timing));
    }
}
