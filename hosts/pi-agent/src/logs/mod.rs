//! `StreamLogs`: the journal, the kernel, named files and the agent's own log, behind one filter and one cursor.
//!
//! Each source of a stream is a task that yields events into a [`lane`]; [`stream`] puts them in order; an [`outbox`]
//! holds a few batches for the client. A client that is slow makes all of it wait, back to the journal; only a log in
//! memory goes on, and what it gives up meanwhile is counted in the stream.

mod config;
mod cursor;
mod entry;
mod export;
mod file;
mod filter;
mod journal;
mod journal_reader;
mod kmsg;
mod lane;
mod memory;
mod outbox;
mod redact;
mod ring;
mod stream;
mod tail;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, stream as streams};
use proto::agent::v1 as pb;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::{Code, Status};

pub use config::LogConfig;
pub(crate) use config::Table;
pub(crate) use cursor::Cursor;
pub(crate) use entry::{Capped, DropReason, Entry, SourceId};
pub(crate) use filter::{
    FILES, Fields, Filter, Sources, TAIL, WORDS, field as field_name, file as file_name, identifier, pattern, unit,
};
pub use ring::{LogRecord, LogRing};

use crate::logs::file::FileReader;
use crate::logs::journal::{Journal, Storage};
use crate::logs::journal_reader::JournalReader;
use crate::logs::kmsg::KernelReader;
use crate::logs::lane::Lane;
use crate::logs::memory::MemoryReader;
use crate::logs::outbox::outbox;
use crate::logs::stream::{Feed, Merge};
use crate::wire;

/// What the agent keeps of its own log.
const OWN_BYTES: usize = 256 << 10;
const KERNEL_RING: &str = "/dev/kmsg";

/// Where the machine's log is.
#[derive(Clone, Debug)]
pub enum SystemLog {
    /// In the systemd journal and the kernel's ring.
    Linux,
    /// In memory: a simulated machine.
    Memory(LogRing),
}

/// This process's own log; `startup::log_to` fills it.
pub fn own_log() -> &'static LogRing {
    static OWN: LazyLock<LogRing> = LazyLock::new(|| LogRing::new(OWN_BYTES));
    &OWN
}

/// Puts one line into this process's own log; `priority` is 0 (emergency) to 7 (debug).
pub fn log_own(priority: u8, identifier: &str, message: String) {
    static BOOT: LazyLock<String> = LazyLock::new(|| kmsg::boot_id().map(cursor::boot_text).unwrap_or_default());
    own_log().push(LogRecord {
        time: SystemTime::now(),
        monotonic: None,
        boot_id: BOOT.clone(),
        priority,
        unit: String::new(),
        identifier: identifier.to_owned(),
        pid: Some(std::process::id()),
        is_kernel: false,
        message,
    });
}

/// The logs of one node.
pub(crate) struct Logs {
    system: SystemLog,
    journal: Journal,
    files: BTreeMap<String, PathBuf>,
    stall: Duration,
    limit: usize,
    subscribers: Arc<Semaphore>,
}

/// How a source is read.
enum Reader {
    Journal { kernel: bool },
    Kernel,
    Memory(LogRing, bool),
    File(String, PathBuf),
}

impl Logs {
    pub(crate) fn new(config: &LogConfig, system: SystemLog) -> Self {
        let LogConfig { files, stall, subscribers, journalctl } = config.clone();
        let journal = Journal { program: journalctl };
        Self { system, journal, files, stall, limit: subscribers, subscribers: Arc::new(Semaphore::new(subscribers)) }
    }

