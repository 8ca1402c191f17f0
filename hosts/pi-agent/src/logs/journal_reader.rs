//! Reads the journal through one child after the other: what there is, then what comes. A child that dies is replaced
//! at the last entry that was read.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::cursor::{JournalCursor, Position};
use super::entry::{Capped, DropReason, Entry, Event, FIELD_BYTES, FIELDS};
use super::export::Field;
use super::filter::{Fields, Filter};
use super::journal::{Journal, Request, Start, cursor_of};
use super::lane::{Lane, SourceError};
use super::redact::redact_entry;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Children that die one after the other without an entry.
const TRIES: u32 = 8;

/// Entries wait at most so long for others, so that many can be sent at once.
const GATHERING: Duration = Duration::from_millis(5);

/// What the first entry of a child has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum First {
    /// Any.
    New,
    /// Passed over if it is the one at the cursor. That one was seen to be there, but need not meet the filter.
    Known,
    /// The one at the cursor, which met the filter before; if it is another one, entries are gone.
    Same,
}

/// One reader of the journal.
pub(crate) struct JournalReader {
    journal: Journal,
    filter: Arc<Filter>,
    kernel: bool,
    start: Start,
    first: First,
    lane: Lane,
    /// A gap in the numbers that was no loss: not all of the journal can be read. Then gaps say nothing.
    has_gaps: bool,
}

impl JournalReader {
    pub(crate) fn new(journal: Journal, filter: Arc<Filter>, kernel: bool, lane: Lane) -> Self {
        Self { journal, filter, kernel, start: Start::Beginning, first: First::New, lane, has_gaps: false }
    }

    /// Yields what there is after `after`, and what comes if the filter follows.
    pub(crate) async fn run(mut self, after: Option<Position>) -> Result<(), SourceError> {
        match (after, self.filter.tail) {
            (Some(position), _) => self.resume(position).await?,
            (None, Some(count)) => self.tail(count).await?,
            (None, None) => {}
        }
        self.read(false).await?;
        self.lane.put(Event::CaughtUp).await?;
        self.lane.flush().await?;
        if self.filter.follow {
            // If nothing met the filter so far, this looks at all of it once more: nothing may slip through in between.
            self.read(true).await?;
        }
        Ok(())
    }

    /// Begins after a position that the client brought: whether its entry is there is seen before any filter.
    async fn resume(&mut self, position: Position) -> Result<(), SourceError> {
        let Position::Journal(cursor) = position else {
            return self.lane.put(Event::CursorLost { resumed_at_us: None }).await;
        };
        let request = Request { filter: None, kernel: false, start: Start::At(cursor), follow: false };
        let found = self.journal.first(&request).await?;
        (self.start, self.first) = (Start::At(cursor), First::Known);
        if found != Some(cursor) {
            self.lost(cursor, found, true).await?;
        }
        Ok(())
    }

