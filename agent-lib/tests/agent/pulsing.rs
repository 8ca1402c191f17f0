//! Pulses: on absolute time, and never left active.

use agent_lib::{Pulse, Refusal};
use hal_core::{FaultKind, LineConfig};
use sim::Level;

use crate::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const DOOR: Pulse = Pulse::once(Duration::from_millis(500));

/// When the line went high and low, in milliseconds.
fn seen(bench: &Bench) -> Vec<(u64, bool)> {
    let history = bench.history(LED).into_iter().skip(1); // its level at reset
    history.map(|(at, level)| (at.as_nanos() / 1_000_000, level == Level::High)).collect()
}

#[test]
fn a_pulse_ends_by_itself_and_frees_what_it_took() {
    for profile in PROFILES {
        let (mut agent, bench) = agent_on(profile, []);
        agent.pulse(T0, anna().caller(), LED, DOOR, None).unwrap();
        assert!(agent.read(T0, LED).unwrap().pulsing);
        pass(&mut agent, &bench, seconds(1));
        assert_eq!(seen(&bench), [(0, true), (500, false)]);
        assert_eq!(events(&mut agent), [Event::PulseDone { line: LED, missed: 0 }, Event::Freed { line: LED }]);
        assert_eq!((agent.held_count(), agent.poll_timeout()), (0, None));
    }
}

#[test]
fn a_held_line_stays_held() {
    let (mut agent, bench) = agent();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(LineConfig::output(false))).unwrap();
    agent.pulse(T0, anna().caller(), LED, DOOR, None).unwrap();
    pass(&mut agent, &bench, seconds(1));
    assert_eq!((bench.level(LED), agent.held_count()), (Level::Low, 1));
    assert!(!agent.read(seconds(1), LED).unwrap().pulsing);
}

#[test]
fn a_train_keeps_to_its_timetable_with_a_late_host() {
    let (mut agent, bench) = agent();
    let train = Pulse { active: ms(30), count: 4, gap: ms(70) };
    agent.pulse(T0, anna().caller(), LED, train, None).unwrap();
    for late in [35, 101, 137, 208, 230, 309, 330] {
        bench.clock().advance(millis(late).saturating_since(bench.clock().now()));
        agent.handle_timeout(millis(late));
        assert!(agent.poll_timeout().is_none_or(|next| next.as_nanos() % 100_000_000 % 30_000_000 == 0));
    }
    let due = [(0, true), (35, false), (101, true), (137, false), (208, true), (230, false), (309, true), (330, false)];
    assert_eq!(seen(&bench), due);
    assert_eq!(events(&mut agent)[0], Event::PulseDone { line: LED, missed: 0 });
}

#[test]
fn missed_pulses_are_counted_and_not_made_up_for() {
    let (mut agent, bench) = agent();
    let train = Pulse { active: ms(10), count: 10, gap: ms(10) };
    agent.pulse(T0, anna().caller(), LED, train, None).unwrap();
    bench.clock().advance(ms(95)); // step 9 is due: pulses 2 to 5 are over
    agent.handle_timeout(millis(95));
    pass(&mut agent, &bench, seconds(1));
    assert_eq!(events(&mut agent)[0], Event::PulseDone { line: LED, missed: 4 });
    let highs = seen(&bench).iter().filter(|(_, high)| *high).count();
    assert_eq!(highs, 6);
}

#[test]
fn ten_thousand_pulses_do_not_drift() {
    let (mut agent, bench) = agent();
    let train = Pulse { active: ms(1), count: 10_000, gap: ms(2) };
    agent.pulse(T0, anna().caller(), LED, train, None).unwrap();
    pass(&mut agent, &bench, seconds(60));
    assert_eq!(seen(&bench).last(), Some(&(9_999 * 3 + 1, false)));
    assert_eq!(events(&mut agent)[0], Event::PulseDone { line: LED, missed: 0 });
}

#[test]
fn a_lease_that_runs_out_cuts_the_pulse() {
    for safe in [SafeState::Low, SafeState::Hold, SafeState::Input] {
        let (mut agent, bench) = agent();
        let lent = Claim::leased(LineConfig::output(false), ms(200), Some(safe));
        agent.claim(T0, anna().caller(), LED, lent).unwrap();
        agent.pulse(T0, anna().caller(), LED, DOOR, None).unwrap();
        pass(&mut agent, &bench, seconds(1));
        assert_eq!(seen(&bench), [(0, true), (200, false)], "{safe:?}");
        assert!(matches!(events(&mut agent)[..], [Event::Expired { .. }, Event::Freed { .. }]));
    }
}