    /// Begins a stream.
    ///
    /// # Errors
    ///
    /// If the node has no such source, or too many streams.
    pub(crate) fn stream(
        &self,
        filter: Filter,
    ) -> Result<impl Stream<Item = Result<pb::LogEntry, Status>> + Send + 'static, Status> {
        let readers = self.readers(&filter)?;
        let place = self.subscribers.clone().try_acquire_owned().map_err(|_| {
            let why = format!("this node has its {} log streams already: end one of them", self.limit);
            wire::status(Code::ResourceExhausted, "TOO_MANY_LOG_STREAMS", &why, [("limit", self.limit.to_string())])
        })?;
        let opened = pb::LogOpened { sources: readers.iter().map(|(id, reader)| self.status(id, reader)).collect() };
        let filter = Arc::new(filter);
        let (mut tasks, mut feeds) = (JoinSet::new(), Vec::new());
        for (id, reader) in readers {
            let (lane, receiver) = Lane::new();
            self.start(&mut tasks, reader, &id, &filter, lane);
            feeds.push(Feed::new(id, receiver));
        }
        let until_us = filter.until_us.filter(|_| filter.follow);
        let merge = Merge { feeds, tasks, cursor: filter.after.clone(), stall: self.stall, until_us };
        let (inlet, outlet) = outbox();
        let task = tokio::spawn(async move {
            let _place = place;
            merge.run(opened, inlet).await;
        });
        let state = (outlet.with(task.abort_handle()), Vec::new().into_iter());
        Ok(streams::unfold(state, |(mut outlet, mut batch)| async move {
            loop {
                if let Some(entry) = batch.next() {
                    return Some((Ok(entry), (outlet, batch)));
                }
                match outlet.next().await? {
                    Ok(more) => batch = more.into_iter(),
                    Err(status) => return Some((Err(status), (outlet, batch))),
                }
            }
        }))
    }

    fn start(
        &self,
        tasks: &mut JoinSet<Result<(), lane::SourceError>>,
        reader: Reader,
        id: &SourceId,
        filter: &Arc<Filter>,
        lane: Lane,
    ) {
        let (after, filter) = (filter.after.0.get(id).copied(), filter.clone());
        match reader {
            Reader::Journal { kernel } => {
                tasks.spawn(JournalReader::new(self.journal.clone(), filter, kernel, lane).run(after))
            }
            Reader::Kernel => tasks.spawn(KernelReader { device: KERNEL_RING.into(), filter }.run(after, lane)),
            Reader::Memory(ring, kernel) => tasks.spawn(MemoryReader { ring, filter, kernel }.run(after, lane)),
            Reader::File(name, path) => tasks.spawn(FileReader { name, path, filter }.run(after, lane)),
        };
    }

    fn readers(&self, filter: &Filter) -> Result<Vec<(SourceId, Reader)>, Status> {
        let Sources { mut journal, mut kernel, mut agent, files } = filter.sources.clone();
        let has_journal = matches!(self.system, SystemLog::Memory(_)) || self.journal.storage().is_some();
        if filter.sources.is_empty() {
            (journal, kernel, agent) = (has_journal, !has_journal, !has_journal);
        }
        let mut readers = Vec::new();
        let by_journal = |kernel| match &self.system {
            SystemLog::Linux => Reader::Journal { kernel },
            SystemLog::Memory(ring) => Reader::Memory(ring.clone(), kernel),
        };
        match (journal, kernel) {
            (true, _) if !has_journal => return Err(no_journal()),
            // the journal has what the kernel says
            (true, _) => readers.push((SourceId::Journal, by_journal(false))),
            (false, true) if has_journal => readers.push((SourceId::Kernel, by_journal(true))),
            (false, true) => readers.push((SourceId::Kernel, Reader::Kernel)),
            (false, false) => {}
        }
        if agent {
            readers.push((SourceId::Agent, Reader::Memory(own_log().clone(), false)));
        }
        for name in files {
            let path = self.files.get(&name).cloned().ok_or_else(|| self.unknown_file(&name))?;
            readers.push((SourceId::File(name.clone()), Reader::File(name, path)));
        }
        Ok(readers)
    }

    fn unknown_file(&self, asked: &str) -> Status {
        let names: Vec<&str> = self.files.keys().map(String::as_str).collect();
        let why = match names[..] {
            [] => format!("this node's configuration names no log files, so there is no {asked:?}"),
            _ => format!("this node's configuration names no log file {asked:?}; choose {}", names.join(", ")),
        };
        wire::status(Code::NotFound, "UNKNOWN_LOG_FILE", &why, [("known", names.join(","))])
    }

    fn status(&self, id: &SourceId, reader: &Reader) -> pb::LogSourceStatus {
        let storage = match reader {
            Reader::Journal { .. } if self.journal.storage() == Some(Storage::Persistent) => pb::LogStorage::Persistent,
            Reader::Journal { .. } | Reader::Kernel => pb::LogStorage::Volatile,
            Reader::Memory(..) => pb::LogStorage::Memory,
            Reader::File(..) => pb::LogStorage::Unspecified,
        };
        wire::log_source_status(id, storage)
    }
}

fn no_journal() -> Status {
    let why = "this node has no systemd journal: ask for the kernel, the agent or a file instead";
    wire::status(Code::FailedPrecondition, "NO_JOURNAL", why, [])
}

/// Microseconds since 1970.
pub(crate) fn since_epoch_us(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}
