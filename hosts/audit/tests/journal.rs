//! The files: kept in bounds, private, whole after a crash, and verified as one chain.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use audit::{Damage, Entry, Journal, JournalError, Limits, Recovery, Report, journal_files, verify_folder};

const NAME: &str = "spiffe://lab/node/pi-7";
const SMALL: Limits = Limits { file_bytes: 2000, files: 3 };

fn entry(number: u64) -> Entry {
    let (who, subject, outcome) = ("operator/anna".to_owned(), format!("GPIO{number}"), "done".to_owned());
    let (on_behalf_of, detail) = (String::new(), String::new());
    Entry { at: SystemTime::now(), who, on_behalf_of, action: "gpio.write".to_owned(), subject, outcome, detail }
}

fn open(folder: &Path) -> Journal {
    Journal::open(folder, NAME, SMALL).unwrap().0
}

fn verified(folder: &Path) -> Report {
    verify_folder(folder, &[]).unwrap().unwrap().1
}

#[test]
fn rows_go_on_where_they_ended_and_files_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("audit");
    let mut journal = open(&state);
    journal.append(&[entry(1), entry(2)]).unwrap();
    let last = journal.last();
    drop(journal);
    let mut journal = open(&state);
    assert_eq!(journal.last(), last);
    let second = Journal::open(&state, NAME, SMALL).map(drop).unwrap_err();
    assert!(matches!(second, JournalError::Occupied { .. }), "{second}");
    journal.append(&[entry(3)]).unwrap();
    let report = verified(&state);
    assert_eq!((report.is_good(), report.rows, report.last), (true, 3, journal.last()));
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    for file in journal_files(&state).unwrap() {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(verify_folder(&folder.path().join("none"), &[]).unwrap().is_none());
}

#[test]
fn files_are_bounded_in_size_and_number_and_still_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let early = {
        journal.append(&[entry(0)]).unwrap();
        journal.last()
    };
    for number in 1..100 {
        journal.append(&[entry(number)]).unwrap();
        let files = journal_files(folder.path()).unwrap();
        assert!(files.len() <= SMALL.files, "{files:?}");
        assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() <= SMALL.file_bytes));
    }
    let report = verified(folder.path());
    assert_eq!((report.is_good(), report.after + report.rows, report.last.sequence), (true, 100, 100));
    assert!(report.after > 0, "the oldest rows are gone");
    // a note of a row that is gone in good order is no damage
    assert!(verify_folder(folder.path(), &[early]).unwrap().unwrap().1.is_good());
    // a file in the middle taken away
    let files = journal_files(folder.path()).unwrap();
    fs::remove_file(&files[1]).unwrap();
    assert!(matches!(verified(folder.path()).damages[..], [Damage::Missing { .. }]));
}

#[test]
fn what_a_power_failure_left_unfinished_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    journal.append(&[entry(1), entry(2)]).unwrap();
    drop(journal);
    let path = &journal_files(folder.path()).unwrap()[0];
    let whole = fs::read(path).unwrap();
    let second = whole.iter().rposition(|byte| *byte == b'\n').unwrap();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for length in 0..=whole.len() {
        fs::write(path, &whole[..length]).unwrap();
        let (mut journal, recovery) = Journal::open(folder.path(), NAME, SMALL).unwrap();
        let rows = whole[..length].iter().filter(|byte| **byte == b'\n').count().saturating_sub(1) as u64;
        assert_eq!(journal.last().sequence, rows, "cut at {length}");
        let is_cut = length > header && whole[length - 1] != b'\n';
        assert_eq!(matches!(recovery, Some(Recovery::CutOff(_))), is_cut, "cut at {length}: {recovery:?}");
        journal.append(&[entry(9)]).unwrap();
        let report = verified(folder.path());
        assert_eq!((report.is_good(), report.rows), (true, rows + 1), "cut at {length}");
    }
    assert!(second > header);
}

#[test]
fn damage_is_left_for_verification_and_the_chain_goes_on() {
    for keep in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open(folder.path());
        journal.append(&[entry(1), entry(2)]).unwrap();
        drop(journal);
        let path = &journal_files(folder.path()).unwrap()[0];
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').take(keep).collect();
        fs::write(path, lines.concat() + "no row\n").unwrap();
        let (mut journal, recovery) = Journal::open(folder.path(), NAME, SMALL).unwrap();
        assert_eq!(recovery, Some(Recovery::Damaged));
        journal.append(&[entry(3)]).unwrap();
        drop(journal);
        assert_eq!(verified(folder.path()).damages, [Damage::Unreadable(keep as u64 + 1)]);
        assert_eq!(Journal::open(folder.path(), NAME, SMALL).unwrap().1, None);
    }
}

#[test]
fn the_audit_of_another_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).append(&[entry(1)]).unwrap();
    let error = Journal::open(folder.path(), "spiffe://lab/node/pi-8", SMALL).map(drop).unwrap_err();
    assert!(matches!(error, JournalError::OtherChain { .. }), "{error}");
    assert!(error.to_string().contains(NAME), "{error}");
}

#[test]
fn each_damage_in_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    journal.append(&[entry(1), entry(2), entry(3), entry(4)]).unwrap();
    let note = journal.last();
    let path = &journal_files(folder.path()).unwrap()[0];
    let whole = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let damaged = |text: String| {
        fs::write(path, text).unwrap();
        verify_folder(folder.path(), &[note]).unwrap().unwrap().1.damages
    };
    assert_eq!(damaged(whole.clone()), []);
    assert_eq!(damaged(whole.replace("GPIO3", "GPIO5")), [Damage::Changed(3)]);
    assert_eq!(damaged(lines[..4].concat()), [Damage::Cut { first: 4, last: 4 }]);
    let without = [&lines[..2], &lines[3..]].concat().concat();
    assert_eq!(damaged(without), [Damage::Missing { first: 2, last: 2, before: 3 }]);
}

#[test]
fn deleted_files_do_not_swallow_rows_and_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("audit");
    let mut journal = open(&state);
    journal.append(&[entry(1)]).unwrap();
    let note = journal.last();
    fs::remove_dir_all(&state).unwrap();
    journal.append(&[entry(2)]).unwrap();
    let report = verified(&state);
    assert_eq!((report.rows, report.after, report.is_good()), (1, 1, true), "it says that row 1 is not there");
    drop(journal);
    // all of them, while nobody writes: it begins anew, and a note tells
    fs::remove_dir_all(&state).unwrap();
    open(&state).append(&[entry(3)]).unwrap();
    let damages = verify_folder(&state, &[note]).unwrap().unwrap().1.damages;
    assert_eq!(damages, [Damage::Rewritten(1)]);
}

#[test]
fn what_another_process_wrote_between_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let path = &journal_files(folder.path()).unwrap()[0];
    OpenOptions::new().append(true).open(path).unwrap().write_all(b"no row\n").unwrap();
    journal.append(&[entry(1)]).unwrap();
    assert_eq!(verified(folder.path()).damages, [Damage::Unreadable(2)]);
}
