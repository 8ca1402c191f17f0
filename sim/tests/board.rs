//! The simulated board keeps the kernel's and the hardware's rules.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::time::Duration;

use embedded_hal::digital::{InputPin, OutputPin, StatefulOutputPin};
use hal_core::{Bias, Board, Direction, Drive, Fault, FaultKind, Instant, Line, LineConfig, LineId};
use sim::{Bench, Clock, Contention, Level, SimBoard, SimMetrics};

const OUT: LineId = LineId(17);
const IN: LineId = LineId(27);

fn wired() -> (SimBoard, Bench) {
    let board = SimBoard::builder().wire(OUT, IN).build();
    let bench = board.bench();
    (board, bench)
}

#[test]
fn a_wire_carries_the_level() {
    let (mut board, _) = wired();
    let mut output = board.claim(OUT, LineConfig::output(false), "test").unwrap();
    let mut input = board.claim(IN, LineConfig::input(), "test").unwrap();
    for level in [true, false, true] {
        output.set_state(level.into()).unwrap();
        assert_eq!(input.is_high(), Ok(level));
        assert_eq!(output.is_high(), Ok(level));
    }
}

#[test]
fn the_first_level_comes_with_the_direction() {
    let (mut board, bench) = wired();
    let _high = board.claim(OUT, LineConfig::output(true), "test").unwrap();
    let levels: Vec<_> = bench.history(OUT).into_iter().map(|(_, level)| level).collect();
    assert_eq!(levels, [Level::Low, Level::High]); // the pull at reset, then nothing but high
}

#[test]
fn reset_pulls_are_the_raspberry_pi_s() {
    let bench = SimBoard::builder().lines(30).build().bench();
    assert_eq!([0, 8, 9, 27, 28].map(|line| bench.level(LineId(line))), {
        [Level::High, Level::High, Level::Low, Level::Low, Level::Floating]
    });
}

#[test]
fn a_line_has_one_user_at_a_time() {
    let (mut board, _) = wired();
    let line = board.claim(OUT, LineConfig::input(), "first").unwrap();
    let refused = board.claim(OUT, LineConfig::input(), "second").unwrap_err();
    assert_eq!(refused.fault(), FaultKind::Busy);
    assert_eq!(refused.to_string(), "GPIO17 is claimed by first; release it there first");
    assert_eq!(&*board.info(OUT).unwrap().consumer, "first");
    drop(line);
    assert!(!board.info(OUT).unwrap().used);
    assert!(board.claim(OUT, LineConfig::input(), "second").is_ok());
}

#[test]
fn a_released_output_stays_driven() {
    let (mut board, bench) = wired();
    drop(board.claim(OUT, LineConfig::output(true), "test").unwrap());
    assert_eq!(bench.level(OUT), Level::High);
    assert_eq!(board.info(OUT).unwrap().direction, Direction::Output);
}

#[test]
fn as_is_reads_an_output_without_touching_it() {
    let (mut board, bench) = wired();
    drop(board.claim(OUT, LineConfig::output(true), "before").unwrap());
    let mut line = board.claim(OUT, LineConfig::as_is(), "reader").unwrap();
    assert_eq!(line.is_high(), Ok(true));
    assert_eq!(line.set_low().unwrap_err().fault(), FaultKind::WrongMode);
    assert_eq!(bench.level(OUT), Level::High);
}

#[test]
fn open_drains_share_a_wire() {
    let (mut board, bench) = wired();
    let config = LineConfig::output(true).with_drive(Drive::OpenDrain).with_bias(Bias::PullUp);
    let mut one = board.claim(OUT, config, "one").unwrap();
    let mut other = board.claim(IN, config, "other").unwrap();
    assert_eq!(one.is_high(), Ok(true));
    other.set_low().unwrap();
    assert_eq!((one.is_high(), one.is_set_high()), (Ok(false), Ok(true)));
    other.set_high().unwrap();
    assert_eq!(bench.level(OUT), Level::High);
    assert!(bench.contentions().is_empty());
}