    /// Begins at the entry from which on `count` meet the filter.
    async fn tail(&mut self, count: u32) -> Result<(), SourceError> {
        if count == 0 {
            let request = Request { filter: None, kernel: false, start: Start::Newest, follow: false };
            if let Some(newest) = self.journal.first(&request).await? {
                (self.start, self.first) = (Start::At(newest), First::Known);
            }
            return Ok(());
        }
        let filter = self.filter.clone();
        let request = Request { filter: Some(&filter), kernel: self.kernel, start: Start::Newest, follow: false };
        let mut reading = self.journal.read(&request)?;
        let (mut entries, mut left) = (Vec::new(), count);
        while reading.more(&mut entries).await? {
            for fields in entries.drain(..) {
                let Some(cursor) = cursor_of(&fields) else { continue };
                if self.entry(cursor, fields).is_none() {
                    continue;
                }
                left -= 1;
                if left == 0 {
                    self.start = Start::At(cursor);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Until the end, or for ever. Children that die are replaced.
    async fn read(&mut self, follow: bool) -> Result<(), SourceError> {
        let (mut pause, mut tries) = (FIRST_PAUSE, 0);
        loop {
            let before = self.start;
            let why = match self.read_once(follow).await? {
                Ok(()) if !follow => return Ok(()),
                Ok(()) => "journalctl ended".to_owned(),
                Err(why) => why,
            };
            if self.start != before {
                (pause, tries) = (FIRST_PAUSE, 0);
            }
            tries += 1;
            if tries == TRIES {
                return Err(SourceError::Failed(why));
            }
            tracing::warn!(%why, "the journal's reader is restarted where it was");
            self.lane.flush().await?;
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One child; the inner error is why it ended too early.
    async fn read_once(&mut self, follow: bool) -> Result<Result<(), String>, SourceError> {
        let filter = self.filter.clone();
        let request = Request { filter: Some(&filter), kernel: self.kernel, start: self.start, follow };
        let mut reading = match self.journal.read(&request) {
            Ok(reading) => reading,
            Err(error) => return Ok(Err(format!("journalctl cannot be started: {error}"))),
        };
        let (mut entries, mut is_first) = (Vec::new(), true);
        loop {
            // what it has not read stays in the pipe, so that nothing is lost if it is not waited for
            let more = match timeout(GATHERING, reading.more(&mut entries)).await {
                Ok(more) => more,
                Err(_) => {
                    self.lane.flush().await?;
                    reading.more(&mut entries).await
                }
            };
            let more = match more {
                Ok(more) => more,
                Err(error) => return Ok(Err(format!("journalctl's output cannot be read: {error}"))),
            };
            for fields in entries.drain(..) {
                self.take(fields, is_first).await?;
                is_first = false;
            }
            if !more {
                break;
            }
        }
        self.lane.flush().await?;
        let ended = reading.end().await;
        if let (Ok(()), true, Start::At(cursor), First::Same) = (&ended, is_first, self.start, self.first) {
            // neither the entry at the cursor came, nor any after it
            self.first = First::Known;
            self.lost(cursor, None, false).await?;
        }
        Ok(ended)
    }

    async fn take(&mut self, fields: Vec<Field>, is_first: bool) -> Result<(), SourceError> {
        let Some(cursor) = cursor_of(&fields) else {
            return Err(SourceError::Failed("the journal has cursors of a form that is not known".to_owned()));
        };
        match (self.start, self.first, is_first) {
            (Start::At(at), First::Known | First::Same, true) if at == cursor => return Ok(()),
            (Start::At(at), First::Same, true) => self.lost(at, Some(cursor), self.is_gapless()).await?,
            (Start::At(at), _, false) => self.look_for_gap(at, cursor).await?,
            _ => {}
        }
        (self.start, self.first) = (Start::At(cursor), First::Same);
        if let Some(entry) = self.entry(cursor, fields) {
            self.lane.put(Event::Entry(entry)).await?;
        }
        Ok(())
    }

    /// Whether every entry of the journal is read, so that their numbers have no gap.
    fn is_gapless(&self) -> bool {
        let Filter { units, identifiers, priority, boot, .. } = &*self.filter;
        units.is_empty() && identifiers.is_empty() && priority.is_none() && boot.is_none() && !self.kernel
    }

    /// The entry at `at` is gone, and the reading resumes at `found`.
    async fn lost(
        &mut self,
        at: JournalCursor,
        found: Option<JournalCursor>,
        is_gapless: bool,
    ) -> Result<(), SourceError> {
        self.lane.put(Event::CursorLost { resumed_at_us: found.map(|cursor| cursor.realtime) }).await?;
        match found.and_then(|found| between(at, found)) {
            Some(missing) if is_gapless && missing > 0 => self.dropped(missing).await,
            _ => Ok(()),
        }
    }

    /// The journal may have given up entries while we waited for a slow client.
    async fn look_for_gap(&mut self, at: JournalCursor, next: JournalCursor) -> Result<(), SourceError> {
        let missing = between(at, next).unwrap_or(0);
        if missing == 0 || self.has_gaps || !self.is_gapless() {
            return Ok(());
        }
        let request = Request { filter: None, kernel: false, start: Start::At(at), follow: false };
        if self.journal.first(&request).await? == Some(at) {
            self.has_gaps = true;
            return Ok(());
        }
        self.dropped(missing).await
    }

    async fn dropped(&mut self, count: u64) -> Result<(), SourceError> {
        self.lane.put(Event::Dropped { count: Some(count), reason: DropReason::Vacuumed }).await
    }

    /// The fields as an entry, without secrets, if it meets what journalctl was not asked for.
    fn entry(&self, cursor: JournalCursor, fields: Vec<Field>) -> Option<Entry> {
        let mut entry = entry(cursor, fields, &self.filter.fields);
        redact_entry(&mut entry);
        self.filter.matches_rest(&entry).then_some(entry)
    }
}

/// How many entries were between them; `None`: their numbers are not of one count.
fn between(earlier: JournalCursor, later: JournalCursor) -> Option<u64> {
    let is_same = earlier.sequence_id == later.sequence_id;
    is_same.then(|| later.sequence.checked_sub(earlier.sequence)?.checked_sub(1))?
}

fn entry(cursor: JournalCursor, fields: Vec<Field>, wanted: &Fields) -> Entry {
    let mut entry = Entry::bare(Position::Journal(cursor), 0, Capped::default());
    if *wanted == Fields::All {
        entry.fields.reserve(fields.len().min(FIELDS));
    }
    let (mut unit, mut of_unit, mut command) = (String::new(), String::new(), String::new());
    let mut claimed_pid = None;
    for field in fields {
        match field.name.as_str() {
            "__REALTIME_TIMESTAMP" => entry.time_us = number(&field).unwrap_or(0),
            "__MONOTONIC_TIMESTAMP" => entry.monotonic_us = number(&field),
            "_BOOT_ID" => entry.boot_id = text(&field),
            "PRIORITY" => entry.priority = number(&field).filter(|priority| *priority < 8).map(|level| level as u8),
            "_SYSTEMD_UNIT" => unit = text(&field),
            "UNIT" => of_unit = text(&field),
            "SYSLOG_IDENTIFIER" => entry.identifier = text(&field),
            "_COMM" => command = text(&field),
            "_PID" => entry.pid = number(&field).and_then(|pid| u32::try_from(pid).ok()),
            "SYSLOG_PID" => claimed_pid = number(&field).and_then(|pid| u32::try_from(pid).ok()),
            _ => {}
        }
        let is_wanted = is_wanted(&field.name, wanted) && entry.fields.len() < FIELDS;
        let Field { name, mut value, length } = field;
        if name == "MESSAGE" {
            if is_wanted {
                entry.fields.push((name, Capped { length, ..Capped::new(&value, FIELD_BYTES) }));
            }
            entry.message = Capped { bytes: value, length };
        } else if is_wanted {
            value.truncate(FIELD_BYTES);
            entry.fields.push((name, Capped { bytes: value, length }));
        }
    }
    // the service manager speaks for the unit that it names; nobody else is believed
    entry.unit = if unit == "init.scope" && !of_unit.is_empty() { of_unit } else { unit };
    entry.pid = entry.pid.or(claimed_pid);
    if entry.identifier.is_empty() {
        entry.identifier = command;
    }
    entry
}

fn is_wanted(name: &str, wanted: &Fields) -> bool {
    match wanted {
        Fields::None => false,
        Fields::These(names) => names.iter().any(|wanted| wanted == name),
        Fields::All => !name.starts_with("__") && name != "MESSAGE",
    }
}

fn text(field: &Field) -> String {
    String::from_utf8_lossy(&field.value).into_owned()
}

fn number(field: &Field) -> Option<u64> {
    std::str::from_utf8(&field.value).ok()?.parse().ok()
}