#[test]
fn a_borrowed_line_lasts_as_long_as_its_pulse() {
    let (mut agent, bench) = agent_with_safe_states([(LED, SafeState::Low)]);
    let grant = agent.pulse(T0, anna().caller(), LED, Pulse::once(ms(120_000)), None).unwrap();
    assert_eq!(grant.expires, Some(seconds(120)));
    pass(&mut agent, &bench, seconds(200));
    assert_eq!(seen(&bench), [(0, true), (120_000, false)]);
    assert_eq!(events(&mut agent), [Event::PulseDone { line: LED, missed: 0 }, Event::Freed { line: LED }]);
}

#[test]
fn other_operations_end_a_pulse() {
    type Act = fn(&mut Agent<SimBoard>);
    let acts: [(Act, bool); 5] = [
        (|agent| agent.write(millis(100), anna().caller(), LED, true, None).unwrap(), true),
        (|agent| agent.release(millis(100), anna().caller(), LED, None).unwrap(), false),
        (|agent| agent.configure(millis(100), anna().caller(), LED, LineConfig::as_is(), None).unwrap(), false),
        (|agent| _ = agent.claim(millis(100), anna().caller(), LED, Claim::default()).unwrap(), false),
        (|agent| _ = agent.release_all(millis(100)), false),
    ];
    for (act, high) in acts {
        let (mut agent, bench) = agent();
        agent.pulse(T0, anna().caller(), LED, DOOR, None).unwrap();
        bench.clock().advance(ms(100));
        act(&mut agent);
        assert_eq!(bench.level(LED) == Level::High, high);
        pass(&mut agent, &bench, seconds(2));
        assert!(!events(&mut agent).iter().any(|event| matches!(event, Event::PulseDone { .. })));
        assert_eq!(bench.level(LED) == Level::High, high);
    }
}

#[test]
fn a_new_pulse_replaces_the_old_and_still_frees_the_line() {
    let (mut agent, bench) = agent();
    agent.pulse(T0, anna().caller(), LED, DOOR, None).unwrap();
    pass(&mut agent, &bench, millis(400));
    agent.pulse(millis(400), anna().caller(), LED, DOOR, None).unwrap();
    pass(&mut agent, &bench, seconds(2));
    assert_eq!(seen(&bench), [(0, true), (900, false)]);
    assert_eq!(agent.held_count(), 0);
}

#[test]
fn an_end_that_fails_is_tried_again() {
    let (mut agent, bench) = agent();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(LineConfig::output(false))).unwrap();
    agent.pulse(T0, anna().caller(), LED, DOOR, None).unwrap();
    bench.fail_next(LED, FaultKind::Bus);
    pass(&mut agent, &bench, seconds(2));
    assert_eq!(seen(&bench), [(0, true), (600, false)]);
    let failed = Event::SafeFailed { line: LED, kind: FaultKind::Bus };
    assert_eq!(events(&mut agent), [failed, Event::PulseDone { line: LED, missed: 0 }]);
}

#[test]
fn a_pulse_stays_in_range() {
    let (mut agent, _) = agent();
    let hour = ms(3_600_000);
    for pulse in [
        Pulse::once(Duration::ZERO),
        Pulse::once(Duration::from_micros(999)),
        Pulse::once(hour + ms(1)),
        Pulse::once(Duration::MAX),
        Pulse { active: ms(5), count: 0, gap: ms(5) },
        Pulse { active: ms(5), count: 10_001, gap: ms(5) },
        Pulse { active: ms(5), count: 2, gap: Duration::ZERO },
        Pulse { active: ms(5), count: 2, gap: Duration::MAX },
        Pulse { active: hour, count: 13, gap: hour },
        Pulse { active: Duration::MAX, count: u32::MAX, gap: Duration::MAX },
    ] {
        let refused = agent.pulse(T0, anna().caller(), LED, pulse, None);
        assert!(matches!(refused, Err(Refusal::PulseOutOfRange { line: LED })), "{pulse:?}");
    }
    agent.pulse(T0, anna().caller(), LED, Pulse { active: hour, count: 12, gap: hour }, None).unwrap();
    agent.pulse(T0, anna().caller(), LED, Pulse { active: hour, count: 1, gap: Duration::MAX }, None).unwrap();
}
