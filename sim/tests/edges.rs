//! Edges come in order, with their times, under the rules of the kernel's interface that is simulated.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hal_core::{Bias, Board, EdgeEvent, Edges, Fault, FaultKind, Line, LineConfig, LineId, Lost};
use sim::{Bench, Clock, Profile, SimBoard, SimLine};

const BUTTON: LineId = LineId(22);

fn watched(profile: Profile, config: LineConfig) -> (SimLine, Bench) {
    let mut board = SimBoard::builder().profile(profile).clock(Clock::new()).build();
    let line = board.claim(BUTTON, config, "test").unwrap();
    (line, board.bench())
}

fn bounce(bench: &Bench, changes: usize) {
    for change in 0..changes {
        bench.clock().advance(Duration::from_micros(100));
        bench.drive(BUTTON, Some(change % 2 == 0));
    }
}

fn waiting(line: &mut SimLine) -> Vec<EdgeEvent> {
    let mut cx = Context::from_waker(Waker::noop());
    let fetch = || match line.poll_edge(&mut cx) {
        Poll::Ready(edge) => Some(edge.unwrap()),
        Poll::Pending => None,
    };
    std::iter::from_fn(fetch).collect()
}

#[test]
fn edges_carry_direction_and_time() {
    let (mut line, bench) = watched(Profile::V1, LineConfig::input().with_edges(Edges::Both));
    bounce(&bench, 3);
    let seen: Vec<_> = waiting(&mut line).iter().map(|edge| (edge.rising, edge.at.as_nanos())).collect();
    assert_eq!(seen, [(true, 100_000), (false, 200_000), (true, 300_000)]);
}

#[test]
fn only_the_edges_asked_for_count_in_logical_levels() {
    let config = LineConfig::input().with_edges(Edges::Rising).active_low();
    let (mut line, bench) = watched(Profile::V1, config);
    bounce(&bench, 4);
    let seen: Vec<_> = waiting(&mut line).iter().map(|edge| (edge.rising, edge.at.as_nanos())).collect();
    assert_eq!(seen, [(true, 200_000), (true, 400_000)]);
}

#[test]
fn a_level_that_stays_is_no_edge() {
    let (mut line, bench) = watched(Profile::V1, LineConfig::input().with_edges(Edges::Both));
    bench.drive(BUTTON, Some(false)); // it was low by its pull
    assert!(waiting(&mut line).is_empty());
}

#[test]
fn what_a_claim_does_to_the_level_is_no_edge() {
    let config = LineConfig::input().with_bias(Bias::PullUp).with_edges(Edges::Both); // it was pulled down
    let (mut line, _) = watched(Profile::V1, config);
    assert!(waiting(&mut line).is_empty());
}

#[test]
fn the_profiles_lose_different_edges() {
    let both = LineConfig::input().with_edges(Edges::Both);
    let (mut first, bench) = watched(Profile::V1, both);
    bounce(&bench, 20);
    let kept = waiting(&mut first);
    assert_eq!((kept.len(), kept[0].at.as_nanos(), kept[0].lost), (16, 100_000, Lost::Unknown));
    let (mut second, bench) = watched(Profile::V2 { capacity: 16 }, both);
    bounce(&bench, 20);
    let kept = waiting(&mut second);
    assert_eq!((kept.len(), kept[0].at.as_nanos(), kept[0].lost), (16, 500_000, Lost::Some(4)));
}

#[test]
fn only_the_second_interface_keeps_its_queue_when_reconfigured() {
    let both = LineConfig::input().with_edges(Edges::Both);
    for (profile, kept) in [(Profile::V1, 0), (Profile::V2 { capacity: 4 }, 2)] {
        let (mut line, bench) = watched(profile, both);
        bounce(&bench, 2);
        line.reconfigure(both).unwrap();
        assert_eq!(waiting(&mut line).len(), kept, "{profile:?}");
    }
}

#[test]
fn a_line_without_edges_has_none_to_give() {
    let (mut line, _) = watched(Profile::V1, LineConfig::input());
    let answer = line.poll_edge(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answer, Poll::Ready(Err(error)) if error.fault() == FaultKind::WrongMode));
}

#[derive(Default)]
struct Alarm(AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_waiting_task_is_woken_once() {
    let (mut line, bench) = watched(Profile::V1, LineConfig::input().with_edges(Edges::Both));
    let alarm = Arc::new(Alarm::default());
    assert!(line.poll_edge(&mut Context::from_waker(&Waker::from(alarm.clone()))).is_pending());
    line.reconfigure(line.config()).unwrap(); // does not forget who waits
    bounce(&bench, 2);
    assert_eq!(alarm.0.load(Ordering::SeqCst), 1);
    assert_eq!(waiting(&mut line).len(), 2);
}
