//! Watching: nothing is missed without a word.

use std::task::{Context, Waker};

use agent_lib::{Missed, Position, Record, Refusal, WatchId, What};
use hal_core::{Bias, Board, Direction, Edges, FaultKind, LineConfig};
use sim::Level;

use crate::chance::Chance;
use crate::*;

/// Lets the agent fetch edges, as a woken host does.
pub(crate) fn poll(agent: &mut Agent<SimBoard>) {
    agent.poll_edges(&mut Context::from_waker(Waker::noop()));
}

pub(crate) fn drain(agent: &mut Agent<SimBoard>, watch: WatchId) -> Vec<Record> {
    std::iter::from_fn(|| agent.next(watch)).collect()
}

/// Changes a line from the outside so many times, a millisecond apart, first to high.
fn wiggle(bench: &Bench, line: LineId, changes: u64) {
    for change in 0..changes {
        bench.clock().advance(Duration::from_millis(1));
        bench.drive(line, Some(change % 2 == 0));
    }
}

/// A record in few words.
fn word(record: &Record) -> String {
    match &record.what {
        What::Snapshot { line, level, holder, .. } => {
            let holder = holder.as_ref().map_or("-", Holder::as_str);
            format!("{line} {} {holder}", u8::from(*level))
        }
        What::Edge { line, rising, at, .. } => {
            format!("{line} {} {}ms", if *rising { "up" } else { "down" }, at.as_nanos() / 1_000_000)
        }
        What::Changed { line, level, .. } => format!("{line} := {}", u8::from(*level)),
        What::Gap { line, missed } => format!("gap {line:?} {missed:?}"),
        other => format!("{other:?}"),
    }
}

fn words(agent: &mut Agent<SimBoard>, watch: WatchId) -> Vec<String> {
    drain(agent, watch).iter().map(word).collect()
}

fn config_of(agent: &Agent<SimBoard>, line: LineId) -> Option<LineConfig> {
    agent.list(T0).into_iter().find(|status| status.line == line).unwrap().held.map(|held| held.config)
}

#[test]
fn a_free_line_is_watched_on_the_agent_s_own_account() {
    for profile in PROFILES {
        let (mut agent, bench) = agent_on(profile, []);
        let watch = agent.watch(T0, &[LED], 8, None).unwrap();
        assert_eq!(&*agent.board().info(LED).unwrap().consumer, "watch");
        wiggle(&bench, LED, 3);
        poll(&mut agent);
        assert_eq!(words(&mut agent, watch), ["GPIO22 0 watch", "GPIO22 up 1ms", "GPIO22 down 2ms", "GPIO22 up 3ms"]);
        agent.unwatch(watch);
        assert!(!agent.board().info(LED).unwrap().used);
        assert_eq!((agent.next(watch), agent.held_count()), (None, 0));
    }
}

#[test]
fn a_watched_line_is_handed_to_who_claims_it_and_back() {
    for profile in PROFILES {
        let (mut agent, bench) = agent_on(profile, []);
        let watch = agent.watch(T0, &[LED], 16, None).unwrap();
        agent.claim(T0, anna().caller(), LED, Claim::permanent(LineConfig::input().active_low())).unwrap();
        assert!(agent.release_all(T0).released == [LED]); // an emergency stop does not end the watch either
        agent.claim(T0, ben().caller(), LED, Claim::permanent(LineConfig::input())).unwrap();
        agent.release(T0, ben().caller(), LED, None).unwrap();
        wiggle(&bench, LED, 1);
        poll(&mut agent);
        let told = words(&mut agent, watch);
        let told: Vec<_> = told.iter().filter(|word| !word.starts_with("gap")).map(String::as_str).collect();
        let due = [
            "GPIO22 0 watch",
            "GPIO22 1 operator/anna",
            "GPIO22 1 watch",
            "GPIO22 0 operator/ben",
            "GPIO22 0 watch",
            "GPIO22 up 1ms",
        ];
        assert_eq!(told, due, "{profile:?}");
    }
}

