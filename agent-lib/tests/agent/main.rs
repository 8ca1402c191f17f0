//! The agent on simulated boards.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod chance;
mod debouncing;
mod failing;
mod holding;
mod lease_model;
mod leasing;
mod lending;
mod metering;
mod mocks;
mod model;
mod modulating;
mod naming;
mod pulsing;
mod racing;
mod releasing;
mod restoring;
mod silence;
mod soft_pwm;
mod stealing;
mod terms;
mod watching;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agent_lib::{Agent, Claim, Event, Holder, LineWrite, Policy, Rights, SafeState};
use hal_core::{Instant, LineId, header};
use sim::{Bench, Profile, SimBoard};

/// GPIO17 and GPIO27 are joined by a wire; GPIO5 is kept from everybody.
const RELAY: LineId = LineId(17);
const SENSE: LineId = LineId(27);
const LED: LineId = LineId(22);
const KEPT: LineId = LineId(5);

const T0: Instant = Instant::ZERO;

fn anna() -> Holder {
    Holder::new("operator/anna").unwrap()
}

fn ben() -> Holder {
    Holder::new("operator/ben").unwrap()
}

/// The controller, whose callers the host lets do everything.
const ALL_RIGHTS: Rights = Rights { permanent: true, steal: true };

fn writes(levels: &[(LineId, bool)]) -> Vec<LineWrite> {
    levels.iter().map(|&(line, level)| LineWrite { line, level, token: None }).collect()
}

/// The kernel's two interfaces; the second with its default queue.
const PROFILES: [Profile; 2] = [Profile::V1, Profile::V2 { capacity: 16 }];

fn millis(millis: u64) -> Instant {
    T0.saturating_add(Duration::from_millis(millis))
}

/// Lets virtual time pass as a good host does: it sleeps until the agent's next deadline, and no further.
fn pass(agent: &mut Agent<SimBoard>, bench: &Bench, until: Instant) {
    while let Some(at) = agent.poll_timeout().filter(|at| *at <= until) {
        bench.clock().advance(at.saturating_since(bench.clock().now()));
        agent.handle_timeout(bench.clock().now());
    }
    bench.clock().advance(until.saturating_since(bench.clock().now()));
}

fn events(agent: &mut Agent<SimBoard>) -> Vec<Event> {
    std::iter::from_fn(|| agent.poll_event()).collect()
}

fn seconds(seconds: u64) -> Instant {
    T0.saturating_add(Duration::from_secs(seconds))
}

fn agent() -> (Agent<SimBoard>, Bench) {
    agent_with_safe_states([])
}

fn agent_with_safe_states<const N: usize>(safe: [(LineId, SafeState); N]) -> (Agent<SimBoard>, Bench) {
    agent_on(Profile::V1, safe)
}

fn agent_on<const N: usize>(profile: Profile, safe: [(LineId, SafeState); N]) -> (Agent<SimBoard>, Bench) {
    let board = SimBoard::builder().wire(RELAY, SENSE).profile(profile).build();
    let bench = board.bench();
    let allow: BTreeSet<_> = header::lines().filter(|line| *line != KEPT).collect();
    let aliases = BTreeMap::from([("relay".to_string(), RELAY), ("pump".to_string(), RELAY)]);
    let policy = Policy::new(allow, aliases, safe.into()).unwrap();
    (Agent::new(board, policy), bench)
}
