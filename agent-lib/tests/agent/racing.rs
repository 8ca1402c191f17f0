//! F11 and F12: two callers race for one line; a write arrives after its lease.

use agent_lib::{Grant, Refusal, Token};
use hal_core::LineConfig;
use sim::Level;

use crate::chance::Chance;
use crate::*;

const TTL: Duration = Duration::from_millis(100);
const LENT: Claim = Claim::leased(LineConfig::output(true), TTL, Some(SafeState::Low));

/// What one of the two believes to hold, as a remote controller does: by what it was told, not by asking again.
#[derive(Default)]
struct Racer {
    token: Option<Token>,
    /// Its own clock's view of the end of its lease.
    until: Option<Instant>,
}

#[test]
fn two_callers_never_hold_one_line() {
    let mut chance = Chance::new("race");
    for profile in PROFILES {
        let (mut agent, bench) = agent_on(profile, []);
        let names = [anna(), ben()];
        let mut racers = [Racer::default(), Racer::default()];
        let (mut highest, mut lost, mut won) = (Token(0), 0_u32, 0_u32);
        for _ in 0..10_000 {
            let now = bench.clock().now().saturating_add(Duration::from_micros(chance.below(40_000)));
            if chance.coin() {
                pass(&mut agent, &bench, now); // the host's timer was in time; else the call finds the expiry itself
            } else {
                bench.clock().advance(now.saturating_since(bench.clock().now()));
            }
            let me = usize::from(chance.coin());
            let live = racers.each_ref().map(|racer| racer.until.is_some_and(|until| now < until));
            assert_ne!(live, [true, true], "two live leases");
            let other_live = live[1 - me];
            if live[me] {
                let done = match chance.below(3) {
                    0 => agent.write(now, names[me].caller(), LED, true, racers[me].token),
                    1 => agent.keepalive(now, names[me].caller(), LED, racers[me].token).map(drop),
                    _ => agent.release(now, names[me].caller(), LED, racers[me].token),
                };
                done.unwrap();
                let grant = agent.grant(&names[me], LED);
                racers[me].until = grant.and_then(|grant| grant.expires);
                continue;
            }
            if let Some(token) = racers[me].token.filter(|_| chance.coin()) {
                let late = agent.write(now, names[me].caller(), LED, true, Some(token)).unwrap_err();
                assert!(matches!(late, Refusal::LeaseExpired { .. } | Refusal::StaleToken { .. }), "{late:?}");
            }
            match agent.claim(now, names[me].caller(), LED, LENT) {
                Ok(Grant { token, expires, .. }) => {
                    assert!(!other_live && token > highest, "{token} after {highest}");
                    (highest, won) = (token, won + 1);
                    racers[me] = Racer { token: Some(token), until: expires };
                }
                Err(Refusal::Held { holder, lease_left, .. }) => {
                    assert!(other_live && holder == names[1 - me] && lease_left > Some(Duration::ZERO));
                    lost += 1;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        println!("{profile:?}: {won} claims won, {lost} lost");
        assert!(won > 1_000 && lost > 1_000);
    }
}

#[test]
fn a_write_from_before_is_refused_by_its_token() {
    let mut chance = Chance::new("late writes");
    let (mut agent, bench) = agent();
    for round in 0..1_000_u64 {
        let now = bench.clock().now();
        let old = agent.claim(now, anna().caller(), LED, LENT).unwrap().token;
        pass(&mut agent, &bench, now.saturating_add(Duration::from_secs(5)));
        let next = [anna(), ben()][usize::from(chance.coin())].clone(); // also who was late themselves
        let now = bench.clock().now();
        let low = Claim { config: LineConfig::output(false), ..LENT };
        let new = agent.claim(now, next.caller(), LED, low).unwrap().token;
        let late = agent.write(now, anna().caller(), LED, true, Some(old));
        let Err(Refusal::StaleToken { given, current, .. }) = late else { panic!("round {round}: {late:?}") };
        assert_eq!((given, current, bench.level(LED)), (old, Some(new), Level::Low));
        agent.release(now, next.caller(), LED, Some(new)).unwrap();
    }
}
