//! Signals made by the PWM block: in place, leased, fenced, and never left running.

use agent_lib::{Pulse, PwmBlock, PwmKind, PwmRefusal, Refusal, Signal, Token, Wave};
use hal_core::{Board, Direction, FaultKind, LineConfig, PwmTiming};
use sim::Level;

use crate::*;

/// GPIO14 and GPIO18 share channel 2.
const FAN: LineId = LineId(18);
const TWIN: LineId = LineId(14);

/// 25 kHz, a quarter of it high.
const QUARTER: Wave = Wave { frequency_hz: 25_000.0, duty_ppm: 250_000 };

fn quarter() -> Option<PwmTiming> {
    PwmTiming::new(40_000, 10_000)
}

fn with_block<const N: usize>(safe: [(LineId, SafeState); N]) -> (Agent<SimBoard>, Bench) {
    let board = SimBoard::builder().build();
    let (bench, pwm) = (board.bench(), PwmBlock::new(board.pwm()));
    let policy = Policy::new(header::lines().collect(), BTreeMap::new(), safe.into()).unwrap();
    (Agent::new(board, policy).with_pwm(pwm), bench)
}

/// Anna's signal on the fan, without a lease.
fn running() -> (Agent<SimBoard>, Bench) {
    let (mut agent, bench) = with_block([]);
    agent.pwm(T0, anna().caller(), FAN, QUARTER, None).unwrap();
    (agent, bench)
}

/// Whether somebody's program has the line.
fn used(agent: &Agent<SimBoard>, line: LineId) -> bool {
    agent.board().info(line).unwrap().used
}

#[test]
fn a_line_with_a_channel_gets_hardware_and_the_caller_holds_it() {
    let (mut agent, bench) = with_block([]);
    let signal = agent.pwm(T0, anna().caller(), FAN, QUARTER, None).unwrap();
    assert_eq!(signal, Signal { kind: PwmKind::Hardware, timing: quarter().unwrap() });
    assert_eq!((bench.pwm(FAN), agent.poll_timeout()), (quarter(), None));
    let reading = agent.read(T0, FAN).unwrap();
    assert_eq!((reading.level, reading.pwm), (true, Some(signal)));
    let listed = agent.list(T0).into_iter().find(|status| status.line == FAN).unwrap().held.unwrap();
    assert_eq!((listed.holder, listed.pwm), (anna(), Some(signal)));
    let refused = agent.pwm(T0, ben().caller(), FAN, QUARTER, None);
    assert!(matches!(refused, Err(Refusal::Held { line: FAN, .. })));
}

#[test]
fn a_change_is_in_place() {
    let (mut agent, bench) = running();
    let before = bench.pwm_changes(FAN).len();
    let half = Wave { frequency_hz: 0.5, duty_ppm: 500_000 };
    let signal = agent.pwm(T0, anna().caller(), FAN, half, None).unwrap();
    assert!((signal.frequency_hz() - 0.5).abs() < 1e-9);
    let changes = bench.pwm_changes(FAN);
    let since: Vec<_> = changes[before..].iter().map(|change| (change.timing, change.enabled)).collect();
    assert_eq!(since, [(PwmTiming::new(2_000_000_000, 1_000_000_000).unwrap(), true)], "one change, never off");
}

#[test]
fn out_of_range_changes_nothing() {
    let (mut agent, bench) = with_block([]);
    for (frequency_hz, duty_ppm) in
        [(0.0, 0), (-1.0, 0), (f64::NAN, 0), (f64::INFINITY, 0), (1e8, 0), (50.0, 1_000_001)]
    {
        let refused = agent.pwm(T0, anna().caller(), FAN, Wave { frequency_hz, duty_ppm }, None).unwrap_err();
        assert!(matches!(refused, Refusal::Pwm(_)), "{refused}");
        assert_eq!(refused.line(), Some(FAN));
    }
    assert_eq!((agent.held_count(), used(&agent, FAN), bench.pwm_changes(FAN).len()), (0, false, 0));
    let refused = agent.pwm(T0, anna().caller(), KEPT_BACK, QUARTER, None);
    assert!(matches!(refused, Err(Refusal::UnknownLine { .. })));
}

const KEPT_BACK: LineId = LineId(28);

