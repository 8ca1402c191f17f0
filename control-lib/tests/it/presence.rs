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
