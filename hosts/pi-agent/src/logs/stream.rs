//! One client's stream: its sources in one order, with notices in between and a cursor on each entry.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::agent::v1 as pb;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;

use super::cursor::Cursor;
use super::entry::{Event, SourceId};
use super::lane::{BATCH, SourceError};
use super::outbox::{Inlet, Stalled};
use crate::wire;

/// Nothing new for so long is told.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// One source of the stream.
pub(crate) struct Feed {
    pub(crate) id: SourceId,
    pub(crate) receiver: Receiver<Vec<Event>>,
    queue: VecDeque<Event>,
    /// It has more that is not new.
    is_behind: bool,
    has_ended: bool,
    boot_id: String,
}

impl Feed {
    pub(crate) fn new(id: SourceId, receiver: Receiver<Vec<Event>>) -> Self {
        Self { id, receiver, queue: VecDeque::new(), is_behind: true, has_ended: false, boot_id: String::new() }
    }

    /// When what comes next was logged; notices go first.
    fn next_time(&self) -> Option<u64> {
        match self.queue.front()? {
            Event::Entry(entry) => Some(entry.time_us),
            _ => Some(0),
        }
    }
}

/// What a stream's task works on.
pub(crate) struct Merge {
    pub(crate) feeds: Vec<Feed>,
    pub(crate) tasks: JoinSet<Result<(), SourceError>>,
    pub(crate) cursor: Cursor,
    pub(crate) stall: Duration,
    /// Microseconds since 1970: a stream that follows ends then.
    pub(crate) until_us: Option<u64>,
}

impl Merge {
    /// Sends all there is to `inlet`, for as long as there is any and somebody takes it.
    pub(crate) async fn run(mut self, opened: pb::LogOpened, inlet: Inlet<pb::LogEntry>) {
        let first = wire::log_notice(&self.cursor, now_us(), pb::log_entry::Content::Opened(opened));
        let mut batch = vec![first];
        let end = loop {
            if inlet.push(std::mem::take(&mut batch), self.stall).await == Err(Stalled) {
                drop(self); // its children end, its buffers go
                return inlet.cut(wire::status(
                    Code::ResourceExhausted,
                    "STALLED",
                    "the stream was not read for too long: call again with the last cursor",
                    [("retryable", "true".to_owned())],
                ));
            }
            let left = self.until_us.map(|until| Duration::from_micros(until.saturating_sub(now_us())));
            match timeout(left.map_or(HEARTBEAT, |left| left.min(HEARTBEAT)), self.next(&mut batch)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break Ok(()),
                Ok(Err(why)) => break Err(why),
                Err(_) if left.is_some_and(|left| left <= HEARTBEAT) => break Ok(()),
                Err(_) => batch.push(self.notice(pb::log_entry::Content::Heartbeat(pb::LogHeartbeat {}))),
            }
        };
        inlet.finish(end.map_err(|why| {
            wire::status(
                Code::Unavailable,
                "LOG_SOURCE_FAILED",
                &startup::one_line(&why),
                [("retryable", "true".to_owned())],
            )
        }));
    }

    /// Waits for more and puts it in order; `false`: no more will come. Nothing is lost if it is not waited for to the
    /// end: what a feed has yielded is in its queue.
    async fn next(&mut self, batch: &mut Vec<pb::LogEntry>) -> Result<bool, SourceError> {
        loop {
            // history is put in order of time, so each source that has more of it must show its next entry
            if let Some(behind) = self.feeds.iter_mut().find(|feed| feed.is_behind && feed.queue.is_empty()) {
                match behind.receiver.recv().await {
                    Some(events) => behind.queue.extend(events),
                    None => self.ended().await?,
                }
                continue;
            }
            self.sort_into(batch);
            if !batch.is_empty() {
                return Ok(true);
            }
            if self.feeds.iter().all(|feed| feed.has_ended) {
                return Ok(false);
            }
            if !self.any().await {
                self.ended().await?;
            }
        }
    }

    /// Waits for events of any source; `false`: one has ended.
    async fn any(&mut self) -> bool {
        poll_fn(|context| {
            for feed in self.feeds.iter_mut().filter(|feed| !feed.has_ended) {
                if let Poll::Ready(events) = feed.receiver.poll_recv(context) {
                    let has_more = events.is_some();
                    feed.queue.extend(events.into_iter().flatten());
                    return Poll::Ready(has_more);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// A source has ended: because it has no more, or because it failed.
    async fn ended(&mut self) -> Result<(), SourceError> {
        for feed in &mut self.feeds {
            if feed.queue.is_empty() && feed.receiver.is_closed() && feed.receiver.is_empty() {
                (feed.has_ended, feed.is_behind) = (true, false);
            }
        }
        match self.tasks.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(panicked)) => Err(SourceError::Failed(panicked.to_string())),
            None => Ok(()),
        }
    }

    fn sort_into(&mut self, batch: &mut Vec<pb::LogEntry>) {
        while batch.len() < BATCH && !self.feeds.iter().any(|feed| feed.is_behind && feed.queue.is_empty()) {
            let next =
                self.feeds.iter_mut().filter_map(|feed| Some((feed.next_time()?, feed))).min_by_key(|(time, _)| *time);
            let Some((_, feed)) = next else { return };
            let Some(event) = feed.queue.pop_front() else { return };
            match event {
                Event::Entry(entry) => {
                    let (before, id) = (std::mem::take(&mut feed.boot_id), feed.id.clone());
                    feed.boot_id.clone_from(&entry.boot_id);
                    if !before.is_empty() && before != entry.boot_id && !entry.boot_id.is_empty() {
                        let changed = pb::LogBootChanged { previous_boot_id: before, boot_id: entry.boot_id.clone() };
                        batch.push(self.notice(pb::log_entry::Content::BootChanged(changed)));
                    }
                    self.cursor.0.insert(id.clone(), entry.position);
                    batch.push(wire::log_entry(&self.cursor, &id, entry));
                }
                Event::CaughtUp => {
                    feed.is_behind = false;
                    if !self.feeds.iter().any(|feed| feed.is_behind) {
                        batch.push(self.notice(pb::log_entry::Content::CaughtUp(pb::LogCaughtUp {})));
                    }
                }
                Event::Dropped { count, reason } => {
                    let id = feed.id.clone();
                    batch.push(wire::log_of(&id, self.notice(wire::log_dropped(count, reason))));
                }
                Event::CursorLost { resumed_at_us } => {
                    let id = feed.id.clone();
                    batch.push(wire::log_of(&id, self.notice(wire::log_cursor_lost(resumed_at_us))));
                }
            }
        }
    }

    fn notice(&self, content: pb::log_entry::Content) -> pb::LogEntry {
        wire::log_notice(&self.cursor, now_us(), content)
    }
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}
