//! Who is there, by the receiver's clock.

use std::time::{Duration, Instant};

use control_lib::{Arrival, Presence, Report, State};

use crate::name;

fn report(boot: &str, sequence: u64) -> Report {
    Report { boot_id: boot.parse().unwrap(), sequence, status: "OK".parse().unwrap() }
}

#[test]
fn silence_makes_a_node_suspect_and_then_offline() {
    let (mut presence, start, pi_7) = (Presence::new(Presence::INTERVAL), Instant::now(), name("pi-7"));
    let after = |millis| start + Duration::from_millis(millis);
    assert_eq!(presence.state(&pi_7, start), State::Unknown);
    presence.report(&pi_7, start, report("a", 1));
    for (millis, state) in [
        (0, State::Ready),
        (29_999, State::Ready),
        (30_000, State::Suspect),
        (59_999, State::Suspect),
        (60_000, State::Offline),
    ] {
        assert_eq!(presence.state(&pi_7, after(millis)), state, "after {millis} ms");
    }
    presence.report(&pi_7, after(60_000), report("a", 2));
    assert_eq!(presence.state(&pi_7, after(61_000)), State::Ready);
    assert_eq!(presence.heard_at(&pi_7), Some(after(60_000)));
    assert_eq!(presence.state(&name("pi-8"), start), State::Unknown);
}

#[test]
fn the_last_report_is_kept_and_placed() {
    let (mut presence, now, pi_7) = (Presence::new(Presence::INTERVAL), Instant::now(), name("pi-7"));
    let mut arrive = |boot, sequence| presence.report(&pi_7, now, report(boot, sequence));
    assert_eq!(arrive("a", 7), Arrival::InOrder);
    assert_eq!(arrive("a", 8), Arrival::InOrder);
    assert_eq!(arrive("a", 11), Arrival::After { lost: 2 });
    assert_eq!(arrive("a", 11), Arrival::Again);
    assert_eq!(arrive("a", 1), Arrival::Again);
    assert_eq!(arrive("a", 2), Arrival::InOrder);
    assert_eq!(arrive("b", 1), Arrival::InOrder);
    assert_eq!(presence.last(&pi_7), Some(&report("b", 1)));
}

/// What a row of reports, 5 s apart, comes to.
fn arrivals(reports: &[(&str, u64)]) -> Vec<Arrival> {
    let (mut presence, start, pi_7) = (Presence::new(Presence::INTERVAL), Instant::now(), name("pi-7"));
    let at = |index: usize| start + Duration::from_secs(5) * u32::try_from(index).unwrap();
    let arrive =
        |(index, (boot, sequence)): (usize, &(&str, u64))| presence.report(&pi_7, at(index), report(boot, *sequence));
    reports.iter().enumerate().map(arrive).collect()
}

#[test]
fn two_machines_that_report_as_one_node_are_found_out() {
    for clone in ["a", "b"] {
        let found = arrivals(&[("a", 57), (clone, 1), ("a", 58), (clone, 2), ("a", 59), (clone, 3)]);
        assert_eq!(found[3..], [Arrival::Interleaved; 3], "{found:?}");
        assert!(!found[..3].contains(&Arrival::Interleaved), "{found:?}");
    }
}

#[test]
fn restarts_reboots_losses_and_a_late_report_are_no_second_machine() {
    let restart: Vec<_> = [("a", 57), ("a", 58)].into_iter().chain((1..80).map(|sequence| ("a", sequence))).collect();
    let reboots: Vec<_> = (0..9).flat_map(|_| [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1)]).collect();
    let late = [("a", 58), ("a", 57), ("a", 59), ("a", 60), ("a", 61)];
    let lossy = [("a", 1), ("a", 4), ("a", 5), ("a", 9), ("a", 1), ("a", 3), ("a", 9), ("a", 12)];
    for reports in [&restart[..], &late, &lossy] {
        let found = arrivals(reports);
        assert!(!found.contains(&Arrival::Interleaved), "{reports:?}: {found:?}");
    }
    // a boot id that comes back within the minute is a copy: no boot is entered twice
    assert!(arrivals(&reboots[..6]).iter().all(|arrival| *arrival != Arrival::Interleaved));
}

#[test]
fn what_a_node_was_denied_is_counted() {
    let (mut presence, pi_7) = (Presence::new(Presence::INTERVAL), name("pi-7"));
    assert_eq!(presence.denied(&pi_7), 0);
    (0..3).for_each(|_| presence.deny(&pi_7));
    assert_eq!((presence.denied(&pi_7), presence.denied(&name("pi-8"))), (3, 0));
}
