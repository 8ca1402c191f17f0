//! On what terms lines are lent.

use agent_lib::{Grant, Lease, Refusal, Token};
use hal_core::LineConfig;

use crate::*;

const OUT: LineConfig = LineConfig::output(true);

fn lent(ttl: Duration, safe: Option<SafeState>) -> Claim {
    Claim::leased(OUT, ttl, safe)
}

#[test]
fn a_lease_is_neither_too_short_nor_too_long() {
    let (mut agent, _) = agent();
    let mut ask = |ttl| agent.claim(T0, anna().caller(), LED, lent(ttl, Some(SafeState::Low)));
    let (shortest, longest) = (*Lease::RANGE.start(), *Lease::RANGE.end());
    let tick = Duration::from_nanos(1);
    for ttl in [shortest - tick, longest + tick, Duration::ZERO] {
        assert!(matches!(ask(ttl), Err(Refusal::LeaseOutOfRange { line: LED, ttl: told }) if told == ttl));
    }
    assert!(ask(shortest).is_ok() && ask(longest).is_ok());
}

#[test]
fn a_lease_says_how_the_line_is_left_unless_the_policy_does() {
    let (mut agent, _) = agent_with_safe_states([(RELAY, SafeState::Low)]);
    let ttl = Duration::from_secs(1);
    let refused = agent.claim(T0, anna().caller(), LED, lent(ttl, None));
    assert!(matches!(refused, Err(Refusal::SafeStateRequired { line: LED })));
    agent.claim(T0, anna().caller(), LED, lent(ttl, Some(SafeState::Hold))).unwrap();
    agent.claim(T0, anna().caller(), RELAY, lent(ttl, None)).unwrap();
}

#[test]
fn a_line_that_matters_is_not_given_for_good_without_the_right() {
    let (mut agent, _) = agent_with_safe_states([(RELAY, SafeState::Low)]);
    let refused = agent.claim(T0, anna().caller(), RELAY, Claim::permanent(OUT)).unwrap_err();
    assert_eq!(refused.to_string(), "GPIO17 may not be held for good by this caller; claim it with a lease");
    let caller = anna();
    let caller = caller.caller().with_rights(Rights { permanent: true, steal: false });
    assert_eq!(agent.claim(T0, caller, RELAY, Claim::permanent(OUT)).unwrap().expires, None);
    agent.claim(T0, anna().caller(), LED, Claim::permanent(OUT)).unwrap(); // it does not matter
}

#[test]
fn a_bare_write_borrows_what_matters_and_keeps_the_rest() {
    let (mut agent, bench) = agent_with_safe_states([(RELAY, SafeState::Low)]);
    agent.write(T0, anna().caller(), RELAY, true, None).unwrap();
    agent.toggle(T0, anna().caller(), LED, None).unwrap();
    assert_eq!(agent.grant(&anna(), RELAY).unwrap().expires, Some(seconds(60)));
    assert_eq!(agent.grant(&anna(), LED).unwrap().expires, None);
    pass(&mut agent, &bench, seconds(3600));
    assert!(agent.grant(&anna(), RELAY).is_none() && agent.grant(&anna(), LED).is_some());
}

#[test]
fn the_list_tells_the_terms() {
    let (mut agent, _) = agent_with_safe_states([(RELAY, SafeState::High)]);
    agent.write(T0, anna().caller(), RELAY, true, None).unwrap();
    let claim = lent(Duration::from_secs(5), Some(SafeState::Hold));
    agent.claim(T0, anna().caller(), LED, claim).unwrap();
    let lease = |agent: &Agent<_>, line| {
        let held = agent.list(seconds(2)).into_iter().find(|status| status.line == line).unwrap().held.unwrap();
        held.lease.map(|lease| (lease.ttl.as_secs(), lease.left.as_secs(), lease.safe))
    };
    assert_eq!(lease(&agent, RELAY), Some((60, 58, SafeState::High)));
    assert_eq!(lease(&agent, LED), Some((5, 3, SafeState::Hold)));
}

#[test]
fn tokens_rise_from_where_the_host_says() {
    let (agent, _) = agent();
    let mut agent = agent.with_first_token(1_000);
    let mut claim = |line| agent.claim(T0, anna().caller(), line, Claim::permanent(OUT)).unwrap();
    let tokens = [claim(LED), claim(RELAY), claim(LED)].map(|Grant { token, .. }| token);
    assert!(tokens[0] >= Token(1_000) && tokens.is_sorted() && tokens[0] != tokens[1] && tokens[1] != tokens[2]);
    let stale = agent.write(T0, anna().caller(), LED, true, Some(tokens[0]));
    let Err(Refusal::StaleToken { line: LED, given, current }) = stale else { panic!("{stale:?}") };
    assert_eq!((given, current), (tokens[0], Some(tokens[2])));
    agent.write(T0, anna().caller(), LED, true, Some(tokens[2])).unwrap();
}

#[test]
fn every_call_of_a_holder_can_be_fenced() {
    let (mut agent, _) = agent();
    let wrong = Some(Token(99));
    let who = anna();
    let who = who.caller();
    agent.write(T0, who, LED, true, None).unwrap();
    let pulse = agent_lib::Pulse::once(Duration::from_secs(1));
    let attempts = [
        agent.write(T0, who, LED, false, wrong),
        agent.write_all(T0, who, &[LineWrite { line: LED, level: false, token: wrong }]),
        agent.toggle(T0, who, LED, wrong).map(drop),
        agent.configure(T0, who, LED, LineConfig::input(), wrong),
        agent.keepalive(T0, who, LED, wrong).map(drop),
        agent.pulse(T0, who, LED, pulse, wrong).map(drop),
        agent.release(T0, who, LED, wrong),
        agent.write(T0, who, RELAY, true, wrong), // a free line has no token
    ];
    for refused in attempts {
        assert!(matches!(refused, Err(Refusal::StaleToken { .. })), "{refused:?}");
    }
    assert!(agent.read(T0, LED).unwrap().level);
}
