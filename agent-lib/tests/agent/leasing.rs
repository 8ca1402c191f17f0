//! Leases that run out: safe first, then free, then closed to who was silent.

use agent_lib::Refusal;
use hal_core::{FaultKind, LineConfig};
use sim::Level;

use crate::*;

const TTL: Duration = Duration::from_secs(2);

fn lent(safe: SafeState) -> Claim {
    Claim::leased(LineConfig::output(true), TTL, Some(safe))
}

fn leased() -> (Agent<SimBoard>, Bench) {
    let (mut agent, bench) = agent();
    agent.claim(T0, anna().caller(), LED, lent(SafeState::Low)).unwrap();
    (agent, bench)
}

#[test]
fn silence_ends_in_the_safe_state() {
    let (mut agent, bench) = leased();
    pass(&mut agent, &bench, millis(1_999));
    assert_eq!((bench.level(LED), events(&mut agent)), (Level::High, vec![]));
    pass(&mut agent, &bench, seconds(2));
    assert_eq!((bench.level(LED), agent.held_count(), agent.poll_timeout()), (Level::Low, 0, None));
    let expired = Event::Expired { line: LED, holder: anna(), safe: SafeState::Low };
    assert_eq!(events(&mut agent), [expired, Event::Freed { line: LED }]);
}

#[test]
fn every_operation_renews_and_so_does_a_keepalive() {
    let (mut agent, bench) = leased();
    type Act = fn(&mut Agent<SimBoard>, Instant);
    let acts: [Act; 6] = [
        |agent, now| agent.write(now, anna().caller(), LED, true, None).unwrap(),
        |agent, now| agent.write_all(now, anna().caller(), &writes(&[(LED, true)])).unwrap(),
        |agent, now| _ = agent.toggle(now, anna().caller(), LED, None).unwrap(),
        |agent, now| agent.configure(now, anna().caller(), LED, LineConfig::output(true), None).unwrap(),
        |agent, now| _ = agent.keepalive(now, anna().caller(), LED, None).unwrap(),
        |agent, now| {
            _ = agent.pulse(now, anna().caller(), LED, agent_lib::Pulse::once(Duration::from_millis(5)), None).unwrap()
        },
    ];
    for (round, act) in (1..).zip(acts) {
        let now = millis(1_900 * round);
        pass(&mut agent, &bench, now);
        act(&mut agent, now);
        assert_eq!(agent.grant(&anna(), LED).unwrap().expires, Some(now.saturating_add(TTL)));
    }
}

#[test]
fn a_refused_operation_does_not_renew() {
    let (mut agent, bench) = leased();
    bench.fail_next(LED, FaultKind::Bus);
    assert!(agent.write(seconds(1), anna().caller(), LED, true, None).is_err());
    assert!(agent.write(seconds(1), ben().caller(), LED, true, None).is_err());
    assert_eq!(agent.grant(&anna(), LED).unwrap().expires, Some(seconds(2)));
}

#[test]
fn a_late_heartbeat_never_re_arms() {
    let (mut agent, bench) = leased();
    pass(&mut agent, &bench, seconds(5));
    let who = anna();
    let who = who.caller();
    let attempts = [
        agent.keepalive(seconds(5), who, LED, None).map(drop),
        agent.write(seconds(5), who, LED, true, None),
        agent.write_all(seconds(5), who, &writes(&[(RELAY, true), (LED, true)])),
        agent.toggle(seconds(5), who, LED, None).map(drop),
        agent.configure(seconds(5), who, LED, LineConfig::output(true), None),
        agent.release(seconds(5), who, LED, None),
    ];
    for refused in attempts {
        assert_eq!(refused.unwrap_err().to_string(), "the lease on GPIO22 ran out 3.0 s ago; claim the line again");
    }
    assert_eq!((bench.level(LED), agent.held_count()), (Level::Low, 0));
    agent.claim(seconds(6), who, LED, lent(SafeState::Low)).unwrap();
    agent.write(seconds(6), who, LED, true, None).unwrap();
}

#[test]
fn the_latch_falls_when_anybody_claims() {
    let (mut agent, bench) = leased();
    pass(&mut agent, &bench, seconds(5));
    agent.write(seconds(5), ben().caller(), LED, false, None).unwrap();
    assert!(matches!(agent.write(seconds(5), anna().caller(), LED, true, None), Err(Refusal::Held { .. })));
    agent.release(seconds(5), ben().caller(), LED, None).unwrap();
    agent.write(seconds(5), anna().caller(), LED, true, None).unwrap();
}