#[test]
fn an_output_tells_what_is_written_through_the_agent() {
    let (mut agent, bench) = agent();
    let watch = agent.watch(T0, &[LED], 32, None).unwrap();
    agent.write(T0, anna().caller(), LED, true, None).unwrap();
    agent.write_all(T0, anna().caller(), &writes(&[(LED, false)])).unwrap();
    agent.toggle(T0, anna().caller(), LED, None).unwrap();
    agent.pulse(T0, anna().caller(), LED, agent_lib::Pulse::once(Duration::from_millis(5)), None).unwrap();
    pass(&mut agent, &bench, seconds(1));
    agent.release(T0, anna().caller(), LED, None).unwrap();
    let told = words(&mut agent, watch);
    let told: Vec<_> = told.iter().filter(|word| !word.starts_with("gap")).map(String::as_str).collect();
    let due = [
        "GPIO22 0 watch",
        "GPIO22 1 operator/anna",
        "GPIO22 := 0",
        "GPIO22 := 1",
        "GPIO22 := 1",
        "GPIO22 := 0",
        "GPIO22 0 watch", // an input again, so it is watched again
    ];
    assert_eq!(told, due);
}

#[test]
fn watching_does_not_undo_a_safe_state() {
    let (mut agent, bench) = agent_with_safe_states([(LED, SafeState::High)]);
    agent.write(T0, anna().caller(), LED, false, None).unwrap();
    let watch = agent.watch(T0, &[LED], 8, None).unwrap();
    agent.release(T0, anna().caller(), LED, None).unwrap();
    assert_eq!(words(&mut agent, watch), ["GPIO22 0 operator/anna", "GPIO22 1 -"]);
    let second = agent.watch(T0, &[LED], 8, None).unwrap(); // free, and still driven
    agent.unwatch(second);
    assert_eq!((bench.level(LED), agent.board().info(LED).unwrap().direction), (Level::High, Direction::Output));
}

#[test]
fn watching_changes_nothing_of_an_input_but_its_edges() {
    for profile in PROFILES {
        let (mut agent, bench) = agent_on(profile, []);
        let asked = LineConfig::input().with_bias(Bias::PullUp).active_low();
        agent.claim(T0, anna().caller(), LED, Claim::permanent(asked)).unwrap();
        let watch = agent.watch(T0, &[LED], 8, None).unwrap();
        assert_eq!(config_of(&agent, LED), Some(asked));
        bench.drive(LED, Some(false));
        poll(&mut agent);
        assert_eq!(words(&mut agent, watch), ["GPIO22 0 operator/anna", "GPIO22 up 0ms"]);
        agent.unwatch(watch);
        wiggle(&bench, LED, 4); // nobody is told, then or later
        let watch = agent.watch(T0, &[LED], 8, None).unwrap();
        poll(&mut agent);
        assert_eq!(words(&mut agent, watch), ["GPIO22 1 operator/anna"]);
    }
}

#[test]
fn edges_from_before_the_watch_are_not_told() {
    for profile in [Profile::V1, Profile::V2 { capacity: 16 }, Profile::V2 { capacity: 300 }] {
        let (mut agent, bench) = agent_on(profile, []);
        let asked = LineConfig::input().with_edges(Edges::Both);
        agent.claim(T0, anna().caller(), LED, Claim::permanent(asked)).unwrap();
        wiggle(&bench, LED, 201); // wait in the kernel's queue, or overflow it
        let watch = agent.watch(T0, &[LED], 100, None).unwrap();
        wiggle(&bench, LED, 2);
        poll(&mut agent);
        assert_eq!(words(&mut agent, watch), ["GPIO22 1 operator/anna", "GPIO22 down 203ms"], "{profile:?}");
    }
}

