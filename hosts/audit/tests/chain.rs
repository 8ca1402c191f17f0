//! S26: whatever is done to rows is found, and the report names the row.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use audit::{Anchor, Chain, Damage, Entry, Hash, Header, Report, Row, Verifier, format_row, parse_row, verify_lines};
use proptest::collection::vec;
use proptest::prelude::*;

const CHAIN: &str = "spiffe://lab";

fn entry(number: u64) -> Entry {
    let text = |text: &str| text.to_owned();
    Entry {
        at: SystemTime::UNIX_EPOCH + Duration::new(1_780_272_000 + number, 7),
        who: text("operator/anna"),
        on_behalf_of: text(""),
        action: text("token.create"),
        subject: format!("token/{number}"),
        outcome: text("allowed"),
        detail: text("uses 1"),
    }
}

fn rows_of(chain: &str, count: u64) -> Vec<Row> {
    let mut chain = Chain::new(chain);
    (1..=count).map(|number| chain.append(entry(number))).collect()
}

fn rows(count: u64) -> Vec<Row> {
    rows_of(CHAIN, count)
}

/// Against a note of the last row that was written.
fn verify(rows: &[Row], end: Anchor) -> Report {
    let mut verifier = Verifier::new(CHAIN);
    rows.iter().for_each(|row| verifier.check(row));
    verifier.end_at(end);
    verifier.finish()
}

fn damages(rows: &[Row], end: Anchor) -> Vec<Damage> {
    verify(rows, end).damages
}

#[test]
fn what_is_as_it_was_written_is_good() {
    for count in [0, 1, 2, 50] {
        let rows = rows(count);
        let end = rows.last().map_or(Chain::new(CHAIN).last(), Row::anchor);
        let report = verify(&rows, end);
        assert_eq!((report.is_good(), report.rows, report.last), (true, count, end));
    }
}

#[test]
fn each_field_is_covered() {
    let edits: [fn(&mut Row); 9] = [
        |row| row.entry.at += Duration::from_nanos(1),
        |row| row.entry.who = "operator/eve".to_owned(),
        |row| row.entry.on_behalf_of = "operator/eve".to_owned(),
        |row| row.entry.action.push('x'),
        |row| row.entry.subject.clear(),
        |row| row.entry.outcome = "denied".to_owned(),
        |row| row.entry.detail.push(' '),
        // a text moved from one field to the next
        |row| row.entry.detail = std::mem::take(&mut row.entry.outcome) + &row.entry.detail,
        |row| row.hash.0[31] ^= 1,
    ];
    let whole = rows(5);
    let end = whole[4].anchor();
    for (number, edit) in edits.iter().enumerate() {
        for at in 0..5 {
            let mut rows = whole.clone();
            edit(&mut rows[at]);
            let damages = damages(&rows, end);
            let named = match at {
                0 => Damage::Beginning { chain: CHAIN.to_owned() },
                _ => Damage::Changed(at as u64 + 1),
            };
            assert_eq!(damages[0], named, "edit {number} of row {}", at + 1);
            // the last row's hash is also the noted one
            assert_eq!(damages.len(), if number == 8 && at == 4 { 2 } else { 1 }, "{damages:?}");
        }
    }
}

#[test]
fn a_row_that_was_changed_with_its_hash_breaks_the_next() {
    let mut rows = rows(5);
    let end = rows[4].anchor();
    rows[2].entry.who = "operator/eve".to_owned();
    rows[2].hash = Hash::of(rows[1].hash, 3, &rows[2].entry);
    assert_eq!(damages(&rows, end), [Damage::Changed(4)]);
    // written anew from there on: only the note tells
    for at in 3..5 {
        rows[at].hash = Hash::of(rows[at - 1].hash, at as u64 + 1, &rows[at].entry);
    }
    assert_eq!(damages(&rows, end), [Damage::Rewritten(5)]);
    assert!(damages(&rows, rows[4].anchor()).is_empty(), "this is what a chain cannot show without a note");
}

#[test]
fn dropped_rows_are_named() {
    let whole = rows(6);
    let end = whole[5].anchor();
    let without = |range: std::ops::Range<usize>| {
        let mut rows = whole.clone();
        rows.drain(range);
        damages(&rows, end)
    };
    assert_eq!(without(0..1), [Damage::Missing { first: 1, last: 1, before: 2 }]);
    assert_eq!(without(2..4), [Damage::Missing { first: 3, last: 4, before: 5 }]);
    assert_eq!(without(5..6), [Damage::Cut { first: 6, last: 6 }]);
    assert_eq!(without(0..6), [Damage::Cut { first: 1, last: 6 }]);
    assert_eq!(without(3..6)[0].to_string(), "rows 4 to 6 are missing at the end: it was cut off");
    assert_eq!(without(2..3)[0].to_string(), "row 3 is missing before row 4");
}

