//! Reads a log in memory.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::cursor::Position;
use super::entry::{Capped, DropReason, Entry, Event, MESSAGE_BYTES};
use super::filter::Filter;
use super::lane::{BATCH, Lane, SourceError};
use super::redact::redact_entry;
use super::ring::{LogRecord, LogRing};

/// One reader of a ring.
pub(crate) struct MemoryReader {
    pub(crate) ring: LogRing,
    pub(crate) filter: Arc<Filter>,
    /// Only what the kernel said.
    pub(crate) kernel: bool,
}

impl MemoryReader {
    /// Yields what there is after `after`, and what comes if the filter follows.
    pub(crate) async fn run(self, after: Option<Position>, mut lane: Lane) -> Result<(), SourceError> {
        let boot = self.filter.boot.map(|offset| self.ring.boot(offset).unwrap_or_else(|| "none".to_owned()));
        let mut at = self.start(after, boot.as_deref(), &mut lane).await?;
        let mut is_new = false;
        loop {
            let news = self.ring.news().notified();
            tokio::pin!(news);
            news.as_mut().enable(); // before the look, so that no record slips in between
            let portion = self.ring.read(at, BATCH);
            at = portion.next;
            if portion.missed > 0 {
                lane.put(Event::Dropped { count: Some(portion.missed), reason: DropReason::Overrun }).await?;
            }
            let is_end = portion.records.is_empty();
            for (number, record) in portion.records {
                if let Some(entry) = self.entry(number, &record, boot.as_deref()) {
                    lane.put(Event::Entry(entry)).await?;
                }
            }
            if is_end && !is_new {
                is_new = true;
                lane.put(Event::CaughtUp).await?;
            }
            lane.flush().await?;
            match (is_end, self.filter.follow) {
                (true, true) => news.await,
                (true, false) => return Ok(()),
                (false, _) => {}
            }
        }
    }

    async fn start(&self, after: Option<Position>, boot: Option<&str>, lane: &mut Lane) -> Result<u64, SourceError> {
        match after {
            Some(Position::Memory { epoch, sequence }) if epoch == self.ring.epoch() && sequence < self.ring.next() => {
                Ok(sequence + 1)
            }
            Some(_) => {
                let first = self.ring.read(self.ring.first(), 1).records.pop();
                let resumed_at_us = first.map(|(_, record)| time_us(&record));
                lane.put(Event::CursorLost { resumed_at_us }).await?;
                Ok(self.ring.first())
            }
            None => match self.filter.tail {
                Some(count) => Ok(self.ring.tail(count, |number, record| self.entry(number, record, boot).is_some())),
                None => Ok(self.ring.first()),
            },
        }
    }

    /// The record as an entry, if it meets the filter.
    fn entry(&self, number: u64, record: &LogRecord, boot: Option<&str>) -> Option<Entry> {
        if self.kernel && !record.is_kernel || boot.is_some_and(|boot| boot != record.boot_id) {
            return None;
        }
        let position = Position::Memory { epoch: self.ring.epoch(), sequence: number };
        let mut entry = Entry {
            monotonic_us: record.monotonic.map(|since| since.as_micros() as u64), // 584,000 years fit
            boot_id: record.boot_id.clone(),
            priority: Some(record.priority),
            unit: record.unit.clone(),
            identifier: record.identifier.clone(),
            pid: record.pid,
            ..Entry::bare(position, time_us(record), Capped::new(record.message.as_bytes(), MESSAGE_BYTES))
        };
        redact_entry(&mut entry);
        self.filter.matches(&entry).then_some(entry)
    }
}

fn time_us(record: &LogRecord) -> u64 {
    record.time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
