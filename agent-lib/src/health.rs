//! Whether all is well, in conditions that each say since when.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use hal_core::Instant;

/// What can be well or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConditionKind {
    /// The board answers.
    GpioBackend,
    /// The control plane can be reached. An agent works without one, so this is not needed unless the host says so.
    ControlPlane,
    /// The system can be measured.
    Metrics,
    /// The journal is there, and whether it lasts longer than the boot.
    Journal,
    /// The wall clock is set by somebody who knows the time.
    Clock,
    /// The node's certificate is valid, and will be.
    Certificate,
    /// The agent can store its state, and no file system has turned read-only.
    Storage,
    /// The processor is not too hot.
    Thermal,
    /// The supply holds its voltage.
    Power,
    /// Held lines go to their safe states.
    Leases,
    /// The policy is in force, and lines are as it says that they start.
    Policy,
    /// An output that was released, or whose agent died, goes on being driven: a fact of the kernel, neither good nor bad.
    OutputsPersist,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody has found out.
    Unknown,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds.
    pub state: State,
    /// Why, in one word for programs, such as `ChipFound`.
    pub reason: &'static str,
    /// Why, in a sentence for people; may be empty.
    pub message: String,
    /// Since when the state is what it is; a new reason or message alone does not count.
    pub since: Instant,
}

/// All conditions in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// No needed condition fails.
    Ok,
    /// A needed condition fails; calls are answered, some will be refused.
    Degraded,
    /// Calls are not answered: the host is starting or stopping.
    NotServing,
}

/// The health of a node: conditions set by those who know, read by anybody. Asking costs no I/O.
///
/// A *needed* condition that is false degrades the status. At first all are needed but three: the control plane, since an
/// agent works on its own; the clock, which a Pi without a network cannot have right; and the journal, which a container
/// does not have. A condition that is unknown does not degrade: at start nothing has failed yet, and what a board cannot
/// measure is no fault of it.
#[derive(Clone, Debug)]
pub struct Health {
    conditions: BTreeMap<ConditionKind, Condition>,
    needed: BTreeSet<ConditionKind>,
    serving: bool,
}

impl Health {
    /// The health of a host that serves and knows nothing of its conditions yet.
    pub fn new() -> Self {
        use ConditionKind::{Certificate, GpioBackend, Leases, Metrics, Policy, Power, Storage, Thermal};
        let needed = BTreeSet::from([Certificate, GpioBackend, Leases, Metrics, Policy, Power, Storage, Thermal]);
        Self { conditions: BTreeMap::new(), needed, serving: true }
    }

    /// From now on this condition is needed: an agent that has enrolled needs its control plane.
    pub fn need(&mut self, kind: ConditionKind) {
        self.needed.insert(kind);
    }

    /// Whether the host answers calls. It does unless told otherwise.
    pub fn set_serving(&mut self, serving: bool) {
        self.serving = serving;
    }

    /// Takes down how a condition stands. `since` moves only when the state changes.
    pub fn set(
        &mut self,
        now: Instant,
        kind: ConditionKind,
        state: State,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let before = self.conditions.get(&kind).filter(|condition| condition.state == state);
        let since = before.map_or(now, |condition| condition.since);
        self.conditions.insert(kind, Condition { state, reason, message: message.into(), since });
    }

    /// The conditions that have been set, in a fixed order.
    pub fn conditions(&self) -> impl Iterator<Item = (ConditionKind, &Condition)> {
        self.conditions.iter().map(|(kind, condition)| (*kind, condition))
    }

    /// One condition; `None` if nobody has set it.
    pub fn condition(&self, kind: ConditionKind) -> Option<&Condition> {
        self.conditions.get(&kind)
    }

    /// All of them in one word.
    pub fn status(&self) -> Status {
        let failing = |kind| self.condition(kind).is_some_and(|condition| condition.state == State::False);
        match self.serving {
            false => Status::NotServing,
            true if self.needed.iter().any(|kind| failing(*kind)) => Status::Degraded,
            true => Status::Ok,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Instant = Instant::from_nanos(1_000_000_000);

    #[test]
    fn a_host_that_knows_nothing_yet_is_well() {
        let mut health = Health::new();
        assert_eq!(health.status(), Status::Ok);
        health.set(SECOND, ConditionKind::GpioBackend, State::Unknown, "Starting", "");
        assert_eq!(health.status(), Status::Ok);
    }

    #[test]
    fn a_needed_condition_that_fails_degrades() {
        let mut health = Health::new();
        health.set(SECOND, ConditionKind::GpioBackend, State::False, "ChipGone", "the chip has disappeared");
        assert_eq!(health.status(), Status::Degraded);
        health.set(SECOND, ConditionKind::GpioBackend, State::True, "ChipFound", "");
        assert_eq!(health.status(), Status::Ok);
    }

    #[test]
    fn the_control_plane_is_needed_only_when_expected() {
        let mut health = Health::new();
        health.set(SECOND, ConditionKind::ControlPlane, State::False, "Unreachable", "");
        assert_eq!(health.status(), Status::Ok);
        health.need(ConditionKind::ControlPlane);
        assert_eq!(health.status(), Status::Degraded);
    }

    #[test]
    fn what_a_pi_may_lack_degrades_nothing() {
        let mut health = Health::new();
        for kind in [ConditionKind::Clock, ConditionKind::Journal, ConditionKind::ControlPlane] {
            health.set(SECOND, kind, State::False, "Absent", "");
        }
        health.set(SECOND, ConditionKind::Thermal, State::Unknown, "NoSensor", "");
        assert_eq!(health.status(), Status::Ok);
        health.set(SECOND, ConditionKind::Thermal, State::False, "TooHot", "");
        assert_eq!(health.status(), Status::Degraded);
    }

    #[test]
    fn a_host_that_stops_does_not_serve() {
        let mut health = Health::new();
        health.set_serving(false);
        assert_eq!(health.status(), Status::NotServing);
    }

    #[test]
    fn since_moves_with_the_state_alone() {
        let mut health = Health::new();
        health.set(Instant::ZERO, ConditionKind::Metrics, State::True, "Read", "");
        health.set(SECOND, ConditionKind::Metrics, State::True, "Read", "all sections");
        assert_eq!(health.condition(ConditionKind::Metrics).map(|condition| condition.since), Some(Instant::ZERO));
        health.set(SECOND, ConditionKind::Metrics, State::False, "Unreadable", "");
        assert_eq!(health.condition(ConditionKind::Metrics).map(|condition| condition.since), Some(SECOND));
    }
}
