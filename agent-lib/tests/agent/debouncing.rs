//! Bouncing contacts on boards that do not debounce: both of the simulated kernel's interfaces leave it to the agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use agent_lib::{Debounce, Record, What};
use hal_core::{Bias, Caps, Edges, LineConfig, LineMode};

use crate::chance::Chance;
use crate::watching::{drain, poll};
use crate::*;

const PERIOD: Duration = Duration::from_millis(5);

fn contact() -> LineConfig {
    let mode = LineMode::Input { bias: Bias::AsIs, edges: Edges::None, debounce_us: 5_000 };
    LineConfig { mode, active_low: false }
}

fn edges(records: &[Record]) -> Vec<(bool, u64)> {
    let edge = |record: &Record| match record.what {
        What::Edge { rising, at, .. } => Some((rising, at.as_nanos())),
        _ => None,
    };
    records.iter().filter_map(edge).collect()
}

/// Lets time pass with a host that fetches edges when it is woken and comes back at deadlines.
fn run(agent: &mut Agent<SimBoard>, bench: &Bench, for_: Duration) {
    poll(agent);
    let until = bench.clock().now().saturating_add(for_);
    pass(agent, bench, until);
}

#[test]
fn a_bounce_train_is_one_edge() {
    let mut chance = Chance::new("bounce trains");
    for profile in PROFILES {
        let (mut agent, bench) = agent_on(profile, []);
        agent.claim(T0, anna().caller(), LED, Claim::permanent(contact())).unwrap();
        let watch = agent.watch(T0, &[LED], 1_000, None).unwrap();
        let mut due = Vec::new();
        let mut level = false;
        for _ in 0..200 {
            level = !level;
            for bounce in 0..1 + 2 * chance.below(30) {
                bench.drive(LED, Some(level ^ (bounce % 2 == 1)));
                let pause = Duration::from_micros(1 + chance.below(4_000));
                let last = bench.clock().now();
                run(&mut agent, &bench, pause);
                if bounce % 2 == 0 {
                    due.truncate(due.len() - usize::from(bounce > 0));
                    due.push((level, last.as_nanos()));
                }
            }
            run(&mut agent, &bench, PERIOD);
        }
        let told = drain(&mut agent, watch);
        assert_eq!(edges(&told), due, "{profile:?}");
        assert_eq!(told.len(), 1 + 200, "no gaps");
    }
}

#[test]
fn the_edge_is_told_when_the_level_has_been_stable() {
    for profile in PROFILES {
        let (mut agent, bench) = agent_on(profile, []);
        agent.claim(T0, anna().caller(), LED, Claim::permanent(contact())).unwrap();
        let watch = agent.watch(T0, &[LED], 10, None).unwrap();
        bench.drive(LED, Some(true));
        poll(&mut agent);
        assert_eq!(agent.poll_timeout(), Some(millis(5)));
        agent.handle_timeout(Instant::from_nanos(4_999_999));
        assert!(edges(&drain(&mut agent, watch)).is_empty());
        agent.handle_timeout(millis(5));
        assert_eq!(edges(&drain(&mut agent, watch)), [(true, 0)]);
        assert_eq!(agent.poll_timeout(), None);
    }
}

#[test]
fn a_timer_that_comes_first_still_sees_the_bounce() {
    let (mut agent, bench) = agent();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(contact())).unwrap();
    let watch = agent.watch(T0, &[LED], 10, None).unwrap();
    bench.drive(LED, Some(true));
    poll(&mut agent);
    bench.clock().advance(Duration::from_millis(4));
    bench.drive(LED, Some(false)); // waits in the kernel's queue when the timer fires
    bench.clock().advance(Duration::from_millis(1));
    agent.handle_timeout(millis(5));
    assert!(edges(&drain(&mut agent, watch)).is_empty());
}

#[test]
fn the_list_says_who_debounces() {
    let (mut agent, _) = agent();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(contact())).unwrap();
    agent.claim(T0, anna().caller(), SENSE, Claim::permanent(LineConfig::input())).unwrap();
    let held = |line| agent.list(T0).into_iter().find(|status| status.line == line).unwrap().held.unwrap();
    assert_eq!((held(LED).debounce, held(LED).config), (Some(Debounce::Software), contact()));
    assert_eq!(held(SENSE).debounce, None);
}

#[test]
fn a_board_that_debounces_is_left_to_it() {
    let mut chip = mocks::chip();
    chip.expect_caps().return_const(Caps { kernel_debounce: true, ..Caps::default() });
    let mut pin = mocks::MockPin::new();
    pin.expect_config().return_const(contact());
    chip.expect_claim().withf(|_, config, _| *config == contact()).return_once(|_, _, _| Ok(pin));
    chip.expect_info().returning(|_| Err(mocks::Broken));
    let mut agent = Agent::new(chip, Policy::default());
    agent.claim(T0, anna().caller(), LED, Claim::permanent(contact())).unwrap();
    let held = agent.list(T0).into_iter().find_map(|status| status.held).unwrap();
    assert_eq!(held.debounce, Some(Debounce::Kernel));
}

/// More bounces at once than the kernel's queue holds: a gap, and the level from scratch.
#[test]
fn a_chattering_contact_costs_a_gap_not_the_truth() {
    let (mut agent, bench) = agent();
    agent.claim(T0, anna().caller(), LED, Claim::permanent(contact())).unwrap();
    let watch = agent.watch(T0, &[LED], 100, None).unwrap();
    for change in 0..41 {
        bench.clock().advance(Duration::from_micros(50));
        bench.drive(LED, Some(change % 2 == 0));
    }
    run(&mut agent, &bench, PERIOD);
    let told = drain(&mut agent, watch);
    let What::Snapshot { level: true, .. } = told.last().unwrap().what else { panic!("{told:?}") };
    assert!(told.iter().any(|record| matches!(record.what, What::Gap { .. })));
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn whoever_polled_is_woken_for_lines_watched_later_and_after_timers() {
    let (mut agent, bench) = agent();
    let bell = Arc::new(Bell::default());
    agent.poll_edges(&mut Context::from_waker(&Waker::from(bell.clone())));
    agent.claim(T0, anna().caller(), LED, Claim::permanent(contact())).unwrap();
    let watch = agent.watch(T0, &[LED], 10, None).unwrap();
    bench.drive(LED, Some(true));
    assert_eq!(bell.0.load(Ordering::SeqCst), 1);
    agent.poll_edges(&mut Context::from_waker(&Waker::from(bell.clone())));
    agent.handle_timeout(millis(5)); // polls by itself, without forgetting who waits
    bench.drive(LED, Some(false));
    assert_eq!(bell.0.load(Ordering::SeqCst), 2);
    assert_eq!(edges(&drain(&mut agent, watch)), [(true, 0)]);
}
