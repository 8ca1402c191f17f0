//! Claiming, configuring, reading, listing.

use agent_lib::Refusal;
use hal_core::{Bias, Board, Direction, FaultKind, LineConfig, LineId};
use sim::Level;

use crate::*;

#[test]
fn a_second_holder_learns_of_the_first() {
    let (mut agent, _) = agent();
    agent.claim(T0, anna().caller(), RELAY, Claim::permanent(LineConfig::output(true))).unwrap();
    let attempts = [
        agent.claim(seconds(12), ben().caller(), RELAY, Claim::permanent(LineConfig::input())).map(drop),
        agent.configure(seconds(12), ben().caller(), RELAY, LineConfig::input(), None),
        agent.write(seconds(12), ben().caller(), RELAY, false, None),
        agent.toggle(seconds(12), ben().caller(), RELAY, None).map(drop),
        agent.release(seconds(12), ben().caller(), RELAY, None),
    ];
    for refused in attempts {
        let told = refused.unwrap_err().to_string();
        assert_eq!(told, "GPIO17 is held by operator/anna for 12 s; ask them to release it");
    }
    assert!(agent.read(T0, RELAY).unwrap().level);
}

#[test]
fn checks_come_in_order() {
    let (mut agent, bench) = agent();
    bench.fail_next(KEPT, FaultKind::Denied);
    let nowhere = agent.claim(T0, anna().caller(), LineId(28), Claim::permanent(LineConfig::input()));
    assert!(matches!(nowhere, Err(Refusal::UnknownLine { .. })));
    let kept = agent.claim(T0, anna().caller(), KEPT, Claim::permanent(LineConfig::input()));
    assert!(matches!(kept, Err(Refusal::NotAllowed { line: KEPT })));
    let free = agent.configure(T0, anna().caller(), LED, LineConfig::input(), None);
    assert!(matches!(free, Err(Refusal::NotHeld { line: LED })));
}

#[test]
fn a_denied_line_is_not_even_read() {
    let (mut agent, _) = agent();
    assert!(matches!(agent.read(T0, KEPT), Err(Refusal::NotAllowed { line: KEPT })));
    assert!(matches!(agent.write(T0, anna().caller(), KEPT, true, None), Err(Refusal::NotAllowed { line: KEPT })));
    assert!(!agent.board().info(KEPT).unwrap().used);
}

#[test]
fn claiming_twice_reconfigures() {
    let (mut agent, bench) = agent();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(LineConfig::output(true))).unwrap();
    agent.claim(seconds(1), anna().caller(), LED, Claim::permanent(LineConfig::output(false))).unwrap();
    assert_eq!(bench.level(LED), Level::Low);
    agent.configure(seconds(2), anna().caller(), LED, LineConfig::input().with_bias(Bias::PullUp), None).unwrap();
    assert!(agent.read(seconds(2), LED).unwrap().level);
    assert_eq!(agent.held_count(), 1);
}

#[test]
fn wired_lines_read_each_other() {
    let (mut agent, _) = agent();
    agent.claim(T0, ben().caller(), SENSE, Claim::permanent(LineConfig::input())).unwrap();
    for level in [true, false] {
        agent.write(T0, anna().caller(), RELAY, level, None).unwrap();
        assert_eq!(agent.read(T0, SENSE).unwrap().level, level);
    }
}

#[test]
fn active_low_shows_in_the_reading() {
    let (mut agent, bench) = agent();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(LineConfig::output(true).active_low())).unwrap();
    let reading = agent.read(T0, LED).unwrap();
    assert_eq!((reading.line, reading.level, reading.raw), (LED, true, false));
    assert_eq!(bench.level(LED), Level::Low);
}

#[test]
fn reading_never_turns_an_output_into_an_input() {
    let (mut agent, bench) = agent();
    drop(agent.board_mut().claim(LED, LineConfig::output(true), "an earlier program").unwrap());
    assert!(agent.read(T0, LED).unwrap().raw);
    assert_eq!(agent.board().info(LED).unwrap().direction, Direction::Output);
    assert_eq!((bench.level(LED), agent.held_count()), (Level::High, 0));
}

#[test]
fn a_line_of_another_program_is_busy() {
    let (mut agent, _) = agent();
    let _theirs = agent.board_mut().claim(LED, LineConfig::input(), "gpiomon").unwrap();
    let refused = agent.write(T0, anna().caller(), LED, true, None).unwrap_err();
    assert!(matches!(refused, Refusal::Hardware { line: LED, kind: FaultKind::Busy, .. }));
    assert!(std::error::Error::source(&refused).unwrap().to_string().contains("gpiomon"));
}

#[test]
fn the_list_tells_all_of_every_allowed_line() {
    let (mut agent, _) = agent();
    agent.claim(seconds(1), anna().caller(), RELAY, Claim::permanent(LineConfig::output(true))).unwrap();
    let list = agent.list(seconds(4));
    assert_eq!(list.len(), 27);
    let relay = list.iter().find(|status| status.line == RELAY).unwrap();
    let held = relay.held.as_ref().unwrap();
    assert_eq!((held.holder.as_str(), held.held_for.as_secs()), ("operator/anna", 3));
    assert_eq!(held.config, LineConfig::output(true));
    assert_eq!(
        (relay.header_pin, relay.aliases.as_slice()),
        (Some(11), &["pump".to_string(), "relay".to_string()][..])
    );
    assert_eq!(&*relay.info.unwrap().consumer, "operator/anna");
    assert!(list.iter().filter(|status| status.line != RELAY).all(|status| status.held.is_none()));
}
