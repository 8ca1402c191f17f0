//! Signals that the agent makes by hand: on absolute time, and never left running.

use agent_lib::{PwmKind, Refusal, Wave};
use hal_core::{FaultKind, LineConfig, PwmTiming};
use sim::Level;

use crate::*;

/// 100 Hz, three milliseconds of ten high.
const THIRTY: Wave = Wave { frequency_hz: 100.0, duty_ppm: 300_000 };

fn running() -> (Agent<SimBoard>, Bench) {
    let (mut agent, bench) = agent();
    let signal = agent.pwm(T0, anna().caller(), LED, THIRTY, None).unwrap();
    assert_eq!((signal.kind, signal.frequency_hz()), (PwmKind::Software, 100.0));
    (agent, bench)
}

/// When the line changed, in microseconds.
fn seen(bench: &Bench) -> Vec<(u64, bool)> {
    let history = bench.history(LED).into_iter().skip(1); // its level at reset
    history.map(|(at, level)| (at.as_nanos() / 1_000, level == Level::High)).collect()
}

fn missed(agent: &mut Agent<SimBoard>) -> Vec<u64> {
    let missed = |event| if let Event::PwmMissed { missed, .. } = event { Some(missed) } else { None };
    events(agent).into_iter().filter_map(missed).collect()
}

#[test]
fn its_edges_do_not_drift() {
    let (mut agent, bench) = running();
    pass(&mut agent, &bench, seconds(10));
    let seen = seen(&bench);
    assert_eq!(seen.len(), 2_001);
    assert!((0..).zip(&seen).all(|(edge, at)| *at == (edge / 2 * 10_000 + edge % 2 * 3_000, edge % 2 == 0)));
    assert_eq!((bench.pwm(LED), missed(&mut agent)), (PwmTiming::new(10_000_000, 3_000_000), vec![]));
}

#[test]
fn a_late_host_shifts_single_edges_and_what_is_missed_is_told() {
    let (mut agent, bench) = running();
    for late_us in [3_400, 10_100, 13_000, 20_900] {
        bench.clock().advance(Duration::from_micros(late_us) - Duration::from_nanos(bench.clock().now().as_nanos()));
        agent.handle_timeout(bench.clock().now());
    }
    assert_eq!(seen(&bench), [(0, true), (3_400, false), (10_100, true), (13_000, false), (20_900, true)]);
    assert_eq!((agent.poll_timeout(), missed(&mut agent)), (Some(millis(23)), vec![]));
    bench.clock().advance(Duration::from_micros(52_100)); // at 73 ms: 23 to 70 are over, and 73 is made
    agent.handle_timeout(millis(73));
    assert_eq!(missed(&mut agent), [10]);
    bench.clock().advance(Duration::from_millis(27)); // 80, 83, 90, 93 are over, and 100 is made: not told again yet
    agent.handle_timeout(millis(100));
    assert_eq!(missed(&mut agent), []);
    agent.write(millis(100), anna().caller(), LED, false, None).unwrap();
    assert_eq!(missed(&mut agent), [4]);
}

#[test]
fn a_change_waits_for_the_period_to_end() {
    let (mut agent, bench) = running();
    pass(&mut agent, &bench, millis(1));
    let slower = Wave { frequency_hz: 50.0, duty_ppm: 500_000 };
    let signal = agent.pwm(millis(1), anna().caller(), LED, slower, None).unwrap();
    assert_eq!(signal.frequency_hz(), 50.0);
    assert_eq!(agent.read(millis(1), LED).unwrap().pwm, Some(signal));
    pass(&mut agent, &bench, millis(35));
    assert_eq!(seen(&bench), [(0, true), (3_000, false), (10_000, true), (20_000, false), (30_000, true)]);
}

#[test]
fn it_restarts_nothing_else() {
    let (mut agent, bench) = running();
    let lent = Claim::leased(LineConfig::output(true), Duration::from_millis(2_001), Some(SafeState::Low));
    agent.claim(T0, ben().caller(), RELAY, lent).unwrap();
    let pulse = agent_lib::Pulse::once(Duration::from_millis(777));
    agent.pulse(T0, ben().caller(), LineId(9), pulse, None).unwrap();
    pass(&mut agent, &bench, seconds(3));
    assert_eq!(bench.history(RELAY).last(), Some(&(millis(2_001), Level::Low)));
    assert_eq!(bench.history(LineId(9)).last(), Some(&(millis(777), Level::Low)));
}

#[test]
fn a_lease_that_runs_out_makes_it_safe_at_once() {
    for (safe, level) in [
        (SafeState::Low, Level::Low),
        (SafeState::High, Level::High),
        (SafeState::Hold, Level::Low),
        (SafeState::Input, Level::Low), // the chip's pull at reset
    ] {
        let (mut agent, bench) = agent_with_safe_states([(LED, safe)]);
        agent.pwm(T0, anna().caller(), LED, THIRTY, None).unwrap();
        bench.clock().advance(Duration::from_secs(59));
        agent.keepalive(seconds(59), anna().caller(), LED, None).unwrap();
        _ = events(&mut agent);
        pass(&mut agent, &bench, seconds(119).saturating_add(Duration::from_millis(1)));
        assert_eq!((bench.level(LED), agent.held_count(), agent.poll_timeout()), (level, 0, None), "{safe:?}");
        let (at, _) = *bench.history(LED).last().unwrap();
        assert!(at <= seconds(119), "{safe:?}: {at:?}");
        let expired = Event::Expired { line: LED, holder: anna(), safe };
        assert_eq!(events(&mut agent), [expired, Event::Freed { line: LED }]);
    }
}

