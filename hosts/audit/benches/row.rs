//! What a row costs, beside the least that a program could do: append the same bytes. Prints; decides nothing.
//!
//! `cargo bench -p audit --profile dist`; the disk is that of the temporary folder (`TMPDIR`).

#![allow(clippy::unwrap_used, reason = "a benchmark ends where it cannot go on")]

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use audit::{Chain, Entry, Journal, Limits, Repeats, Tally, format_row};

const ROUNDS: usize = 21;

fn entry() -> Entry {
    let text = |text: &str| text.to_owned();
    Entry {
        at: SystemTime::now(),
        who: text("controller/c1"),
        on_behalf_of: text("operator/anna"),
        action: text("gpio.write"),
        subject: text("GPIO17"),
        outcome: text("done"),
        detail: text("high"),
    }
}

/// The median of the rounds of two, which take turns, a row.
fn turns(rows: usize, mut ours: impl FnMut(), mut bare: impl FnMut()) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (side, work) in [&mut ours as &mut dyn FnMut(), &mut bare].into_iter().enumerate() {
            let began = Instant::now();
            work();
            times[side].push(began.elapsed() / u32::try_from(rows).unwrap());
        }
    }
    times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2]
    })
}

fn print(what: &str, [ours, bare]: [Duration; 2]) {
    println!("{what:<44} {ours:>12?} {bare:>12?} {:>8.2}", ours.as_secs_f64() / bare.as_secs_f64());
}

fn main() {
    println!("{:<44} {:>12} {:>12} {:>8}", "a row", "audit", "bare", "ratio");
    let entry = entry();
    let (mut chain, mut list) = (Chain::new("spiffe://lab"), Vec::with_capacity(1 << 20));
    let hash = || drop(black_box((0..1000).map(|_| chain.append(entry.clone())).last()));
    let copy = || {
        list.clear();
        (0..1000).for_each(|_| list.push(entry.clone()));
        black_box(&list);
    };
    print("hash (bare: push)", turns(1000, hash, copy));

    let row = Chain::new("spiffe://lab").append(entry.clone());
    let line = format_row(&row);
    let (mut tally, now, once) = (Tally::new(Duration::from_secs(60)), Instant::now(), Repeats::once(entry.at));
    let count = || {
        for _ in 0..1000 {
            black_box(tally.see(now, &17, once));
        }
    };
    let mut counter = 0_u64;
    let add = || (0..1000).for_each(|_| counter = black_box(counter + 1));
    print("a repeat, counted (bare: add 1)", turns(1000, count, add));

    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(&folder.path().join("audit"), "spiffe://lab", Limits::default()).unwrap();
    let mut file = OpenOptions::new().create_new(true).append(true).open(folder.path().join("bare")).unwrap();
    for rows in [1, 16, 256] {
        let entries = vec![entry.clone(); rows];
        let ours = || journal.append(&entries).unwrap();
        let text = line.repeat(rows);
        let bare = || file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).unwrap();
        print(&format!("on disk, {rows} together (bare: append, fdatasync)"), turns(rows, ours, bare));
    }
}
