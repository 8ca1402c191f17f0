//! How lines are left behind.

use agent_lib::{Refusal, SafeState};
use hal_core::{Board, Direction, FaultKind, LineConfig, LineId};
use sim::Level;

use crate::*;

#[test]
fn a_released_output_is_in_its_safe_state() {
    for (safe, level, direction) in [
        (SafeState::Hold, Level::High, Direction::Output),
        (SafeState::Input, Level::Low, Direction::Input), // pulled down as at reset
        (SafeState::Low, Level::Low, Direction::Output),
        (SafeState::High, Level::High, Direction::Output),
    ] {
        let (mut agent, bench) = agent_with_safe_states([(LED, safe)]);
        agent.write(T0, anna().caller(), LED, true, None).unwrap();
        agent.release(T0, anna().caller(), LED, None).unwrap();
        let info = agent.board().info(LED).unwrap();
        assert_eq!((bench.level(LED), info.direction, info.used), (level, direction, false), "{safe:?}");
    }
}

#[test]
fn a_safe_level_is_the_wire_s() {
    let (mut agent, bench) = agent_with_safe_states([(LED, SafeState::High)]);
    agent
        .claim(
            T0,
            anna().caller().with_rights(ALL_RIGHTS),
            LED,
            Claim::permanent(LineConfig::output(true).active_low()),
        )
        .unwrap();
    assert_eq!(bench.level(LED), Level::Low);
    agent.release(T0, anna().caller(), LED, None).unwrap();
    assert_eq!(bench.level(LED), Level::High);
}

#[test]
fn an_input_is_never_made_to_drive() {
    let (mut agent, bench) = agent_with_safe_states([(LED, SafeState::High)]);
    agent.claim(T0, anna().caller().with_rights(ALL_RIGHTS), LED, Claim::permanent(LineConfig::input())).unwrap();
    agent.release(T0, anna().caller(), LED, None).unwrap();
    assert_eq!(bench.level(LED), Level::Low);
    assert_eq!(agent.board().info(LED).unwrap().direction, Direction::Input);
}

#[test]
fn a_released_line_is_free_for_others() {
    let (mut agent, _) = agent();
    agent.write(T0, anna().caller(), LED, true, None).unwrap();
    agent.release(T0, anna().caller(), LED, None).unwrap();
    assert!(matches!(agent.release(T0, anna().caller(), LED, None), Err(Refusal::NotHeld { line: LED })));
    agent.write(T0, ben().caller(), LED, true, None).unwrap();
}

#[test]
fn a_line_that_cannot_be_made_safe_stays_with_its_holder() {
    let (mut agent, bench) = agent_with_safe_states([(LED, SafeState::Low)]);
    agent.write(T0, anna().caller(), LED, true, None).unwrap();
    bench.fail_next(LED, FaultKind::Bus);
    let refused = agent.release(T0, anna().caller(), LED, None);
    assert!(matches!(refused, Err(Refusal::Hardware { line: LED, kind: FaultKind::Bus, .. })));
    assert!(matches!(agent.write(T0, ben().caller(), LED, true, None), Err(Refusal::Held { .. })));
    agent.release(T0, anna().caller(), LED, None).unwrap();
    assert_eq!(bench.level(LED), Level::Low);
}

#[test]
fn a_lost_line_is_requested_again_to_make_it_safe() {
    let (mut agent, bench) = agent_with_safe_states([(LED, SafeState::Low)]);
    agent.write(T0, anna().caller(), LED, true, None).unwrap();
    bench.fail_next(LED, FaultKind::Gone);
    agent.release(T0, anna().caller(), LED, None).unwrap();
    assert_eq!(bench.level(LED), Level::Low);
}

#[test]
fn an_emergency_stop_releases_everybody_s_lines() {
    let (mut agent, bench) = agent_with_safe_states([(RELAY, SafeState::Low)]);
    agent.write(T0, anna().caller(), RELAY, true, None).unwrap();
    agent.write(T0, ben().caller(), LED, true, None).unwrap();
    let outcome = agent.release_all(seconds(1));
    assert_eq!(outcome.released, [RELAY, LED]);
    assert!(outcome.failed.is_empty());
    assert_eq!((bench.level(RELAY), bench.level(LED), agent.held_count()), (Level::Low, Level::Low, 0));
}

#[test]
fn an_emergency_stop_goes_on_after_a_failure() {
    let (mut agent, bench) = agent();
    for line in [RELAY, LED, LineId(23)] {
        agent.write(T0, anna().caller(), line, true, None).unwrap();
    }
    bench.fail_next(LED, FaultKind::Gone);
    let outcome = agent.release_all(seconds(1));
    assert_eq!(outcome.released, [RELAY, LineId(23)]);
    let [(LED, Refusal::Hardware { kind: FaultKind::Gone, .. })] = outcome.failed[..] else {
        panic!("{outcome:?}");
    };
    assert_eq!(agent.held_count(), 1);
    assert_eq!(agent.release_all(seconds(2)).released, [LED]);
}

#[test]
fn a_dropped_agent_leaves_safe_states() {
    let (mut agent, bench) = agent_with_safe_states([(RELAY, SafeState::Low), (LineId(23), SafeState::Hold)]);
    for line in [RELAY, LED, LineId(23)] {
        agent.write(T0, anna().caller(), line, true, None).unwrap();
    }
    bench.fail_next(RELAY, FaultKind::Bus); // does not keep the others from being made safe
    drop(agent);
    assert_eq!([RELAY, LED, LineId(23)].map(|line| bench.level(line)), [Level::High, Level::Low, Level::High]);
}

#[test]
fn a_panic_leaves_safe_states() {
    let (mut agent, bench) = agent_with_safe_states([(LED, SafeState::Low)]);
    let panicked = std::thread::spawn(move || {
        agent.write(T0, anna().caller(), LED, true, None).unwrap();
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    assert_eq!(bench.level(LED), Level::Low);
}