#[test]
fn a_full_queue_costs_one_gap_with_the_number() {
    let (mut agent, bench) = agent_on(Profile::V2 { capacity: 64 }, []);
    let watch = agent.watch(T0, &[LED], 8, None).unwrap();
    wiggle(&bench, LED, 40);
    poll(&mut agent);
    let told = drain(&mut agent, watch);
    assert_eq!(told.len(), 1 + 7 + 1); // the snapshot takes a place
    assert_eq!(told[8].what, What::Gap { line: None, missed: Missed::Exactly(33) });
    wiggle(&bench, LED, 2);
    poll(&mut agent);
    let told = drain(&mut agent, watch);
    assert_eq!(told.iter().map(word).collect::<Vec<_>>(), ["GPIO22 up 41ms", "GPIO22 down 42ms"]);
    let sequence: Vec<_> = told.iter().map(|record| record.position.sequence).collect();
    assert_eq!(sequence, [42, 43]); // 1 is where watching began
}

#[test]
fn edges_go_on_after_the_gap_of_a_slow_watcher() {
    let (mut agent, bench) = agent_on(Profile::V2 { capacity: 64 }, []);
    let watch = agent.watch(T0, &[LED], 4, None).unwrap();
    let (mut told, mut missed) = (0, 0);
    for _ in 0..100 {
        wiggle(&bench, LED, 2);
        poll(&mut agent);
        match agent.next(watch).unwrap().what {
            What::Gap { missed: Missed::Exactly(count), .. } => missed += count,
            What::Edge { .. } => told += 1,
            _ => {}
        }
    }
    for record in drain(&mut agent, watch) {
        match record.what {
            What::Gap { missed: Missed::Exactly(count), .. } => missed += count,
            _ => told += 1,
        }
    }
    assert_eq!(told + missed, 200);
    assert!(told > 50 && missed > 50, "{told} told, {missed} missed");
}

#[test]
fn forty_edges_against_a_stopped_reader_end_in_a_gap() {
    let (mut agent, bench) = agent_on(Profile::V1, []);
    let watch = agent.watch(T0, &[LED], 100, None).unwrap();
    wiggle(&bench, LED, 40); // the kernel keeps the first 16
    poll(&mut agent);
    let told = words(&mut agent, watch);
    assert_eq!((told.len(), told[16].as_str()), (1 + 16 + 2, "GPIO22 down 16ms"));
    assert_eq!(told[17..], ["gap Some(LineId(22)) Unknown", "GPIO22 0 watch"]);

    let (mut agent, bench) = agent_on(Profile::V2 { capacity: 16 }, []);
    let watch = agent.watch(T0, &[LED], 100, None).unwrap();
    wiggle(&bench, LED, 40); // the kernel keeps the last 16, and counts
    poll(&mut agent);
    let told = words(&mut agent, watch);
    assert_eq!(told[..3], ["GPIO22 0 watch", "gap Some(LineId(22)) Exactly(24)", "GPIO22 up 25ms"]);
    assert_eq!((told.len(), told[17].as_str()), (18, "GPIO22 down 40ms"));
}

#[test]
fn fifteen_edges_are_no_gap() {
    let (mut agent, bench) = agent_on(Profile::V1, []);
    let watch = agent.watch(T0, &[LED], 100, None).unwrap();
    for _ in 0..3 {
        wiggle(&bench, LED, 15);
        poll(&mut agent);
    }
    assert!(!words(&mut agent, watch).iter().any(|word| word.starts_with("gap")));
}

#[test]
fn a_stalled_watcher_costs_the_others_nothing() {
    let mut chance = Chance::new("stalled watcher");
    let (mut agent, bench) = agent_on(Profile::V2 { capacity: 64 }, []);
    let stalled = agent.watch(T0, &[LED], 1, None).unwrap();
    let reader = agent.watch(T0, &[LED], 64, None).unwrap();
    let (mut told, mut sent) = (0, 0);
    for _ in 0..1_000 {
        let changes = 2 * (1 + chance.below(20));
        wiggle(&bench, LED, changes);
        sent += changes;
        poll(&mut agent);
        told += drain(&mut agent, reader).iter().filter(|record| matches!(record.what, What::Edge { .. })).count();
    }
    assert_eq!(told as u64, sent);
    let gap = What::Gap { line: None, missed: Missed::Exactly(sent) };
    assert_eq!(drain(&mut agent, stalled)[1].what, gap);
}

