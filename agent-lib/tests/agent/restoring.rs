//! Outputs across restarts, and without an agent.

use agent_lib::{PwmBlock, Refusal, Restore, outputs_off};
use hal_core::{Board, Direction, FaultKind, LineConfig};
use sim::Level;

use crate::*;

const ON: LineId = LineId(10);
const OFF: LineId = LineId(11);
const LAST: LineId = LineId(12);
const UNKNOWN: LineId = LineId(13);

fn restoring() -> (Agent<SimBoard>, Bench) {
    let restore = [(ON, Restore::On), (OFF, Restore::Off), (LAST, Restore::Last), (UNKNOWN, Restore::Last)];
    let policy = Policy::default().with_restore(restore.into()).unwrap();
    let board = SimBoard::builder().build();
    let bench = board.bench();
    (Agent::new(board, policy), bench)
}

#[test]
fn lines_are_restored_as_the_policy_says() {
    let (mut agent, bench) = restoring();
    assert!(agent.restore(T0, &[(LAST, true), (LED, true)]).is_empty());
    assert_eq!([ON, OFF, LAST].map(|line| bench.level(line)), [Level::High, Level::Low, Level::High]);
    let directions = [OFF, UNKNOWN, LED].map(|line| agent.board().info(line).unwrap().direction);
    assert_eq!(directions, [Direction::Output, Direction::Input, Direction::Input]);
    assert_eq!(agent.outputs(), [(ON, true), (OFF, false), (LAST, true)]);
    let held = agent.list(T0).into_iter().find(|status| status.line == ON).unwrap().held.unwrap();
    assert_eq!((held.holder.as_str(), held.lease), ("agent/restore", None));
}

#[test]
fn an_output_that_is_still_driven_shows_no_glitch() {
    let (mut agent, bench) = restoring();
    drop(agent.board_mut().claim(ON, LineConfig::output(true), "the agent before").unwrap());
    let before = bench.history(ON).len();
    agent.restore(seconds(1), &[]);
    assert_eq!(bench.history(ON).len(), before);
}

#[test]
fn whoever_asks_first_takes_a_restored_line_over() {
    for profile in PROFILES {
        let restore = [(ON, Restore::On), (OFF, Restore::On), (LAST, Restore::On)];
        let policy = Policy::default().with_restore(restore.into()).unwrap();
        let board = SimBoard::builder().profile(profile).build();
        let bench = board.bench();
        let mut agent = Agent::new(board, policy);
        agent.restore(T0, &[]);
        agent.write(seconds(1), anna().caller(), ON, true, None).unwrap();
        assert_eq!(bench.history(ON).len(), 2); // low at reset, high since it was restored
        agent.claim(seconds(1), anna().caller(), OFF, Claim::permanent(LineConfig::as_is())).unwrap();
        assert_eq!(bench.level(OFF), Level::High);
        assert!(!agent.toggle(seconds(1), anna().caller(), LAST, None).unwrap());
        for line in [ON, OFF, LAST] {
            assert!(matches!(agent.write(seconds(1), ben().caller(), line, true, None), Err(Refusal::Held { .. })));
            assert_eq!(agent.grant(&anna(), line).unwrap().expires, None);
        }
    }
}

#[test]
fn nobody_holds_a_restored_line_before_they_ask() {
    let (mut agent, _) = restoring();
    agent.restore(T0, &[]);
    let who = anna();
    assert!(matches!(agent.release(T0, who.caller(), ON, None), Err(Refusal::NotHeld { line: ON })));
    assert!(matches!(agent.keepalive(T0, who.caller(), ON, None), Err(Refusal::NotHeld { line: ON })));
    assert_eq!(agent.release_all(T0).released, [ON, OFF]);
}

#[test]
fn one_line_that_fails_does_not_keep_the_others() {
    let (mut agent, bench) = restoring();
    bench.fail_next(ON, FaultKind::Busy);
    let failed = agent.restore(T0, &[(LAST, true)]);
    assert!(matches!(failed[..], [(ON, Refusal::Hardware { kind: FaultKind::Busy, .. })]));
    assert_eq!(bench.level(LAST), Level::High);
}

#[test]
fn outputs_are_told_by_their_wires() {
    let (mut agent, _) = agent();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(LineConfig::output(true).active_low())).unwrap();
    agent.claim(T0, anna().caller(), SENSE, Claim::permanent(LineConfig::input())).unwrap();
    agent.pulse(T0, anna().caller(), LineId(9), agent_lib::Pulse::once(Duration::from_secs(1)), None).unwrap();
    assert_eq!(agent.outputs(), [(LineId(9), false), (LED, false)]);
}

