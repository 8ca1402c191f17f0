//! Taking a line from its holder.

use agent_lib::Refusal;
use hal_core::{FaultKind, LineConfig};
use sim::Level;

use crate::*;

const THEFT: Claim = Claim::permanent(LineConfig::as_is()).stealing();

fn held_by_anna() -> (Agent<SimBoard>, Bench) {
    let (mut agent, bench) = agent_with_safe_states([(LED, SafeState::Low)]);
    agent.write(T0, anna().caller(), LED, true, None).unwrap();
    (agent, bench)
}

#[test]
fn stealing_takes_the_right() {
    let (mut agent, bench) = held_by_anna();
    let permanent = Rights { permanent: true, steal: false };
    let refused = agent.claim(T0, ben().caller().with_rights(permanent), LED, THEFT);
    assert!(matches!(refused, Err(Refusal::StealNotAllowed { line: LED, holder }) if holder == anna()));
    assert_eq!(bench.level(LED), Level::High);
}

#[test]
fn a_stolen_line_was_made_safe_first() {
    let (mut agent, bench) = held_by_anna();
    let before = agent.grant(&anna(), LED).unwrap().token;
    let grant = agent.claim(seconds(1), ben().caller().with_rights(ALL_RIGHTS), LED, THEFT).unwrap();
    assert!(grant.token > before);
    assert_eq!(bench.level(LED), Level::Low); // as it is: nobody else has driven it
    assert_eq!(events(&mut agent), [Event::Stolen { line: LED, from: anna(), by: ben() }]);
    let late = agent.write(seconds(1), anna().caller(), LED, true, Some(before));
    assert!(matches!(late, Err(Refusal::StaleToken { .. })));
    assert!(matches!(agent.write(seconds(1), anna().caller(), LED, true, None), Err(Refusal::Held { .. })));
}

#[test]
fn what_cannot_be_made_safe_is_not_stolen() {
    let (mut agent, bench) = held_by_anna();
    bench.fail_next(LED, FaultKind::Bus);
    let refused = agent.claim(T0, ben().caller().with_rights(ALL_RIGHTS), LED, THEFT);
    assert!(matches!(refused, Err(Refusal::Hardware { kind: FaultKind::Bus, .. })));
    agent.write(T0, anna().caller(), LED, true, None).unwrap();
    assert_eq!(events(&mut agent), []);
}

#[test]
fn nobody_steals_from_themselves_or_from_nobody() {
    let (mut agent, _) = held_by_anna();
    let anna_may = Rights { permanent: true, steal: false };
    agent.claim(T0, anna().caller().with_rights(anna_may), LED, THEFT).unwrap();
    agent.claim(T0, ben().caller(), RELAY, THEFT).unwrap();
    assert_eq!(events(&mut agent), []);
}