#[test]
fn a_lease_that_runs_out_makes_it_safe() {
    let ends = [(SafeState::Low, Level::Low), (SafeState::High, Level::High), (SafeState::Input, Level::Low)];
    for (safe, level) in ends.into_iter().chain([(SafeState::Hold, Level::Low)]) {
        let (mut agent, bench) = with_block([(FAN, safe)]);
        agent.pwm(T0, anna().caller(), FAN, QUARTER, None).unwrap();
        pass(&mut agent, &bench, millis(59_999));
        assert_eq!(bench.pwm(FAN), quarter(), "{safe:?}");
        pass(&mut agent, &bench, seconds(60));
        let still = bench.pwm(FAN).is_none_or(|timing| [0, timing.period_ns()].contains(&timing.duty_ns()));
        assert_eq!((bench.level(FAN), still), (level, true), "{safe:?}");
        let expired = Event::Expired { line: FAN, holder: anna(), safe };
        assert_eq!(events(&mut agent), [expired, Event::Freed { line: FAN }]);
        assert_eq!((agent.held_count(), agent.poll_timeout()), (0, None));
        // the channel is given back unless the level would fall with it
        assert_eq!(used(&agent, FAN), safe == SafeState::High);
        let late = agent.pwm(seconds(61), anna().caller(), FAN, QUARTER, None);
        assert!(matches!(late, Err(Refusal::LeaseExpired { .. })));
        let again = agent.pwm(seconds(61), ben().caller(), FAN, QUARTER, None).unwrap();
        assert_eq!((again.kind, bench.pwm(FAN)), (PwmKind::Hardware, quarter()));
    }
}

#[test]
fn every_change_renews_and_old_tokens_are_refused() {
    let (mut agent, bench) = with_block([(FAN, SafeState::Low)]);
    agent.pwm(T0, anna().caller(), FAN, QUARTER, None).unwrap();
    pass(&mut agent, &bench, seconds(40));
    let token = agent.grant(&anna(), FAN).unwrap().token;
    agent.pwm(seconds(40), anna().caller(), FAN, QUARTER, Some(token)).unwrap();
    assert_eq!(agent.grant(&anna(), FAN).unwrap().expires, Some(seconds(100)));
    let stale = Wave { duty_ppm: 999_999, ..QUARTER };
    let refused = agent.pwm(seconds(40), anna().caller(), FAN, stale, Some(Token(token.0 - 1)));
    assert!(matches!(refused, Err(Refusal::StaleToken { .. })));
    assert_eq!(bench.pwm(FAN), quarter());
}

#[test]
fn a_lease_can_come_first_and_a_claim_as_it_is_leaves_the_signal() {
    let (mut agent, bench) = with_block([]);
    let lent = Claim::leased(LineConfig::as_is(), Duration::from_secs(2), Some(SafeState::Low));
    agent.claim(T0, anna().caller(), FAN, lent).unwrap();
    assert_eq!((bench.pwm(FAN), agent.read(T0, FAN).unwrap().level), (None, false));
    let written = agent.write(T0, anna().caller(), FAN, true, None);
    assert!(matches!(written, Err(Refusal::WrongDirection { .. })), "as it is, it is no output");
    assert_eq!(agent.pwm(T0, anna().caller(), FAN, QUARTER, None).unwrap().kind, PwmKind::Hardware);
    agent.claim(seconds(1), anna().caller(), FAN, lent).unwrap();
    agent.configure(seconds(1), anna().caller(), FAN, LineConfig::as_is(), None).unwrap();
    assert_eq!(bench.pwm(FAN), quarter());
    bench.clock().advance(Duration::from_secs(1));
    pass(&mut agent, &bench, seconds(3));
    assert_eq!((bench.pwm(FAN), bench.level(FAN)), (None, Level::Low));
}

#[test]
fn whatever_the_holder_does_next_ends_it_at_a_level() {
    type Act = fn(&mut Agent<SimBoard>);
    let acts: [(Act, Level); 8] = [
        (|agent| agent.write(T0, anna().caller(), FAN, true, None).unwrap(), Level::High),
        (|agent| agent.write(T0, anna().caller(), FAN, false, None).unwrap(), Level::Low),
        (|agent| assert!(!agent.toggle(T0, anna().caller(), FAN, None).unwrap()), Level::Low),
        (|agent| agent.configure(T0, anna().caller(), FAN, LineConfig::output(true), None).unwrap(), Level::High),
        (
            |agent| _ = agent.claim(T0, anna().caller(), FAN, Claim::permanent(LineConfig::output(false))).unwrap(),
            Level::Low,
        ),
        (|agent| agent.release(T0, anna().caller(), FAN, None).unwrap(), Level::Low),
        (|agent| assert_eq!(agent.release_all(T0).released, [FAN]), Level::Low),
        (
            |agent| {
                agent.pulse(T0, anna().caller(), FAN, Pulse::once(Duration::from_millis(5)), None).unwrap();
                agent.handle_timeout(millis(5));
            },
            Level::Low,
        ),
    ];
    for (number, (act, level)) in acts.into_iter().enumerate() {
        let (mut agent, bench) = running();
        act(&mut agent);
        assert_eq!(bench.level(FAN), level, "{number}");
        let steady = bench.pwm(FAN).is_none_or(|timing| [0, timing.period_ns()].contains(&timing.duty_ns()));
        assert!(steady, "{number}: {:?}", bench.pwm(FAN));
        assert!(agent.list(T0).iter().all(|status| status.held.as_ref().is_none_or(|held| held.pwm.is_none())));
        // and it can start again, in hardware
        assert_eq!(agent.pwm(T0, anna().caller(), FAN, QUARTER, None).unwrap().kind, PwmKind::Hardware, "{number}");
        assert_eq!(bench.pwm(FAN), quarter());
    }
}