#[test]
fn last_is_what_the_wire_was_left_at() {
    let safe = [(OFF, SafeState::Low), (UNKNOWN, SafeState::Hold)];
    let policy = Policy::new(header::lines().collect(), BTreeMap::new(), safe.into()).unwrap();
    let policy = policy.with_restore([ON, OFF, LAST, UNKNOWN].map(|line| (line, Restore::Last)).into()).unwrap();
    let mut agent = Agent::new(SimBoard::builder().build(), policy);
    assert!(agent.last_levels().is_empty(), "nothing was driven");
    for line in [OFF, LAST, UNKNOWN, LED] {
        agent.write(T0, anna().caller(), line, true, None).unwrap();
    }
    agent.claim(T0, anna().caller(), ON, Claim::permanent(LineConfig::output(true).active_low())).unwrap();
    assert_eq!(agent.last_levels(), [(ON, false), (OFF, true), (LAST, true), (UNKNOWN, true)], "LED is not asked for");
    agent.release(T0, anna().caller(), LAST, None).unwrap();
    agent.handle_timeout(seconds(60)); // the leases of OFF and UNKNOWN end
    let left = [(ON, false), (OFF, false), (UNKNOWN, true)];
    assert_eq!(agent.last_levels(), left, "made safe, an input, and held");
    agent.claim(seconds(61), ben().caller(), UNKNOWN, Claim::permanent(LineConfig::input())).unwrap_err();
    let admin = anna();
    let admin = admin.caller().with_rights(ALL_RIGHTS);
    agent.claim(seconds(61), admin, UNKNOWN, Claim::permanent(LineConfig::input())).unwrap();
    assert_eq!(agent.last_levels(), left[..2], "an input is not driven");
}

#[test]
fn last_levels_survive_a_start_at_which_the_line_is_busy() {
    let (mut agent, bench) = restoring();
    bench.fail_next(LAST, FaultKind::Busy);
    assert_eq!(agent.restore(T0, &[(LAST, true), (LED, true)]).len(), 1);
    assert_eq!(agent.last_levels(), [(LAST, true)]);
}

#[test]
fn after_a_crash_what_matters_is_driven_safe() {
    let safe = [(ON, SafeState::High), (OFF, SafeState::Low), (LAST, SafeState::Hold), (LED, SafeState::Input)];
    let policy = Policy::new(header::lines().collect(), BTreeMap::new(), safe.into()).unwrap();
    let mut board = SimBoard::builder().build();
    let bench = board.bench();
    for line in [OFF, LAST, LED, UNKNOWN] {
        drop(board.claim(line, LineConfig::output(true), "killed").unwrap()); // stays driven
    }
    bench.fail_next(ON, FaultKind::Busy);
    let failed = outputs_off(&mut board, &policy, &PwmBlock::NONE);
    assert!(matches!(failed[..], [(ON, Refusal::Hardware { .. })]));
    let levels = [OFF, LAST, LED, UNKNOWN].map(|line| bench.level(line) == Level::High);
    assert_eq!(levels, [false, true, false, true]);
    assert_eq!(board.info(LED).unwrap().direction, Direction::Input);
    assert!(outputs_off(&mut board, &policy, &PwmBlock::NONE).is_empty());
    assert_eq!(bench.level(ON), Level::High);
}

#[test]
fn the_successor_of_a_killed_agent_makes_safe_what_matters_first() {
    let safe = [ON, OFF, LAST, UNKNOWN].map(|line| (line, SafeState::Low));
    let restore = [(ON, Restore::On), (LAST, Restore::Last), (UNKNOWN, Restore::AsIs)];
    let policy = Policy::new(header::lines().collect(), BTreeMap::new(), safe.into()).unwrap();
    let mut board = SimBoard::builder().build();
    let bench = board.bench();
    for line in [ON, OFF, LAST, UNKNOWN, LED] {
        drop(board.claim(line, LineConfig::output(true), "killed").unwrap()); // stays driven
    }
    let mut agent = Agent::new(board, policy.with_restore(restore.into()).unwrap());
    assert!(agent.restore(T0, &[]).is_empty());
    let levels = [ON, OFF, LAST, UNKNOWN, LED].map(|line| bench.level(line) == Level::High);
    assert_eq!(levels, [true, false, false, true, true]);
    assert_eq!(bench.history(ON).last(), Some(&(T0, Level::High)), "what is restored shows no glitch");
    agent.write(T0, anna().caller(), OFF, true, None).unwrap(); // free for who asks
}
