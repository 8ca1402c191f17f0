//! Logs.

use proto::agent::v1 as pb;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::Status;

use super::{duration, invalid};
use crate::logs::{self, Capped, Cursor, DropReason, Entry, Fields, Filter, SourceId, Sources};

/// A filter, checked in full before anything is read.
pub(crate) fn log_filter(filter: pb::LogFilter) -> Result<Filter, Status> {
    let pb::LogFilter {
        units,
        minimum_priority,
        since,
        until,
        tail,
        follow,
        after_cursor,
        sources,
        files,
        identifiers,
        boot,
        pattern,
        fields,
    } = filter;
    let (since_us, until_us) = (moment("since", since)?, moment("until", until)?);
    if let (Some(since), Some(until)) = (since_us, until_us)
        && since > until
    {
        return Err(invalid("since", "must not be after until"));
    }
    if tail.is_some_and(|tail| tail > logs::TAIL) {
        return Err(invalid("tail", &format!("must be at most {}", logs::TAIL)));
    }
    if boot.is_some_and(|boot| boot > 0) {
        return Err(invalid("boot", "must be 0 for the current boot, or negative for one before"));
    }
    let pattern = (!pattern.is_empty()).then(|| logs::pattern(&pattern)).transpose();
    let after = (!after_cursor.is_empty()).then(|| Cursor::decode(&after_cursor)).transpose();
    Ok(Filter {
        sources: log_sources(&sources, &files)?,
        units: words("units", logs::WORDS, &units, logs::unit)?,
        identifiers: words("identifiers", logs::WORDS, &identifiers, logs::identifier)?,
        priority: priority(minimum_priority)?,
        since_us,
        until_us,
        boot,
        pattern: pattern.map_err(|why| invalid("pattern", &why))?,
        tail,
        follow,
        after: after.map_err(|why| invalid("after_cursor", &why.to_string()))?.unwrap_or_default(),
        fields: log_fields(&fields)?,
    })
}

fn log_sources(sources: &[i32], files: &[String]) -> Result<Sources, Status> {
    let mut wanted = Sources { files: words("files", logs::FILES, files, logs::file_name)?, ..Sources::default() };
    wanted.files.sort();
    wanted.files.dedup();
    for source in sources {
        match pb::LogSource::try_from(*source) {
            Ok(pb::LogSource::Journal) => wanted.journal = true,
            Ok(pb::LogSource::Kernel) => wanted.kernel = true,
            Ok(pb::LogSource::Agent) => wanted.agent = true,
            Ok(pb::LogSource::File) => return Err(invalid("sources", "must not contain FILE: name it in files")),
            _ => return Err(invalid("sources", "must be JOURNAL, KERNEL or AGENT")),
        }
    }
    Ok(wanted)
}

fn log_fields(names: &[String]) -> Result<Fields, Status> {
    match names {
        [] => Ok(Fields::None),
        names if names.iter().any(|name| name == "*") => Ok(Fields::All),
        names => words("fields", logs::WORDS, names, logs::field_name).map(Fields::These),
    }
}

fn words(
    field: &str,
    most: usize,
    words: &[String],
    check: fn(&str) -> Result<String, &'static str>,
) -> Result<Vec<String>, Status> {
    if words.len() > most {
        return Err(invalid(field, &format!("must be at most {most}")));
    }
    words.iter().map(|word| check(word).map_err(|why| invalid(field, why))).collect()
}

fn priority(number: i32) -> Result<Option<u8>, Status> {
    match pb::LogPriority::try_from(number) {
        Ok(pb::LogPriority::Unspecified) => Ok(None),
        Ok(priority) => Ok(Some(priority as u8 - 1)), // the wire begins with 1
        Err(_) => Err(invalid("minimum_priority", "must be a known severity")),
    }
}

fn moment(field: &str, time: Option<prost_types::Timestamp>) -> Result<Option<u64>, Status> {
    let Some(time) = time else { return Ok(None) };
    let time = SystemTime::try_from(time).ok().and_then(logs::since_epoch_us);
    // journalctl reads no later year than 9999
    let time = time.filter(|us| *us < 253_402_300_800_000_000);
    time.map(Some).ok_or_else(|| invalid(field, "must be a time from 1970 to 9999"))
}

/// An entry, with where the whole stream stands after it.
pub(crate) fn log_entry(cursor: &Cursor, source: &SourceId, entry: Entry) -> pb::LogEntry {
    let Entry {
        position: _,
        time_us,
        monotonic_us,
        boot_id,
        priority,
        unit,
        identifier,
        pid,
        message,
        fields,
        redactions,
    } = entry;
    let field = |(name, value): (String, Capped)| {
        let value_bytes = full_length(&value);
        pb::LogField { name, value: value.bytes, value_bytes }
    };
    let (source, file) = log_source(source);
    pb::LogEntry {
        cursor: cursor.encode(),
        time: Some(timestamp(time_us)),
        monotonic: monotonic_us.map(|us| duration(Duration::from_micros(us))),
        boot_id,
        priority: priority.map_or(0, |priority| i32::from(priority) + 1),
        unit,
        identifier,
        source: source.into(),
        file,
        pid,
        fields: fields.into_iter().map(field).collect(),
        message_bytes: full_length(&message),
        redactions,
        content: Some(pb::log_entry::Content::Message(message.bytes)),
    }
}

/// A notice about the stream.
pub(crate) fn log_notice(cursor: &Cursor, time_us: u64, content: pb::log_entry::Content) -> pb::LogEntry {
    let time = Some(timestamp(time_us));
    pb::LogEntry { cursor: cursor.encode(), time, content: Some(content), ..pb::LogEntry::default() }
}

/// The same about one source.
pub(crate) fn log_of(source: &SourceId, entry: pb::LogEntry) -> pb::LogEntry {
    let (source, file) = log_source(source);
    pb::LogEntry { source: source.into(), file, ..entry }
}

/// Entries are missing.
pub(crate) fn log_dropped(count: Option<u64>, reason: DropReason) -> pb::log_entry::Content {
    let reason = match reason {
        DropReason::Overrun => pb::LogDropReason::Overrun,
        DropReason::Vacuumed => pb::LogDropReason::Vacuumed,
        DropReason::Truncated => pb::LogDropReason::Truncated,
    };
    pb::log_entry::Content::Dropped(pb::LogDropped { count, reason: reason.into() })
}

/// The entry to resume after is gone.
pub(crate) fn log_cursor_lost(resumed_at_us: Option<u64>) -> pb::log_entry::Content {
    pb::log_entry::Content::CursorLost(pb::LogCursorLost { resumed_at: resumed_at_us.map(timestamp) })
}

/// One source, as the stream's first notice has it.
pub(crate) fn log_source_status(source: &SourceId, storage: pb::LogStorage) -> pb::LogSourceStatus {
    let (source, file) = log_source(source);
    pb::LogSourceStatus { source: source.into(), file, storage: storage.into() }
}

fn log_source(source: &SourceId) -> (pb::LogSource, String) {
    match source {
        SourceId::Journal => (pb::LogSource::Journal, String::new()),
        SourceId::Kernel => (pb::LogSource::Kernel, String::new()),
        SourceId::Agent => (pb::LogSource::Agent, String::new()),
        SourceId::File(name) => (pb::LogSource::File, name.clone()),
    }
}

fn full_length(value: &Capped) -> u64 {
    if value.is_cut() { value.length } else { 0 }
}

fn timestamp(us: u64) -> prost_types::Timestamp {
    (UNIX_EPOCH + Duration::from_micros(us)).into()
}