/// Whatever the kernel drops and whatever a slow watcher misses: the edges told and the edges counted as missing are all
/// there were, and numbers only rise.
#[test]
fn every_edge_is_told_or_counted() {
    let mut chance = Chance::new("slow watchers");
    let (mut agent, bench) = agent_on(Profile::V2 { capacity: 16 }, []);
    let mut watchers: Vec<_> = (0..8_u64).map(|n| (agent.watch(T0, &[LED], 1 << n, None).unwrap(), 0, 0)).collect();
    let (mut sent, mut told) = (0, 0);
    for _ in 0..2_000 {
        let changes = 2 * chance.below(15);
        wiggle(&bench, LED, changes);
        sent += changes;
        poll(&mut agent);
        for (watch, accounted, last) in &mut watchers {
            for _ in 0..chance.below(40) {
                let Some(record) = agent.next(*watch) else { break };
                assert!(record.position.sequence > *last || matches!(record.what, What::Snapshot { .. }));
                *last = record.position.sequence;
                told += u64::from(matches!(record.what, What::Edge { .. }));
                *accounted += accounts_for(&record);
            }
        }
    }
    for (watch, mut accounted, _) in watchers {
        accounted += drain(&mut agent, watch).iter().map(accounts_for).sum::<u64>();
        assert_eq!(accounted, sent);
    }
    assert!(told > sent, "{told} told to 8 watchers of {sent}");
}

/// For how many edges a record stands.
fn accounts_for(record: &Record) -> u64 {
    match record.what {
        What::Edge { .. } => 1,
        What::Gap { missed: Missed::Exactly(missed), .. } => missed,
        What::Gap { .. } => panic!("{record:?}"),
        _ => 0,
    }
}

