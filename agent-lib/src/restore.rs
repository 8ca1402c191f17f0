//! Outputs across a restart, and after the end.

use alloc::vec::Vec;

use hal_core::{Board, Direction, Instant, Line, LineConfig, LineId};

use crate::agent::{Held, House};
use crate::{Agent, Policy, PwmBlock, Refusal, Restore, SafeState};

impl<B: Board> Agent<B> {
    /// Drives the lines that the policy wants restored, before the host answers its first call. `last` has the raw
    /// levels that [`last_levels`](Self::last_levels) told before the restart. Direction and level are set in one step, so that an
    /// output that is still driven shows no glitch.
    ///
    /// A line with a declared safe state that is not restored is brought to that state and is free, unless the policy says
    /// `AsIs` of it: the agent before this one may have been killed while it drove the line.
    ///
    /// The agent holds restored lines itself, as `agent/restore`, without a lease, until somebody claims or writes one: it
    /// is theirs then, without a conflict. Answers which lines could not be restored, in order, and why.
    pub fn restore(&mut self, now: Instant, last: &[(LineId, bool)]) -> Vec<(LineId, Refusal)> {
        let known = |(line, _): &&(LineId, bool)| self.policy.restore(*line) == Restore::Last;
        self.left_driven = last.iter().filter(known).copied().collect();
        let lines: Vec<_> = self.policy.allowed().filter(|line| !self.held.contains_key(line)).collect();
        let restored = lines.into_iter().filter_map(|line| Some((line, self.restored_level(line, last)?)));
        let restored: Vec<_> = restored.collect();
        let mut failed = self.make_leftovers_safe(last);
        for (line, raw) in restored {
            let done = self.permitted(line);
            let done = done.and_then(|()| self.take_for_house(now, House::Restore, line, LineConfig::output(raw)));
            failed.extend(done.err().map(|refusal| (line, refusal)));
        }
        failed
    }

    fn make_leftovers_safe(&mut self, last: &[(LineId, bool)]) -> Vec<(LineId, Refusal)> {
        let left_to_us = |line: &LineId| self.policy.stated_restore(*line) != Some(Restore::AsIs);
        let unrestored = |line: &LineId| !self.held.contains_key(line) && self.restored_level(*line, last).is_none();
        let lines: Vec<_> = self.policy.allowed().filter(left_to_us).filter(unrestored).collect();
        self.used_as_gpio.extend(
            to_drive(&self.board, &self.policy, &self.pwm).map(|(line, _)| line).filter(|line| lines.contains(line)),
        );
        drive_safe(&mut self.board, &self.policy, &self.pwm, |line| lines.contains(line))
    }

    fn restored_level(&self, line: LineId, last: &[(LineId, bool)]) -> Option<bool> {
        match self.policy.restore(line) {
            Restore::Off => Some(false),
            Restore::On => Some(true),
            Restore::Last => last.iter().find(|(of, _)| *of == line).map(|(_, raw)| *raw),
            Restore::AsIs => None,
        }
    }

    /// What a host keeps for [`restore`](Self::restore): the lines that the policy restores as they were last and that are
    /// driven now, and their raw levels, in order. A line that was released counts as it was left: one that went to its safe
    /// state is not switched on again by a restart, and one that is an input now is not driven.
    pub fn last_levels(&mut self) -> Vec<(LineId, bool)> {
        let mut levels = self.left_driven.clone();
        for (line, held) in &mut self.held {
            match held.driven().filter(|_| self.policy.restore(*line) == Restore::Last) {
                Some(raw) => _ = levels.insert(*line, raw),
                None => _ = levels.remove(line),
            }
        }
        levels.into_iter().collect()
    }

    /// Remembers how a line is left that is about to be free.
    pub(crate) fn remember(&mut self, line: LineId) {
        if self.policy.restore(line) != Restore::Last {
            return;
        }
        match self.held.get_mut(&line).and_then(Held::driven) {
            Some(raw) => _ = self.left_driven.insert(line, raw),
            None => _ = self.left_driven.remove(&line),
        }
    }

    /// Every output that is held now and the raw level it is driven to, in order. A pulse or a signal is told as inactive: a
    /// restart must not make a level of it.
    pub fn outputs(&mut self) -> Vec<(LineId, bool)> {
        let driven = |(line, held): (&LineId, &mut Held<B::Line>)| Some((*line, held.driven()?));
        self.held.iter_mut().filter_map(driven).collect()
    }
}

impl<L: Line> Held<L> {
    /// The raw level that an output is driven to.
    fn driven(&mut self) -> Option<bool> {
        let config = self.port.config();
        let level = config.is_output().then(|| self.port.written().ok()).flatten()?;
        let moves = self.pulse.is_some() || self.signal().is_some();
        Some(config.invert_if_active_low(level && !moves))
    }
}

/// Drives every allowed line with a declared safe state to it, knowing nothing of what went before: for the service
/// manager, after an agent has been killed. `Hold` leaves a line as it is; so does a failure, and the next line follows.
/// Answers which lines failed, in order, and why.
///
/// Each line is requested and let go at once: on Raspberry Pi kernels it stays driven after that (see [`Line`]). A line that
/// can carry PWM and is no GPIO output is left alone unless it is to be high: the host has stopped the channels of `pwm`
/// before, which leaves them low, and a GPIO request would lead the pin away from the PWM block.
pub fn outputs_off<B: Board>(board: &mut B, policy: &Policy, pwm: &PwmBlock) -> Vec<(LineId, Refusal)> {
    drive_safe(board, policy, pwm, |_| true)
}

fn drive_safe<B: Board>(
    board: &mut B,
    policy: &Policy,
    pwm: &PwmBlock,
    wanted: impl Fn(&LineId) -> bool,
) -> Vec<(LineId, Refusal)> {
    let lines: Vec<_> = to_drive(board, policy, pwm).filter(|(line, _)| wanted(line)).collect();
    let mut failed = Vec::new();
    for (line, config) in lines {
        let done = board.claim(line, config, "agent/outputs-off");
        failed.extend(done.err().map(|fault| (line, Refusal::hardware(line, fault))));
    }
    failed
}

/// The lines with a declared safe state that take a GPIO request to be in it.
fn to_drive<B: Board>(board: &B, policy: &Policy, pwm: &PwmBlock) -> impl Iterator<Item = (LineId, LineConfig)> {
    let is_output = |line| board.info(line).is_ok_and(|info| info.direction == Direction::Output);
    let stopped = move |line| pwm.channel_for(line).is_some() && !is_output(line);
    let left = |line| Some((line, policy.declared_safe(line)?));
    let lines = policy.allowed().filter_map(left);
    let lines = lines.filter(move |(line, safe)| *safe == SafeState::High || !stopped(*line));
    lines.filter_map(|(line, safe)| Some((line, left_by(safe)?)))
}

fn left_by(safe: SafeState) -> Option<LineConfig> {
    match safe {
        SafeState::Hold => None,
        SafeState::Input => Some(LineConfig::input()),
        SafeState::Low => Some(LineConfig::output(false)),
        SafeState::High => Some(LineConfig::output(true)),
    }
}
