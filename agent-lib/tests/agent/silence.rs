//! F8 in virtual time: of many holders on one board, those who fall silent lose their lines on time, the others nothing.

use std::collections::BTreeMap;

use hal_core::LineConfig;
use sim::Level;

use crate::chance::Chance;
use crate::*;

const TTL: Duration = Duration::from_secs(2);
const HOLDERS: u16 = 500;
const OTHERS: u16 = 50;

fn many_lines(profile: Profile) -> (Agent<SimBoard>, Bench) {
    let lines = HOLDERS + OTHERS;
    let board = SimBoard::builder().lines(lines).profile(profile).build();
    let safe = (0..HOLDERS).map(|line| (LineId(line), SafeState::Low)).collect();
    let policy = Policy::new((0..lines).map(LineId).collect(), BTreeMap::new(), safe).unwrap();
    let bench = board.bench();
    (Agent::new(board, policy), bench)
}

#[test]
fn five_hundred_silent_holders_leave_safe_lines_on_time() {
    let mut chance = Chance::new("silent holders");
    for profile in PROFILES {
        let (mut agent, bench) = many_lines(profile);
        for line in 0..OTHERS {
            agent.write(T0, ben().caller(), LineId(HOLDERS + line), true, None).unwrap();
        }
        let mut last_heard = BTreeMap::new();
        for line in (0..HOLDERS).map(LineId) {
            let holder = Holder::new(format!("operator/{line}")).unwrap();
            let now = bench.clock().now().saturating_add(Duration::from_micros(chance.below(3_000)));
            pass(&mut agent, &bench, now);
            agent.claim(now, holder.caller(), line, Claim::leased(LineConfig::output(true), TTL, None)).unwrap();
            last_heard.insert(line, (holder, now));
        }
        let silent_from = bench.clock().now();
        for (line, (holder, heard)) in &mut last_heard {
            let now = silent_from.saturating_add(Duration::from_micros(chance.below(200)));
            if chance.coin() && now >= bench.clock().now() {
                pass(&mut agent, &bench, now);
                agent.keepalive(now, holder.caller(), *line, None).unwrap();
                *heard = now;
            }
        }
        pass(&mut agent, &bench, silent_from.saturating_add(Duration::from_secs(10)));
        for (line, (_, heard)) in last_heard {
            let safe = (heard.saturating_add(TTL), Level::Low);
            assert_eq!(bench.history(line).last(), Some(&safe), "{line}: safe exactly when the lease ran out");
        }
        let touched = (0..OTHERS).filter(|line| bench.history(LineId(HOLDERS + line)).len() != 1);
        assert_eq!((touched.count(), agent.held_count()), (0, usize::from(OTHERS))); // from floating to high, and nothing since
    }
}