#[test]
fn a_watcher_that_comes_back_in_time_misses_nothing() {
    let (agent, bench) = agent_on(Profile::V2 { capacity: 64 }, []);
    let mut agent = agent.with_epoch(7);
    let first = agent.watch(T0, &[LED, SENSE], 100, None).unwrap();
    wiggle(&bench, LED, 3);
    poll(&mut agent);
    let seen = drain(&mut agent, first)[3].position; // both snapshots and two edges
    assert_eq!(seen, Position { epoch: 7, sequence: 4 }); // 1 and 2 are where watching began
    wiggle(&bench, LED, 2);
    let second = agent.watch(T0, &[LED], 100, Some(seen)).unwrap();
    agent.unwatch(first);
    wiggle(&bench, LED, 1);
    poll(&mut agent);
    let told = drain(&mut agent, second);
    assert_eq!(told.iter().map(|record| record.position.sequence).collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!(word(&told[2]), "GPIO22 up 6ms");
}

#[test]
fn a_watcher_that_comes_back_too_late_is_told() {
    let (agent, bench) = agent_on(Profile::V2 { capacity: 64 }, []);
    let mut agent = agent.with_epoch(7).with_memory(10);
    let _keeper = agent.watch(T0, &[LED], 100, None).unwrap();
    wiggle(&bench, LED, 30);
    poll(&mut agent);
    let position = |epoch, sequence| Some(Position { epoch, sequence });
    let lossless = agent.watch(T0, &[LED], 100, position(7, 21)).unwrap();
    assert_eq!(drain(&mut agent, lossless).len(), 10);
    for lost in [position(7, 20), position(6, 25), position(7, 32)] {
        let watch = agent.watch(T0, &[LED], 100, lost).unwrap();
        assert_eq!(words(&mut agent, watch), ["gap None Unknown", "GPIO22 0 watch"], "{lost:?}");
    }
    let unwatched = agent.watch(T0, &[LED, SENSE], 100, position(7, 25)).unwrap();
    assert_eq!(words(&mut agent, unwatched), ["gap None Unknown", "GPIO22 0 watch", "GPIO27 0 watch"]);
}

/// The last watcher left and comes back with the newest number there is: what happened meanwhile has none.
#[test]
fn a_watcher_that_left_the_line_alone_is_told() {
    for profile in PROFILES {
        let (mut agent, bench) = agent_on(profile, []);
        let first = agent.watch(T0, &[LED], 100, None).unwrap();
        wiggle(&bench, LED, 2);
        poll(&mut agent);
        let seen = drain(&mut agent, first).last().unwrap().position;
        agent.unwatch(first);
        wiggle(&bench, LED, 2);
        let second = agent.watch(T0, &[LED], 100, Some(seen)).unwrap();
        assert_eq!(words(&mut agent, second), ["gap None Unknown", "GPIO22 0 watch"]);
    }
}

#[test]
fn a_reconfigured_line_may_have_lost_edges_where_the_board_cannot_do_it_in_place() {
    for (profile, gaps) in [(PROFILES[0], 1), (PROFILES[1], 0)] {
        let (mut agent, bench) = agent_on(profile, []);
        let watch = agent.watch(T0, &[LED], 16, None).unwrap();
        wiggle(&bench, LED, 2);
        agent.claim(T0, anna().caller(), LED, Claim::permanent(LineConfig::input())).unwrap(); // fetches them first
        let told = words(&mut agent, watch);
        assert_eq!(told[1..3], ["GPIO22 up 1ms", "GPIO22 down 2ms"]);
        assert_eq!(told.iter().filter(|word| word.starts_with("gap")).count(), gaps);
        assert_eq!(told.last().unwrap(), "GPIO22 0 operator/anna");
    }
}

#[test]
fn a_watch_of_a_line_that_cannot_be_had_is_no_watch() {
    let (mut agent, bench) = agent();
    bench.fail_next(SENSE, FaultKind::Busy);
    let refused = agent.watch(T0, &[LED, SENSE], 8, None);
    assert!(matches!(refused, Err(Refusal::Hardware { line: SENSE, kind: FaultKind::Busy, .. })));
    assert!(!agent.board().info(LED).unwrap().used);
    assert!(matches!(agent.watch(T0, &[LED, KEPT], 8, None), Err(Refusal::NotAllowed { line: KEPT })));
    assert!(matches!(agent.watch(T0, &[LineId(28)], 8, None), Err(Refusal::UnknownLine { .. })));
}

#[test]
fn a_watched_lease_that_runs_out_is_told() {
    let (mut agent, bench) = agent();
    let lent = Claim::leased(LineConfig::output(true), Duration::from_secs(1), Some(SafeState::Low));
    agent.claim(T0, anna().caller(), LED, lent).unwrap();
    let watch = agent.watch(T0, &[LED], 8, None).unwrap();
    pass(&mut agent, &bench, seconds(2));
    assert_eq!(words(&mut agent, watch), ["GPIO22 1 operator/anna", "GPIO22 0 -"]);
}

#[test]
fn the_last_watcher_gives_a_held_input_its_own_edges_back() {
    let (mut agent, bench) = agent_on(Profile::V2 { capacity: 16 }, []);
    let asked = LineConfig::input().with_edges(Edges::Rising);
    agent.claim(T0, anna().caller(), LED, Claim::permanent(asked)).unwrap();
    let watches = [(); 2].map(|()| agent.watch(T0, &[LED], 8, None).unwrap());
    agent.unwatch(watches[0]);
    wiggle(&bench, LED, 2);
    poll(&mut agent);
    assert_eq!(words(&mut agent, watches[1]).len(), 3);
    agent.unwatch(watches[1]);
    assert_eq!((config_of(&agent, LED), agent.held_count()), (Some(asked), 1));
}
