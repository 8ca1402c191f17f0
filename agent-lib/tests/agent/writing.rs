//! Writing one line and several.

use agent_lib::Refusal;
use hal_core::{Drive, FaultKind, LineConfig, LineId};
use sim::Level;

use crate::*;

#[test]
fn a_bare_write_makes_the_caller_the_holder() {
    let (mut agent, bench) = agent();
    agent.write(T0, anna().caller(), LED, true, None).unwrap();
    assert_eq!(bench.level(LED), Level::High);
    assert!(matches!(agent.write(seconds(1), ben().caller(), LED, false, None), Err(Refusal::Held { .. })));
    agent.write(seconds(2), anna().caller(), LED, false, None).unwrap();
    assert_eq!(bench.level(LED), Level::Low);
}

#[test]
fn an_input_is_not_written() {
    let (mut agent, _) = agent();
    for config in [LineConfig::input(), LineConfig::as_is()] {
        agent.claim(T0, anna().caller(), LED, Claim::permanent(config)).unwrap();
        assert!(matches!(
            agent.write(T0, anna().caller(), LED, true, None),
            Err(Refusal::WrongDirection { line: LED })
        ));
        assert!(matches!(agent.toggle(T0, anna().caller(), LED, None), Err(Refusal::WrongDirection { line: LED })));
    }
}

#[test]
fn writing_honours_active_low() {
    let (mut agent, bench) = agent();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(LineConfig::output(false).active_low())).unwrap();
    assert_eq!(bench.level(LED), Level::High);
    agent.write(T0, anna().caller(), LED, true, None).unwrap();
    assert_eq!(bench.level(LED), Level::Low);
}

#[test]
fn toggling_inverts_what_was_written_or_seen() {
    let (mut agent, bench) = agent();
    bench.drive(LED, Some(true));
    bench.drive(LED, None); // back to its pull: low
    assert!(agent.toggle(T0, anna().caller(), LED, None).unwrap());
    assert!(!agent.toggle(T0, anna().caller(), LED, None).unwrap());
    assert_eq!(bench.level(LED), Level::Low);
}

#[test]
fn toggling_an_open_drain_goes_by_what_was_written() {
    let (mut agent, bench) = agent();
    bench.drive(LED, Some(false)); // somebody else pulls the wire low
    agent
        .claim(T0, anna().caller(), LED, Claim::permanent(LineConfig::output(true).with_drive(Drive::OpenDrain)))
        .unwrap();
    assert!(!agent.toggle(T0, anna().caller(), LED, None).unwrap());
    assert!(agent.toggle(T0, anna().caller(), LED, None).unwrap());
}

#[test]
fn several_lines_are_written_together() {
    let (mut agent, bench) = agent();
    agent.write(T0, anna().caller(), LED, false, None).unwrap();
    agent.write_all(T0, anna().caller(), &writes(&[(LED, true), (RELAY, true), (LineId(0), false)])).unwrap();
    assert_eq!([LED, RELAY, LineId(0)].map(|line| bench.level(line)), [Level::High, Level::High, Level::Low]);
    agent.write_all(T0, anna().caller(), &writes(&[])).unwrap();
    assert_eq!(agent.held_count(), 3);
}

#[test]
fn one_refused_line_keeps_all_from_being_written() {
    let (mut agent, bench) = agent();
    agent.claim(T0, ben().caller(), RELAY, Claim::permanent(LineConfig::output(false))).unwrap();
    agent.claim(T0, anna().caller(), LineId(6), Claim::permanent(LineConfig::input())).unwrap();
    let refused = |agent: &mut Agent<SimBoard>, last| {
        agent.write_all(T0, anna().caller(), &writes(&[(LED, true), last])).unwrap_err()
    };
    assert!(matches!(refused(&mut agent, (RELAY, true)), Refusal::Held { line: RELAY, .. }));
    assert!(matches!(refused(&mut agent, (KEPT, true)), Refusal::NotAllowed { line: KEPT }));
    assert!(matches!(refused(&mut agent, (LineId(40), true)), Refusal::UnknownLine { .. }));
    assert!(matches!(refused(&mut agent, (LineId(6), true)), Refusal::WrongDirection { line: LineId(6) }));
    assert!(matches!(refused(&mut agent, (LED, false)), Refusal::DuplicateLine { line: LED }));
    assert_eq!(bench.history(LED).len(), 1); // nothing since reset
    assert_eq!(agent.held_count(), 2);
}

#[test]
fn a_failing_line_takes_the_others_back() {
    let (mut agent, bench) = agent();
    agent.write(T0, anna().caller(), LED, false, None).unwrap();
    bench.fail_next(RELAY, FaultKind::Busy);
    let refused = agent.write_all(T0, anna().caller(), &writes(&[(LED, true), (LineId(6), false), (RELAY, true)]));
    assert!(matches!(refused, Err(Refusal::Hardware { line: RELAY, kind: FaultKind::Busy, .. })));
    assert_eq!(bench.level(LED), Level::Low);
    assert_eq!(bench.level(LineId(6)), Level::High); // an input again, pulled up as at reset
    assert_eq!(agent.held_count(), 1);
}
