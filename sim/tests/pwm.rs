//! Hardware PWM on the simulated chip, and signals switched by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::time::Duration;

use embedded_hal::digital::OutputPin;
use embedded_hal::pwm::SetDutyCycle;
use hal_core::{Board, Fault, FaultKind, Instant, LineConfig, LineId, PI_1_TO_4_PWM_LINES, Pwm, PwmChip, PwmTiming};
use sim::{Level, PwmChange, SimBoard};

const FAN: LineId = LineId(18);
const SHARING: LineId = LineId(14); // PWM2 as well, on a Pi 5
const KHZ: PwmTiming = PwmTiming::from_frequency(1_000, 250_000).unwrap();

#[test]
fn a_channel_shows_what_it_is_set_to_and_remembers_it() {
    let board = SimBoard::builder().build();
    let bench = board.bench();
    let mut fan = board.pwm().claim_pwm(FAN, KHZ).unwrap();
    assert_eq!((bench.pwm(FAN), bench.level(FAN)), (None, Level::Low));
    bench.clock().advance(Duration::from_millis(3));
    fan.enable().unwrap();
    assert_eq!((bench.pwm(FAN), bench.level(FAN)), (Some(KHZ), Level::High));
    fan.set_duty_cycle_percent(50).unwrap();
    let half = PwmTiming::new(1_000_000, 499_992).unwrap(); // embedded-hal's half of u16::MAX
    fan.disable().unwrap();
    let at = Instant::from_nanos(3_000_000);
    assert_eq!(
        bench.pwm_changes(FAN),
        [
            PwmChange { at: Instant::ZERO, timing: KHZ, enabled: false },
            PwmChange { at, timing: KHZ, enabled: true },
            PwmChange { at, timing: half, enabled: true },
            PwmChange { at, timing: half, enabled: false },
        ]
    );
}

#[test]
fn lines_that_share_a_channel_conflict_until_it_is_dropped() {
    let board = SimBoard::builder().build();
    let mut chip = board.pwm();
    assert_eq!(chip.channel_for(FAN), chip.channel_for(SHARING));
    let fan = chip.claim_pwm(FAN, KHZ).unwrap();
    let refused = chip.claim_pwm(SHARING, KHZ).unwrap_err();
    assert_eq!(refused.fault(), FaultKind::Busy);
    assert_eq!(refused.to_string(), "GPIO14 and GPIO18 share PWM2, which GPIO18 uses; release that first");
    drop(fan);
    assert!(chip.claim_pwm(SHARING, KHZ).is_ok());
}

#[test]
fn a_line_is_an_output_of_pwm_or_of_gpio() {
    let mut board = SimBoard::builder().build();
    let mut chip = board.pwm();
    let line = board.claim(FAN, LineConfig::output(false), "relay").unwrap();
    assert_eq!(chip.claim_pwm(FAN, KHZ).unwrap_err().to_string(), "GPIO18 is claimed by relay; release it there first");
    drop(line);
    let mut fan = chip.claim_pwm(FAN, KHZ).unwrap();
    fan.enable().unwrap();
    assert_eq!(board.claim(FAN, LineConfig::input(), "reader").unwrap_err().fault(), FaultKind::Busy);
    drop(fan);
    assert_eq!((board.bench().pwm(FAN), board.bench().level(FAN)), (None, Level::Low));
}

#[test]
fn an_older_pi_has_fewer_channels_and_most_lines_have_none() {
    let mut chip = SimBoard::builder().pwm_lines(PI_1_TO_4_PWM_LINES).build().pwm();
    for line in [SHARING, LineId(17)] {
        assert_eq!(chip.claim_pwm(line, KHZ).unwrap_err().fault(), FaultKind::Unsupported);
    }
}

#[test]
fn an_ordered_fault_leaves_the_signal_as_it_was() {
    let board = SimBoard::builder().build();
    let mut fan = board.pwm().claim_pwm(FAN, KHZ).unwrap();
    fan.enable().unwrap();
    board.bench().fail_next(FAN, FaultKind::Gone);
    assert_eq!(fan.set(PwmTiming::new(10, 5).unwrap()).unwrap_err().fault(), FaultKind::Gone);
    assert_eq!((fan.timing(), board.bench().pwm(FAN)), (KHZ, Some(KHZ)));
}

#[test]
fn a_signal_switched_by_hand_is_measured_while_it_lasts() {
    let mut board = SimBoard::builder().build();
    let bench = board.bench();
    let mut line = board.claim(LineId(5), LineConfig::output(false), "soft").unwrap();
    for _ in 0..3 {
        line.set_high().unwrap();
        bench.clock().advance(Duration::from_millis(2));
        line.set_low().unwrap();
        bench.clock().advance(Duration::from_millis(8));
    }
    assert_eq!(bench.pwm(LineId(5)), PwmTiming::new(10_000_000, 2_000_000));
    bench.clock().advance(Duration::from_millis(20));
    assert_eq!(bench.pwm(LineId(5)), None);
}
