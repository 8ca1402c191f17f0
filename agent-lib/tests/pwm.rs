//! What may be asked of PWM, and the schedule of a signal made by hand on a simulated line.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::time::Duration;

use agent_lib::{PwmKind, PwmRefusal, SoftPwm, pwm_timing};
use embedded_hal::digital::OutputPin;
use hal_core::{Board, Instant, LineConfig, LineId, PwmTiming};
use proptest::prelude::*;
use sim::SimBoard;

const LED: LineId = LineId(22);

fn millis(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn timing(hz: impl Into<f64>, duty_ppm: u32) -> PwmTiming {
    pwm_timing(LED, PwmKind::Software, hz.into(), duty_ppm).unwrap()
}

/// Level and next deadline in milliseconds.
fn at(pwm: &mut SoftPwm, now_ms: u64) -> (bool, Option<u64>) {
    let step = pwm.step(millis(now_ms));
    (step.level, step.next.map(|next| next.as_nanos() / 1_000_000))
}

#[test]
fn hardware_and_software_have_their_ranges() {
    for (kind, most) in [(PwmKind::Software, 200.0), (PwmKind::Hardware, 10_000_000.0)] {
        assert!(pwm_timing(LED, kind, 0.25, 0).is_ok() && pwm_timing(LED, kind, most, 1_000_000).is_ok());
        for hz in [0.0, -0.0, 0.249, -50.0, most + 0.001, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]
        {
            assert!(matches!(pwm_timing(LED, kind, hz, 0), Err(PwmRefusal::Frequency { .. })), "{hz}");
        }
    }
    let refused = pwm_timing(LED, PwmKind::Software, 25_000.0, 0).unwrap_err();
    let said = "GPIO22 cannot do 25000 Hz; ask for 0.25 to 200 Hz or choose a line with hardware PWM that has not been \
                used as GPIO";
    assert_eq!(refused.to_string(), said);
    let refused = pwm_timing(LED, PwmKind::Hardware, f64::NAN, 0).unwrap_err();
    assert_eq!(refused.to_string(), "GPIO22 cannot do NaN Hz; ask for 0.25 to 10000000 Hz");
    for duty_ppm in [1_000_001, u32::MAX] {
        let refused = pwm_timing(LED, PwmKind::Hardware, 1.0, duty_ppm).unwrap_err();
        assert_eq!(refused, PwmRefusal::Duty { line: LED, asked_ppm: duty_ppm });
    }
}

#[test]
fn fractions_of_a_hertz_are_kept_to_the_nanosecond() {
    let timing = |hz, duty_ppm| pwm_timing(LED, PwmKind::Hardware, hz, duty_ppm).unwrap();
    assert_eq!(timing(0.5, 250_000), PwmTiming::new(2_000_000_000, 500_000_000).unwrap());
    assert_eq!(timing(50.5, 1).period_ns(), 19_801_980);
    assert_eq!(timing(0.25, 1_000_000), PwmTiming::new(4_000_000_000, 4_000_000_000).unwrap());
    assert_eq!(timing(10_000_000.0, 333_333), PwmTiming::new(100, 33).unwrap());
}

#[test]
fn a_signal_made_by_hand_says_so_and_what_it_achieves() {
    let pwm = SoftPwm::new(millis(0), timing(60, 500_000));
    assert_eq!((pwm.kind(), pwm.timing().frequency_millihertz()), (PwmKind::Software, 60_000));
}

#[test]
fn deadlines_are_counted_from_the_start() {
    let mut pwm = SoftPwm::new(millis(3), timing(100, 300_000));
    assert_eq!(at(&mut pwm, 3), (true, Some(6)));
    assert_eq!(at(&mut pwm, 7), (false, Some(13))); // a millisecond late
    assert_eq!(at(&mut pwm, 13), (true, Some(16)));
    assert_eq!(at(&mut pwm, 13), (true, Some(16))); // asked twice
    assert_eq!(pwm.missed(), 0);
    assert_eq!(at(&mut pwm, 34), (true, Some(36))); // 16, 23 and 26 are past; 33 is made now
    assert_eq!(pwm.missed(), 3);
}

#[test]
fn a_constant_level_needs_no_wake_ups() {
    assert_eq!(at(&mut SoftPwm::new(millis(0), timing(50, 0)), 7), (false, None));
    let mut pwm = SoftPwm::new(millis(0), timing(50, 1_000_000));
    assert_eq!(at(&mut pwm, 7), (true, None));
    let step = pwm.set(millis(8), timing(100, 500_000)); // at once: nothing is cut short
    assert_eq!((step.level, step.next), (true, Some(millis(13))));
}

#[test]
fn a_new_timing_waits_for_the_period_to_end() {
    let mut pwm = SoftPwm::new(millis(0), timing(100, 500_000));
    assert_eq!(at(&mut pwm, 0), (true, Some(5)));
    let step = pwm.set(millis(2), timing(50, 100_000));
    assert_eq!((step.level, step.next, pwm.timing()), (true, Some(millis(5)), timing(100, 500_000)));
    assert_eq!(at(&mut pwm, 5), (false, Some(10)));
    assert_eq!(at(&mut pwm, 10), (true, Some(12)));
    assert_eq!(pwm.timing(), timing(50, 100_000));
    assert_eq!((at(&mut pwm, 12), pwm.missed()), ((false, Some(30)), 0));
}

#[test]
fn on_a_claimed_line_it_is_the_signal_asked_for() {
    let mut board = SimBoard::builder().build();
    let bench = board.bench();
    let mut line = board.claim(LED, LineConfig::output(false), "soft").unwrap();
    let mut pwm = SoftPwm::new(board.now(), timing(200, 125_000));
    for _ in 0..20 {
        let step = pwm.step(board.now());
        line.set_state(step.level.into()).unwrap();
        bench.clock().advance(step.next.unwrap().saturating_since(board.now()));
    }
    assert_eq!(bench.pwm(LED), Some(timing(200, 125_000)));
}

proptest! {
    #[test]
    fn however_late_it_is_asked_the_next_deadline_is_ahead_and_the_average_holds(
        hz in 1u32..=200,
        duty_ppm in 1u32..1_000_000,
        late_us in proptest::collection::vec(0u64..20_000, 1..50),
    ) {
        let asked = timing(hz, duty_ppm);
        let mut pwm = SoftPwm::new(millis(1), asked);
        let (mut now, mut made, mut before) = (millis(1), 0, true);
        for late in late_us {
            let step = pwm.step(now);
            let phase = (now.as_nanos() - millis(1).as_nanos()) % asked.period_ns();
            prop_assert_eq!(step.level, phase < asked.duty_ns());
            made += u64::from(step.level != before);
            before = step.level;
            let next = step.next.unwrap();
            prop_assert!(next > now);
            now = next.saturating_add(Duration::from_micros(late));
        }
        let periods = (now.as_nanos() - millis(1).as_nanos()) / asked.period_ns();
        prop_assert!(made + pwm.missed() <= periods * 2 + 1);
    }
}
