//! The task that writes rows down: once a second at most, unless somebody waits.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use audit::{Entry, Journal, JournalError, Limits, Recovery, Repeats, Seen, Tally};
use rustix::fs::statvfs;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until};

use super::deed::Deed;
use super::{Auditor, CAPACITY, Noted, Queue, State, Waiting};

/// What is done within so long is written together.
const GATHER: Duration = Duration::from_millis(800);
/// What is repeated within so long after it was written is counted.
const WINDOW: Duration = Duration::from_secs(60);
/// When to try again after a write has failed.
const AGAIN: Duration = Duration::from_secs(1);
/// With less than this on the disk nothing new is begun.
const RESERVE: u64 = 64 << 10;
const NO_ROOM: &str = "the disk has less than 64 KiB left";
/// The agent before this one has not gone yet.
const OCCUPIED: Duration = Duration::from_millis(50);

pub(super) struct Writer {
    auditor: Arc<Auditor>,
    folder: PathBuf,
    chain: String,
    journal: Option<Journal>,
    tally: Tally<Deed>,
    /// Rows for which nobody waits and that could not be written yet.
    unwritten: Vec<Entry>,
    /// Rows that there was no room for.
    lost: u64,
    /// Since when nothing can be written.
    broken: Option<SystemTime>,
}

impl Writer {
    pub(super) fn new(auditor: Arc<Auditor>, folder: PathBuf, chain: String) -> Self {
        let (unwritten, tally) = (Vec::new(), Tally::new(WINDOW));
        Self { auditor, folder, chain, journal: None, tally, unwritten, lost: 0, broken: None }
    }