#[test]
fn moved_and_inserted_rows_are_named() {
    let whole = rows(6);
    let end = whole[5].anchor();
    let mut swapped = whole.clone();
    swapped.swap(2, 3);
    assert_eq!(
        damages(&swapped, end),
        [Damage::Missing { first: 3, last: 3, before: 4 }, Damage::Moved { sequence: 3, after: 4 }]
    );
    // their contents swapped, each with the number of its new place
    let mut swapped = whole.clone();
    let (three, four) = (swapped[2].entry.clone(), swapped[3].entry.clone());
    (swapped[2].entry, swapped[3].entry) = (four, three);
    assert_eq!(damages(&swapped, end), [Damage::Changed(3), Damage::Changed(4)]);
    let mut repeated = whole.clone();
    repeated.insert(3, whole[2].clone());
    assert_eq!(damages(&repeated, end), [Damage::Moved { sequence: 3, after: 3 }]);
    // one put in between, and all after it renumbered
    let mut inserted = whole.clone();
    inserted.insert(3, Row { entry: entry(99), ..whole[3].clone() });
    inserted[4..].iter_mut().for_each(|row| row.sequence += 1);
    assert_eq!(damages(&inserted, end)[0], Damage::Changed(4));
    // put at the end, with a right hash
    let mut chain = Chain::after(end);
    let mut longer = whole.clone();
    longer.push(chain.append(entry(7)));
    assert_eq!(damages(&longer, end), [Damage::Added(7)]);
}

#[test]
fn another_chain_is_another_chain() {
    let foreign = rows_of("spiffe://barn", 3);
    let damage = &damages(&foreign, foreign[2].anchor())[0];
    assert!(damage.to_string().starts_with("row 1 does not begin the chain of spiffe://lab"), "{damage}");
    // one row of it among ours
    let mut rows = rows(3);
    rows[1] = Row { entry: entry(77), ..foreign[1].clone() };
    assert_eq!(damages(&rows, rows[2].anchor())[0], Damage::Changed(2));
}

fn file(rows: &[Row]) -> String {
    let header = Header { chain: CHAIN.to_owned(), after: Chain::new(CHAIN).last(), end: rows.last().map(Row::anchor) };
    header.format() + &rows.iter().map(format_row).collect::<String>()
}

#[test]
fn an_exported_file_is_verified_by_itself() {
    let text = file(&rows(4));
    assert!(verify_lines(text.as_bytes(), &[]).unwrap().1.is_good());
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let cut = lines[..4].concat();
    assert_eq!(verify_lines(cut.as_bytes(), &[]).unwrap().1.damages, [Damage::Cut { first: 4, last: 4 }]);
    let torn = text.replacen("\"time\"", "\"thyme\"", 1);
    let report = verify_lines(torn.as_bytes(), &[]).unwrap().1;
    assert_eq!(report.damages, [Damage::Unreadable(2), Damage::Missing { first: 1, last: 1, before: 2 }]);
    assert!(verify_lines("{}\n".as_bytes(), &[]).is_err());
    let later = text.replacen("\"audit\":1", "\"audit\":2", 1);
    let error = verify_lines(later.as_bytes(), &[]).map(drop).unwrap_err();
    assert!(format!("{error:?}").contains("Format(2)"), "{error:?}");
    let endless = text.clone() + &"x".repeat(1 << 20);
    assert_eq!(verify_lines(endless.as_bytes(), &[]).unwrap().1.damages[0], Damage::Unreadable(6));
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let texts = (any::<String>(), any::<String>(), "[a-z.]{0,12}", any::<String>(), "[a-z]{0,8}", any::<String>());
    (0..4_000_000_000_u64, 0..1_000_000_000_u32, texts).prop_map(|(seconds, nanos, texts)| {
        let (who, on_behalf_of, action, subject, outcome, detail) = texts;
        let at = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        Entry { at, who, on_behalf_of, action, subject, outcome, detail }
    })
}

proptest! {
    #[test]
    fn a_line_is_read_as_it_was_written(entry in any_entry(), before in any::<u64>()) {
        let before = Anchor { sequence: before / 2, hash: Hash::genesis("x") };
        let row = Chain::after(before).append(entry);
        let line = format_row(&row);
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(parse_row(&line).unwrap(), row);
    }

    #[test]
    fn no_line_makes_the_parser_panic(text in any::<String>()) {
        let _ = (parse_row(&text), Header::parse(&text));
    }

    /// One byte of a file changed: the same rows (where the byte was no part of one), or damage.
    #[test]
    fn any_single_changed_byte_is_found(entries in vec(any_entry(), 1..6), at in any::<usize>(), bit in 0..8_u8) {
        let mut chain = Chain::new(CHAIN);
        let rows: Vec<Row> = entries.into_iter().map(|entry| chain.append(entry)).collect();
        let text = file(&rows);
        let mut bytes = text.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let noted = [rows.last().unwrap().anchor()];
        if let Ok((header, report)) = verify_lines(bytes.as_slice(), &noted) {
            let same = header.chain == CHAIN && String::from_utf8(bytes).is_ok_and(|changed| same_rows(&changed, &rows));
            prop_assert!(same || !report.is_good(), "byte {at} bit {bit}: {report:?}\n{text}");
        }
    }

    /// Rows taken away, exchanged or repeated anywhere.
    #[test]
    fn any_single_move_is_found(count in 1..12_u64, from in any::<usize>(), to in any::<usize>(), how in 0..3) {
        let mut rows = rows(count);
        let (end, from, to) = (rows[rows.len() - 1].anchor(), from % rows.len(), to % rows.len());
        match how {
            0 => drop(rows.remove(from)),
            1 => rows.swap(from, to),
            _ => rows.insert(to, rows[from].clone()),
        }
        prop_assert_eq!(verify(&rows, end).is_good(), how == 1 && from == to);
    }
}

fn same_rows(text: &str, rows: &[Row]) -> bool {
    let parsed: Vec<_> = text.lines().skip(1).map(parse_row).collect();
    parsed.len() == rows.len() && parsed.iter().zip(rows).all(|(line, row)| line.as_ref().is_ok_and(|line| line == row))
}
