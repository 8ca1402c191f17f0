//! Reads a named file, off the agent's thread: a card can be slow.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::cursor::Position;
use super::entry::{Capped, DropReason, Entry, Event, MESSAGE_BYTES};
use super::filter::Filter;
use super::lane::{Lane, SourceError};
use super::redact::{redact, redact_entry};
use super::tail::{Line, Step, Tail};

/// Between two looks at a file that has no more.
const PAUSE: Duration = Duration::from_millis(250);
/// After a rotation, whoever writes may go on in the old file until it is told: as many looks without more end it.
const LOOKS: u32 = 4;

/// One reader of a file.
pub(crate) struct FileReader {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) filter: Arc<Filter>,
}

impl FileReader {
    /// Yields what there is after `after`, and what comes if the filter follows.
    pub(crate) async fn run(self, after: Option<Position>, mut lane: Lane) -> Result<(), SourceError> {
        let mut tail = self.start(after, &mut lane).await?;
        let (mut is_new, mut looks) = (false, 0);
        loop {
            let step;
            (tail, step) = off_thread(move || {
                let step = tail.step()?;
                Ok((tail, step))
            })
            .await
            .map_err(|error| self.told(&error))?;
            let Step { lines, is_truncated, is_end } = step;
            if is_truncated {
                lane.put(Event::Dropped { count: None, reason: DropReason::Truncated }).await?;
            }
            self.put(lines, &mut lane).await?;
            if !is_end {
                looks = 0;
                continue;
            }
            let is_replaced;
            (tail, is_replaced) = off_thread(move || {
                let is_replaced = tail.is_replaced();
                Ok((tail, is_replaced))
            })
            .await?;
            // what is history already need not be waited for
            if is_replaced && (looks >= LOOKS || !is_new) {
                let last;
                (tail, last) = off_thread(move || {
                    let last = tail.turn()?;
                    Ok((tail, last))
                })
                .await
                .map_err(|error| self.told(&error))?;
                self.put(last.into_iter().collect(), &mut lane).await?;
                looks = 0;
                continue;
            }
            if !self.filter.follow {
                self.put(tail.rest().into_iter().collect(), &mut lane).await?;
            }
            if !is_new {
                is_new = true;
                lane.put(Event::CaughtUp).await?;
            }
            lane.flush().await?;
            if !self.filter.follow {
                return Ok(());
            }
            looks = if is_replaced { looks + 1 } else { 0 };
            sleep(PAUSE).await;
        }
    }

    async fn start(&self, after: Option<Position>, lane: &mut Lane) -> Result<Tail, SourceError> {
        let (path, filter, tail) = (self.path.clone(), self.filter.clone(), self.filter.tail);
        let position = match after {
            Some(Position::File(position)) => Some(position),
            _ => None,
        };
        let started = off_thread(move || match (position, tail) {
            (Some(position), _) => Tail::resume(&path, position).map(|found| found.ok_or(path)),
            (None, Some(count)) => Tail::from_tail(&path, count, |line| matches(&filter, line)).map(Ok),
            (None, None) => Tail::from_start(&path).map(Ok),
        });
        match started.await.map_err(|error| self.told(&error))? {
            Ok(tail) => Ok(tail),
            Err(path) => {
                lane.put(Event::CursorLost { resumed_at_us: None }).await?;
                Tail::from_start(&path).map_err(|error| self.told(&error))
            }
        }
    }

    async fn put(&self, lines: Vec<Line>, lane: &mut Lane) -> Result<(), SourceError> {
        for Line { position, text } in lines {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut entry = Entry::bare(Position::File(position), now.as_micros() as u64, text);
            entry.identifier.clone_from(&self.name);
            redact_entry(&mut entry);
            if self.filter.matches(&entry) {
                lane.put(Event::Entry(entry)).await?;
            }
        }
        Ok(())
    }

    /// By the file's name in the configuration: its path is the node's own affair.
    fn told(&self, error: &std::io::Error) -> SourceError {
        let is_link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        let why =
            if is_link { "a symbolic link is on its path, and none is followed".to_owned() } else { error.to_string() };
        tracing::warn!(file = %self.name, path = %Path::display(&self.path), %why, "cannot be read");
        SourceError::Failed(format!("the file {:?} cannot be read: {why}", self.name))
    }
}

/// As an entry would be judged, for the search from the end.
fn matches(filter: &Filter, line: &[u8]) -> bool {
    let text = Capped::new(line, MESSAGE_BYTES);
    filter.matches_text(&redact(&text.bytes).0)
}

async fn off_thread<T: Send + 'static>(
    act: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    spawn_blocking(act).await.map_err(std::io::Error::other)?
}