    /// Until the agent closes.
    pub(super) async fn run(mut self) {
        let mut closing = self.auditor.closing.subscribe();
        while !self.open().await {
            tokio::select! {
                () = sleep(if self.broken.is_none() { OCCUPIED } else { AGAIN }) => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
        }
        if self.broken.is_some() {
            self.write(Queue::default()).await;
        }
        loop {
            let is_over = tokio::select! {
                () = self.something() => false,
                _ = closing.wait_for(|closing| *closing) => true,
            };
            let queue = std::mem::take(&mut *self.auditor.queue());
            if is_over {
                self.count(queue.deeds);
                let rest = self.tally.rest();
                self.unwritten.extend(rest.into_iter().map(|(deed, repeats)| repeated(&deed, repeats)));
                self.write(Queue { deeds: Vec::new(), rows: queue.rows }).await;
                self.auditor.set(State::Broken); // whoever comes now comes too late
                drop(std::mem::take(&mut *self.auditor.queue()));
                return;
            }
            self.write(queue).await;
        }
    }

    /// Something to write, and time enough for more of it to come.
    async fn something(&mut self) {
        if self.broken.is_some() {
            return sleep(AGAIN).await;
        }
        let auditor = self.auditor.clone();
        let next = self.tally.next();
        tokio::select! {
            () = auditor.work.notified() => {}
            () = async { sleep_until(next.unwrap_or_else(Instant::now).into()).await }, if next.is_some() => {}
        }
        tokio::select! {
            () = auditor.hurry.notified() => {}
            () = sleep(GATHER) => {}
        }
    }

    /// Whether the journal is open. Another agent may still write it: then it will be.
    async fn open(&mut self) -> bool {
        if self.journal.is_some() {
            return true;
        }
        let (folder, chain) = (self.folder.clone(), self.chain.clone());
        let opened = spawn_blocking(move || Journal::open(&folder, &chain, Limits::default())).await;
        match opened {
            Ok(Ok((journal, recovery))) => {
                tracing::info!(after = %journal.last(), "the audit goes on");
                self.unwritten.extend(recovery.map(recovered));
                self.journal = Some(journal);
                match self.has_room() {
                    true if self.broken.is_none() => self.auditor.set(State::Open),
                    true => {}
                    false => self.broke(NO_ROOM),
                }
                true
            }
            Ok(Err(JournalError::Occupied { .. })) => false,
            Ok(Err(error)) => {
                self.broke(&startup::one_line(&error));
                false
            }
            Err(panicked) => {
                self.broke(&panicked.to_string());
                false
            }
        }
    }

    /// Everything in one write.
    async fn write(&mut self, queue: Queue) {
        self.count(queue.deeds);
        let due = self.tally.due(Instant::now());
        self.unwritten.extend(due.into_iter().map(|(deed, repeats)| repeated(&deed, repeats)));
        let has_room = self.has_room();
        // where there is no room left, what was done already still has it, and nothing new begins
        let (waiting, refused): (Vec<_>, Vec<_>) =
            queue.rows.into_iter().partition(|row| has_room || row.done.is_none());
        let mut entries = self.unwritten.clone();
        entries.extend(waiting.iter().map(|waiting| waiting.entry.clone()));
        entries.sort_by_key(|entry| entry.at);
        let calls = self.auditor.refused.load(Ordering::Relaxed);
        entries.extend(self.gap(calls).filter(|_| has_room));
        let is_written = entries.is_empty() || self.append(entries).await;
        if is_written {
            self.unwritten.clear();
        }
        for (Waiting { entry, done }, is_written) in
            waiting.into_iter().map(|row| (row, is_written)).chain(refused.into_iter().map(|row| (row, false)))
        {
            match done {
                Some(done) => drop(done.send(is_written)), // who asked may have gone away
                None if !is_written => self.keep(entry),
                None => {}
            }
        }
        match (is_written, has_room) {
            (true, true) => self.works(calls),
            (true, false) => self.broke(NO_ROOM),
            (false, _) => {}
        }
    }

    /// Whether there is room for what is done until somebody notices that there is none.
    fn has_room(&self) -> bool {
        // what cannot be asked is told by the write
        statvfs(&self.folder).map_or(true, |told| told.f_bavail.saturating_mul(told.f_frsize) >= RESERVE)
    }

    fn works(&mut self, refused: u64) {
        self.lost = 0;
        self.auditor.refused.fetch_sub(refused, Ordering::Relaxed);
        if self.broken.take().is_some() {
            tracing::info!("the audit is written again");
        }
        self.auditor.set(State::Open);
    }

    /// What is new becomes a row, what was written lately is counted.
    fn count(&mut self, deeds: Vec<Noted>) {
        let now = Instant::now();
        let last = SystemTime::now(); // each deed is a second old at most
        for Noted { deed, at, count, why } in deeds {
            let all = Repeats { count, first: at, last };
            if self.tally.see(now, &deed, all) == Seen::Again {
                continue;
            }
            self.keep(deed.entry(at, &why, None));
            let more = Repeats { count: count - 1, ..all };
            if more.count > 0 && !self.tally.repeat(now, &deed, more) {
                self.keep(repeated(&deed, more)); // as much is counted as can be
            }
        }
    }

    fn keep(&mut self, entry: Entry) {
        match self.unwritten.len() < 2 * CAPACITY {
            true => self.unwritten.push(entry),
            false => self.lost += 1,
        }
    }

    /// After a time in which nothing could be written: what there is to say about it.
    fn gap(&self, refused: u64) -> Option<Entry> {
        let lost = self.lost;
        let since = match self.broken {
            Some(since) => audit::rfc3339(since),
            None if refused > 0 => "a moment ago".to_owned(),
            None => return None,
        };
        Some(own(
            "audit.gap",
            format!("nothing could be written since {since}: {refused} calls were refused, {lost} rows are lost"),
        ))
    }

    async fn append(&mut self, entries: Vec<Entry>) -> bool {
        if !self.open().await {
            return false;
        }
        let Some(mut journal) = self.journal.take() else { return false };
        let appended = spawn_blocking(move || {
            let appended = journal.append(&entries);
            (journal, appended)
        });
        let error = match appended.await {
            Ok((journal, appended)) => {
                self.journal = Some(journal);
                appended.err()
            }
            // it is opened again next time
            Err(panicked) => Some(io::Error::other(panicked)),
        };
        if let Some(error) = &error {
            self.broke(&startup::one_line(error));
        }
        error.is_none()
    }

    /// Said once, until it works again.
    fn broke(&mut self, why: &str) {
        self.auditor.set(State::Broken);
        if self.broken.is_none() {
            self.broken = Some(SystemTime::now());
            tracing::error!(%why, "the audit cannot be written: calls that change something are refused; trying again");
        }
    }
}

fn repeated(deed: &Deed, repeats: Repeats) -> Entry {
    deed.entry(repeats.first, "", Some(repeats))
}

/// What the agent says itself.
fn own(action: &str, detail: String) -> Entry {
    let (who, on_behalf_of, subject) = ("pi-agent".to_owned(), String::new(), String::new());
    let outcome = "noted".to_owned();
    Entry { at: SystemTime::now(), who, on_behalf_of, action: action.to_owned(), subject, outcome, detail }
}

fn recovered(recovery: Recovery) -> Entry {
    own(
        "audit.recovered",
        match recovery {
            Recovery::CutOff(bytes) => {
                format!("a row of {bytes} bytes was not finished, as after a power failure: it was cut off")
            }
            Recovery::Damaged => "the file before this one does not end with a row: verify tells which".to_owned(),
        },
    )
}