#[test]
fn what_a_pwm_block_cannot_be_is_refused_and_the_signal_goes_on() {
    let (mut agent, bench) = running();
    for config in [LineConfig::input(), LineConfig::output(true).active_low()] {
        let refused = agent.configure(T0, anna().caller(), FAN, config, None).unwrap_err();
        let said =
            "GPIO18 is driven by its PWM channel, as a plain output only; release it before you set it up otherwise";
        assert_eq!(refused.to_string(), said);
        let refused = agent.claim(T0, anna().caller(), FAN, Claim::permanent(config));
        assert!(matches!(refused, Err(Refusal::CarriesPwm { line: FAN })));
        assert_eq!(bench.pwm(FAN), quarter());
    }
}

#[test]
fn lines_that_share_a_channel_conflict_and_say_with_whom() {
    let (mut agent, bench) = running();
    let refused = agent.pwm(seconds(12), ben().caller(), TWIN, QUARTER, None).unwrap_err();
    let said = "GPIO14 and GPIO18 share PWM2, which GPIO18 uses, held by operator/anna for 12 s; release GPIO18 first";
    assert_eq!((refused.to_string().as_str(), refused.line()), (said, Some(TWIN)));
    assert_eq!((agent.held_count(), bench.pwm(FAN), bench.pwm(TWIN)), (1, quarter(), None));
    agent.write(T0, ben().caller(), TWIN, true, None).unwrap(); // as GPIO it needs no channel
    agent.release(T0, ben().caller(), TWIN, None).unwrap();
    agent.release(T0, anna().caller(), FAN, None).unwrap();
    let other = LineId(19);
    assert_eq!(agent.pwm(T0, ben().caller(), other, QUARTER, None).unwrap().kind, PwmKind::Hardware);
}

#[test]
fn a_line_used_as_gpio_has_left_the_block() {
    type Use = fn(&mut Agent<SimBoard>);
    let uses: [Use; 3] = [
        |agent| agent.write(T0, anna().caller(), FAN, true, None).unwrap(),
        |agent| _ = agent.read(T0, FAN).unwrap(),
        |agent| _ = agent.watch(T0, &[FAN], 8, None).unwrap(),
    ];
    for use_as_gpio in uses {
        let (mut agent, bench) = with_block([]);
        use_as_gpio(&mut agent);
        let refused = agent.pwm(T0, anna().caller(), FAN, QUARTER, None);
        assert!(matches!(refused, Err(Refusal::Pwm(PwmRefusal::Frequency { kind: PwmKind::Software, .. }))));
        let slow = Wave { frequency_hz: 100.0, duty_ppm: 250_000 };
        assert_eq!(agent.pwm(T0, anna().caller(), FAN, slow, None).unwrap().kind, PwmKind::Software);
        pass(&mut agent, &bench, seconds(1));
        assert_eq!(bench.pwm(FAN), PwmTiming::new(10_000_000, 2_500_000));
    }
}

#[test]
fn a_thief_finds_the_line_safe_and_may_do_what_they_like() {
    let thief = ben();
    let thief = thief.caller().with_rights(ALL_RIGHTS);
    for config in [LineConfig::as_is(), LineConfig::output(true), LineConfig::input()] {
        let (mut agent, bench) = running();
        let refused = agent.claim(T0, ben().caller(), FAN, Claim::permanent(config).stealing());
        assert!(matches!(refused, Err(Refusal::StealNotAllowed { .. })));
        assert_eq!(bench.pwm(FAN), quarter());
        agent.claim(T0, thief, FAN, Claim::permanent(config).stealing()).unwrap();
        assert_eq!((bench.pwm(FAN), agent.grant(&ben(), FAN).is_some()), (None, true), "{config:?}");
        let stolen = Event::Stolen { line: FAN, from: anna(), by: ben() };
        assert_eq!(events(&mut agent), [Event::Freed { line: FAN }, stolen]);
        assert!(agent.pwm(T0, anna().caller(), FAN, QUARTER, None).is_err());
    }
}