/// No handle_timeout at all: the host is late, and somebody else calls first.
#[test]
fn a_call_finds_an_expired_lease_by_itself() {
    let (mut late, bench) = leased();
    assert!(matches!(late.write(seconds(2), anna().caller(), LED, true, None), Err(Refusal::LeaseExpired { .. })));
    assert_eq!(bench.level(LED), Level::Low);
    let (mut late, bench) = leased();
    late.claim(seconds(2), ben().caller(), LED, Claim::permanent(LineConfig::as_is())).unwrap();
    assert_eq!(bench.level(LED), Level::Low); // made safe before it was given away as it is
    let (mut late, bench) = leased();
    assert!(!late.read(seconds(2), LED).unwrap().raw);
    assert_eq!((bench.level(LED), late.held_count()), (Level::Low, 0));
}

#[test]
fn safe_comes_before_free() {
    let (mut agent, bench) = leased();
    let seen = |agent: &mut Agent<SimBoard>| {
        let freed = events(agent).contains(&Event::Freed { line: LED });
        (freed, bench.level(LED))
    };
    assert_eq!(seen(&mut agent), (false, Level::High));
    agent.handle_timeout(seconds(2));
    assert_eq!(seen(&mut agent), (true, Level::Low));
}

#[test]
fn a_line_that_cannot_be_made_safe_is_tried_again_and_kept_from_everybody() {
    for profile in PROFILES {
        let (mut agent, bench) = agent_on(profile, []);
        agent.claim(T0, anna().caller(), LED, lent(SafeState::Low)).unwrap();
        bench.fail_next(LED, FaultKind::Bus);
        pass(&mut agent, &bench, seconds(2));
        assert_eq!(events(&mut agent), [Event::SafeFailed { line: LED, kind: FaultKind::Bus }]);
        let theirs = agent.write(seconds(2), ben().caller(), LED, false, None);
        assert!(matches!(theirs, Err(Refusal::Held { lease_left: Some(Duration::ZERO), .. })), "{theirs:?}");
        let late = agent.write(seconds(2), anna().caller(), LED, true, None);
        assert!(matches!(late, Err(Refusal::LeaseExpired { .. })));
        bench.fail_next(LED, FaultKind::Bus);
        pass(&mut agent, &bench, millis(2_150)); // fails again, and is not told again
        assert_eq!((agent.poll_timeout(), events(&mut agent)), (Some(millis(2_200)), vec![]));
        pass(&mut agent, &bench, millis(2_200));
        assert_eq!((bench.level(LED), agent.held_count()), (Level::Low, 0));
        assert!(matches!(events(&mut agent)[..], [Event::Expired { .. }, Event::Freed { .. }]));
        let late = agent.keepalive(seconds(3), anna().caller(), LED, None);
        assert!(matches!(late, Err(Refusal::LeaseExpired { ago, .. }) if ago == Duration::from_secs(1)));
    }
}

#[test]
fn a_claim_tries_a_failed_line_at_once() {
    let (mut agent, bench) = leased();
    bench.fail_next(LED, FaultKind::Bus);
    pass(&mut agent, &bench, seconds(2));
    bench.fail_next(LED, FaultKind::Bus);
    let claim = Claim::permanent(LineConfig::as_is());
    let refused = agent.claim(millis(2_010), ben().caller(), LED, claim);
    assert!(matches!(refused, Err(Refusal::Hardware { kind: FaultKind::Bus, .. })));
    agent.claim(millis(2_020), ben().caller(), LED, claim).unwrap();
    assert_eq!(bench.level(LED), Level::Low);
}

#[test]
fn a_lease_s_own_safe_state_goes_before_the_policy_s() {
    for leave in [
        |agent: &mut Agent<SimBoard>| agent.handle_timeout(seconds(2)),
        |agent: &mut Agent<SimBoard>| agent.release(T0, anna().caller(), LED, None).unwrap(),
        |agent: &mut Agent<SimBoard>| assert_eq!(agent.release_all(T0).released, [LED]),
    ] {
        let (mut agent, bench) = agent_with_safe_states([(LED, SafeState::Low)]);
        agent.claim(T0, anna().caller(), LED, lent(SafeState::High)).unwrap();
        leave(&mut agent);
        assert_eq!((bench.level(LED), agent.held_count()), (Level::High, 0));
    }
    let (mut agent, bench) = agent_with_safe_states([(LED, SafeState::Low)]);
    agent.claim(T0, anna().caller(), LED, lent(SafeState::High)).unwrap();
    drop(agent);
    assert_eq!(bench.level(LED), Level::High);
}

#[test]
fn a_conflict_tells_what_is_left() {
    let (mut agent, _) = agent();
    agent.claim(T0, anna().caller(), RELAY, lent(SafeState::Low)).unwrap();
    let told = agent.write(millis(500), ben().caller(), RELAY, false, None).unwrap_err().to_string();
    assert_eq!(told, "GPIO17 is held by operator/anna for 0 s, lease 1 s left; ask them to release it or wait");
}
