//! The simulated board keeps every promise of the traits, as either of the kernel's interfaces; and the test kit notices
//! boards that do not.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod wrong;

use std::time::Duration;

use hal_core::conformance::{Harness, Need, Outcome, Report, run};
use hal_core::{Board, LineId};
use sim::{Bench, Profile, SimBoard};
use wrong::{Flaw, Wrong};

const LINE: LineId = LineId(17);

/// A board at its bench, which lacks nothing.
struct AtBench<B> {
    board: B,
    bench: Bench,
    seen: usize,
}

impl<B: Board> Harness for AtBench<B> {
    type Board = B;

    fn board(&mut self) -> &mut B {
        &mut self.board
    }

    fn line(&self) -> LineId {
        LINE
    }

    fn lacks(&self, _: Need) -> Option<&'static str> {
        None
    }

    fn drive(&mut self, line: LineId, level: Option<bool>) {
        self.bench.drive(line, level);
    }

    fn level(&mut self, line: LineId) -> Option<bool> {
        self.bench.level(line).bit()
    }

    fn changes(&mut self, line: LineId) -> Vec<bool> {
        let history = self.bench.history(line);
        let new = history[self.seen..].iter().filter_map(|(_, level)| level.bit()).collect();
        self.seen = history.len();
        new
    }

    fn driven(&mut self, line: LineId) -> Option<bool> {
        self.bench.driven(line)
    }

    fn settle(&mut self, time: Duration) {
        self.bench.clock().advance(time);
    }
}

const PROFILES: [(&str, Profile); 2] = [("sim, V1", Profile::V1), ("sim, V2", Profile::V2 { capacity: 16 })];

fn report(profile: Profile, name: &str, report: &mut Report) {
    let board = SimBoard::builder().profile(profile).build();
    let bench = board.bench();
    run(&mut AtBench { board, bench, seen: 0 }, name, report);
}

#[test]
fn the_simulated_board_keeps_every_promise() {
    let mut both = Report::default();
    for (name, profile) in PROFILES {
        report(profile, name, &mut both);
    }
    println!("{both}");
    assert_eq!(both.failures().count(), 0, "\n{both}");
}

/// What is not possible is known and argued for: nothing slips out of the suite.
#[test]
fn only_what_a_profile_does_not_declare_is_not_possible() {
    let mut both = Report::default();
    let not_possible = PROFILES.map(|(name, profile)| {
        report(profile, name, &mut both);
        let results = both.of(name).filter(|one| matches!(one.outcome, Outcome::NotPossible(_)));
        results.map(|one| one.case).collect::<Vec<_>>()
    });
    let in_place = ["as is: a held output stays", "reconfigure in place, no glitch"];
    assert_eq!(not_possible[0], [in_place[0], in_place[1], "debounce"]);
    assert_eq!(not_possible[1], ["debounce"]);
}

/// Control: each way of being wrong fails the cases that are about it, on both profiles.
#[test]
fn a_wrong_board_fails() {
    for (flaw, cases) in Flaw::ALL {
        for (name, profile) in PROFILES {
            let board = SimBoard::builder().profile(profile).build();
            let bench = board.bench();
            let mut report = Report::default();
            run(&mut AtBench { board: Wrong { board, flaw }, bench, seen: 0 }, name, &mut report);
            let failed: Vec<&str> = report.failures().map(|(_, one)| one.case).collect();
            for case in cases {
                assert!(failed.contains(case), "{name}: {flaw:?} passes {case:?}\n{report}");
            }
        }
    }
}