#[test]
fn push_pull_outputs_fight() {
    let clock = Clock::new();
    let mut board = SimBoard::builder().wire(OUT, IN).clock(clock.clone()).build();
    clock.advance(Duration::from_millis(5));
    let _high = board.claim(OUT, LineConfig::output(true), "one").unwrap();
    let mut low = board.claim(IN, LineConfig::output(false), "other").unwrap();
    assert_eq!(board.bench().level(OUT), Level::Conflict);
    low.set_low().unwrap(); // the same fight goes on
    low.reconfigure(LineConfig::input()).unwrap();
    assert_eq!(board.bench().level(OUT), Level::High);
    let fight = Contention { at: Instant::from_nanos(5_000_000), lines: vec![OUT, IN] };
    assert_eq!(board.bench().contentions(), [fight]);
}

#[test]
fn a_floating_input_keeps_its_last_bit() {
    let (mut board, bench) = wired();
    let mut input = board.claim(IN, LineConfig::input().with_bias(Bias::Disabled), "test").unwrap();
    let _unpulled = board.claim(OUT, LineConfig::input().with_bias(Bias::Disabled), "test").unwrap();
    bench.drive(IN, Some(true));
    bench.drive(IN, None);
    assert_eq!(bench.level(IN), Level::Floating);
    assert_eq!(input.is_high(), Ok(true));
}

#[test]
fn active_low_inverts_reading_and_writing() {
    let (mut board, bench) = wired();
    let mut output = board.claim(OUT, LineConfig::output(true).active_low(), "test").unwrap();
    assert_eq!(bench.level(OUT), Level::Low);
    assert_eq!((output.is_high(), output.is_set_high()), (Ok(true), Ok(true)));
    output.set_low().unwrap();
    assert_eq!(bench.level(OUT), Level::High);
}

#[test]
fn an_ordered_fault_happens_once_and_changes_nothing() {
    let (mut board, bench) = wired();
    bench.fail_next(OUT, FaultKind::Denied);
    assert_eq!(board.claim(OUT, LineConfig::output(true), "test").unwrap_err().fault(), FaultKind::Denied);
    assert_eq!(board.info(OUT).unwrap().direction, Direction::Input);
    let mut output = board.claim(OUT, LineConfig::output(true), "test").unwrap();
    bench.fail_next(OUT, FaultKind::Gone);
    assert_eq!(output.set_low().unwrap_err().fault(), FaultKind::Gone);
    assert_eq!(bench.level(OUT), Level::High);
    bench.fail_next(OUT, FaultKind::Busy);
    assert_eq!(output.reconfigure(LineConfig::input()).unwrap_err().fault(), FaultKind::Busy);
    assert!(output.config().is_output());
    assert!(output.set_low().is_ok());
}

#[test]
fn a_line_that_is_not_there_is_refused() {
    let (mut board, bench) = wired();
    let nowhere = LineId(28);
    assert_eq!(board.info(nowhere).unwrap_err().fault(), FaultKind::NoSuchLine);
    assert_eq!(board.claim(nowhere, LineConfig::input(), "test").unwrap_err().fault(), FaultKind::NoSuchLine);
    bench.drive(nowhere, Some(true));
    assert_eq!((bench.level(nowhere), bench.history(nowhere).len()), (Level::Floating, 0));
}

#[test]
fn lines_bear_the_names_they_are_given() {
    let board = SimBoard::builder().name(LineId(0), "ID_SDA").build();
    assert_eq!([0, 1].map(|line| board.info(LineId(line)).unwrap().name.to_string()), ["ID_SDA", "GPIO1"]);
}

#[test]
fn parts_may_move_between_threads() {
    fn send<T: Send>() {}
    fn shared<T: Send + Sync + Clone>() {}
    send::<SimBoard>();
    send::<sim::SimLine>();
    shared::<Bench>();
    shared::<Clock>();
    shared::<SimMetrics>();
}