#[test]
fn whatever_the_holder_does_next_ends_it_at_a_level() {
    type Act = fn(&mut Agent<SimBoard>);
    let acts: [(Act, Level); 6] = [
        (|agent| agent.write(millis(1), anna().caller(), LED, true, None).unwrap(), Level::High),
        (|agent| assert!(!agent.toggle(millis(1), anna().caller(), LED, None).unwrap()), Level::Low),
        (
            |agent| agent.configure(millis(1), anna().caller(), LED, LineConfig::output(true), None).unwrap(),
            Level::High,
        ),
        (|agent| agent.configure(millis(1), anna().caller(), LED, LineConfig::input(), None).unwrap(), Level::Low),
        (|agent| agent.release(millis(1), anna().caller(), LED, None).unwrap(), Level::Low),
        (|agent| assert_eq!(agent.release_all(millis(1)).released, [LED]), Level::Low),
    ];
    for (number, (act, level)) in acts.into_iter().enumerate() {
        let (mut agent, bench) = running();
        bench.clock().advance(Duration::from_millis(1));
        act(&mut agent);
        assert_eq!((bench.level(LED), agent.poll_timeout()), (level, None), "{number}");
        pass(&mut agent, &bench, seconds(1));
        assert!(seen(&bench).len() <= 3, "{number}: {:?}", seen(&bench));
    }
    let (mut agent, bench) = running();
    let lent = Claim::leased(LineConfig::as_is(), Duration::from_millis(125), Some(SafeState::Low));
    agent.claim(T0, anna().caller(), LED, lent).unwrap(); // as it is: the signal goes on, on other terms
    pass(&mut agent, &bench, seconds(1));
    assert_eq!(seen(&bench).last(), Some(&(123_000, false)));
    assert_eq!(agent.held_count(), 0);
}

#[test]
fn a_pulse_and_a_signal_replace_each_other() {
    let (mut agent, bench) = running();
    agent.pulse(T0, anna().caller(), LED, agent_lib::Pulse::once(Duration::from_millis(50)), None).unwrap();
    pass(&mut agent, &bench, millis(20));
    assert_eq!(seen(&bench), [(0, true)]);
    agent.pwm(millis(20), anna().caller(), LED, THIRTY, None).unwrap();
    pass(&mut agent, &bench, millis(120));
    assert_eq!(seen(&bench)[..3], [(0, true), (23_000, false), (30_000, true)]);
    assert!(!agent.read(millis(120), LED).unwrap().pulsing);
}

#[test]
fn an_active_low_line_is_active_for_its_share() {
    let (mut agent, bench) = agent();
    let config = LineConfig::output(false).active_low();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(config)).unwrap();
    agent.pwm(T0, anna().caller(), LED, THIRTY, None).unwrap();
    pass(&mut agent, &bench, seconds(1));
    assert_eq!(bench.pwm(LED), PwmTiming::new(10_000_000, 7_000_000));
}

#[test]
fn an_edge_that_fails_is_tried_again_and_told_once() {
    let (mut agent, bench) = running();
    bench.fail_next(LED, FaultKind::Bus);
    pass(&mut agent, &bench, millis(3));
    assert_eq!(bench.level(LED), Level::High);
    assert_eq!(agent.poll_timeout(), Some(millis(103)));
    pass(&mut agent, &bench, millis(150));
    assert_eq!(seen(&bench)[..3], [(0, true), (103_000, false), (110_000, true)]);
    assert_eq!(events(&mut agent)[0], Event::SafeFailed { line: LED, kind: FaultKind::Bus });
}

#[test]
fn an_input_is_not_modulated() {
    let (mut agent, bench) = agent();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(LineConfig::input())).unwrap();
    let refused = agent.pwm(T0, anna().caller(), LED, THIRTY, None);
    assert!(matches!(refused, Err(Refusal::WrongDirection { .. })));
    let refused = agent.pwm(T0, anna().caller(), KEPT, THIRTY, None);
    assert!(matches!(refused, Err(Refusal::NotAllowed { .. })));
    assert_eq!(bench.pwm(LED), None);
}

#[test]
fn watchers_are_told_of_its_beginning_and_its_end() {
    let (mut agent, bench) = agent();
    agent.write(T0, anna().caller(), LED, false, None).unwrap();
    let watch = agent.watch(T0, &[LED], 8, None).unwrap();
    let told = |agent: &mut Agent<SimBoard>| std::iter::from_fn(|| agent.next(watch)).count();
    assert_eq!(told(&mut agent), 1);
    agent.pwm(T0, anna().caller(), LED, THIRTY, None).unwrap();
    pass(&mut agent, &bench, seconds(1));
    agent.write(seconds(1), anna().caller(), LED, false, None).unwrap();
    assert_eq!(told(&mut agent), 2, "not 200");
}