#[test]
fn a_line_left_high_is_free_for_anybody_and_stays_high_when_the_agent_ends() {
    let left_high = || {
        let (mut agent, bench) = with_block([(FAN, SafeState::High)]);
        agent.pwm(T0, anna().caller(), FAN, QUARTER, None).unwrap();
        assert_eq!(agent.release_all(T0).released, [FAN]);
        assert_eq!((bench.level(FAN), agent.held_count()), (Level::High, 0));
        assert!(agent.release_all(T0).released.is_empty());
        (agent, bench)
    };
    let (mut agent, bench) = left_high();
    agent.claim(T0, ben().caller().with_rights(ALL_RIGHTS), FAN, Claim::permanent(LineConfig::input())).unwrap();
    assert_eq!(agent.board().info(FAN).unwrap().direction, Direction::Input);
    drop((agent, bench));
    let (agent, bench) = left_high();
    drop(agent);
    assert_eq!(bench.level(FAN), Level::High);
}

#[test]
fn an_agent_that_ends_leaves_no_signal() {
    for (safe, level) in [(SafeState::Low, Level::Low), (SafeState::High, Level::High), (SafeState::Input, Level::Low)]
    {
        let (mut agent, bench) = with_block([(FAN, safe)]);
        agent.pwm(T0, anna().caller(), FAN, QUARTER, None).unwrap();
        drop(agent);
        assert_eq!(bench.level(FAN), level, "{safe:?}");
        assert!(bench.pwm(FAN).is_none_or(|timing| timing.duty_ns() == timing.period_ns()));
    }
}

#[test]
fn a_block_that_fails_changes_nothing_at_first_and_is_tried_again_at_the_end() {
    let (mut agent, bench) = with_block([(FAN, SafeState::Low)]);
    bench.fail_next(FAN, FaultKind::Busy);
    let refused = agent.pwm(T0, anna().caller(), FAN, QUARTER, None);
    assert!(matches!(refused, Err(Refusal::Hardware { kind: FaultKind::Busy, .. })));
    assert_eq!((agent.held_count(), used(&agent, FAN), agent.poll_timeout()), (0, false, None));

    agent.pwm(T0, anna().caller(), FAN, QUARTER, None).unwrap();
    bench.fail_next(FAN, FaultKind::InvalidConfig);
    assert!(agent.pwm(T0, anna().caller(), FAN, Wave { duty_ppm: 1_000_000, ..QUARTER }, None).is_err());
    assert_eq!(agent.read(T0, FAN).unwrap().pwm.unwrap().timing, quarter().unwrap());

    bench.fail_next(FAN, FaultKind::Bus);
    pass(&mut agent, &bench, seconds(60));
    assert_eq!(bench.pwm(FAN), quarter(), "not safe yet");
    assert_eq!(events(&mut agent), [Event::SafeFailed { line: FAN, kind: FaultKind::Bus }]);
    assert!(matches!(agent.pwm(seconds(60), ben().caller(), FAN, QUARTER, None), Err(Refusal::Held { .. })));
    pass(&mut agent, &bench, millis(60_100));
    assert_eq!((bench.pwm(FAN), bench.level(FAN), agent.held_count()), (None, Level::Low, 0));
}

#[test]
fn an_agent_that_ends_while_its_block_fails_does_not_leave_it_running() {
    let (agent, bench) = running();
    bench.fail_next(FAN, FaultKind::Bus);
    drop(agent);
    assert_eq!((bench.pwm(FAN), bench.level(FAN)), (None, Level::Low), "dropped, not abandoned");
}

#[test]
fn a_write_taken_back_leaves_no_full_power_behind() {
    let (mut agent, bench) = running();
    agent.write(T0, anna().caller(), LED, false, None).unwrap();
    bench.fail_next(LED, FaultKind::Bus);
    assert!(agent.write_all(T0, anna().caller(), &writes(&[(FAN, true), (LED, true)])).is_err());
    assert_eq!(bench.level(FAN), Level::Low);
}

#[test]
fn a_restart_makes_safe_without_taking_pins_from_the_block() {
    let safe = [(FAN, SafeState::Low), (LineId(19), SafeState::High), (LineId(12), SafeState::Low)];
    let policy = Policy::new(header::lines().collect(), BTreeMap::new(), safe.into()).unwrap();
    let mut board = SimBoard::builder().build();
    drop(board.claim(LineId(12), LineConfig::output(true), "killed").unwrap()); // used as GPIO, and left high
    let (bench, pwm) = (board.bench(), PwmBlock::new(board.pwm()));
    let mut agent = Agent::new(board, policy).with_pwm(pwm);
    assert!(agent.restore(T0, &[]).is_empty());
    assert_eq!([12, 18, 19].map(|line| bench.level(LineId(line))), [Level::Low, Level::Low, Level::High]);
    let kind = |agent: &mut Agent<SimBoard>, line| {
        let slow = Wave { frequency_hz: 100.0, duty_ppm: 250_000 };
        agent.pwm(T0, anna().caller(), LineId(line), slow, None).unwrap().kind
    };
    assert_eq!(kind(&mut agent, 18), PwmKind::Hardware);
    assert_eq!([12, 19].map(|line| kind(&mut agent, line)), [PwmKind::Software; 2]);
}
