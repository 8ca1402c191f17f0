//! What goes into the audit without changing anything else: calls that are passed on to nodes, and calls that were denied.
//!
//! One task writes; rows that come while it does share the next transaction. What is denied again and again, and what
//! [`Recording::Minutely`] says, is written once and then counted, so that neither a flood of denied calls nor a program
//! that calls a thousand times a second fills the table or costs a write to disk each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use audit::{Repeats, Seen, Tally};
use control_lib::{AuditRow, Identity, Name, Outcome, Recording, recording};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tonic::{Code, Status};

use crate::store::Store;
use crate::wire;

/// What is repeated within so long is counted instead of written.
const WINDOW: Duration = Duration::from_secs(60);
/// When to try again after the store has failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Rows that wait to be written; who brings more waits too.
const WAITING: usize = 1024;
/// Rows in one transaction.
const TOGETHER: usize = 256;

/// A call could not be recorded, and so was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing was done: the call cannot be audited, see the controller's log and its disk; it heals by itself")]
pub(crate) struct CannotAudit;

impl From<CannotAudit> for Status {
    fn from(cannot: CannotAudit) -> Status {
        wire::status(Code::Unavailable, "CANNOT_AUDIT", &cannot.to_string(), [("retryable", "true".to_owned())])
    }
}

/// A row, and who waits until it is durable.
struct Waiting {
    row: AuditRow,
    done: Option<oneshot::Sender<Result<(), CannotAudit>>>,
}

enum Message {
    Row(Waiting),
    /// Write what is left.
    Close(oneshot::Sender<()>),
}

/// What makes two rows the same but for their time.
type Deed = (String, String, String, Outcome);

/// Hands rows to the task that writes them.
pub(crate) struct Recorder {
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    tally: Mutex<Tally<Deed>>,
    /// The last write failed: nothing is only counted now.
    is_broken: AtomicBool,
}

impl Recorder {
    /// Starts the task. It ends when the recorder is gone.
    pub(crate) fn start(store: Arc<AsyncMutex<Store>>) -> Self {
        let (queue, messages) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared { tally: Mutex::new(Tally::new(WINDOW)), is_broken: AtomicBool::new(false) });
        let writer = Writer { store, shared: shared.clone(), unwritten: Vec::new() };
        tokio::spawn(writer.run(messages));
        Self { queue, shared }
    }

    /// A call that is about to go on to a node. It must not, unless this comes back well: then it is on disk who calls what
    /// on which node.
    pub(crate) async fn forwarded(&self, who: &Identity, method: &str, node: &Name) -> Result<(), CannotAudit> {
        let recording = recording(method);
        if recording == Recording::Never {
            return Ok(());
        }
        let (at, subject) = (SystemTime::now(), Identity::node(node.clone()).to_string());
        let (who, action, detail) = (who.to_string(), method.to_owned(), String::new());
        let row = AuditRow { at, who, action, subject, outcome: Outcome::Allowed, detail };
        if recording == Recording::Each {
            return self.write(row).await;
        }
        let deed = deed(&row);
        let is_broken = self.shared.is_broken.load(Ordering::Relaxed);
        if !is_broken && self.shared.tally().repeat(Instant::now(), &deed, Repeats::once(at)) {
            return Ok(());
        }
        self.write(row).await?;
        self.shared.tally().wrote(Instant::now(), &deed);
        Ok(())
    }

    /// A call that was denied. Who called does not wait for the disk: nothing was done.
    pub(crate) fn denied(&self, row: AuditRow) {
        let seen = self.shared.tally().see(Instant::now(), &deed(&row), Repeats::once(row.at));
        if seen == Seen::First && self.queue.try_send(Message::Row(Waiting { row, done: None })).is_err() {
            tracing::warn!("too many denied calls at once: one is in the log only");
        }
    }

    async fn write(&self, row: AuditRow) -> Result<(), CannotAudit> {
        let (done, answer) = oneshot::channel();
        let message = Message::Row(Waiting { row, done: Some(done) });
        self.queue.send(message).await.map_err(|_| CannotAudit)?;
        answer.await.map_err(|_| CannotAudit)?
    }

    /// Comes back when everything is written, or has failed to be.
    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok() {
            let _ = closed.await; // its task is gone: the runtime ends
        }
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally<Deed>> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn deed(row: &AuditRow) -> Deed {
    (row.who.clone(), row.action.clone(), row.subject.clone(), row.outcome)
}

fn repeated((who, action, subject, outcome): Deed, repeats: Repeats) -> AuditRow {
    AuditRow { at: repeats.first, who, action, subject, outcome, detail: repeats.told() }
}

/// The task.
struct Writer {
    store: Arc<AsyncMutex<Store>>,
    shared: Arc<Shared>,
    /// Rows for which nobody waits and that could not be written yet.
    unwritten: Vec<AuditRow>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        loop {
            let mut messages = Vec::new();
            let is_open = tokio::select! {
                count = queue.recv_many(&mut messages, TOGETHER) => count > 0,
                () = tokio::time::sleep_until(self.wake().into()) => true,
            };
            let (mut waiting, mut closed) = (Vec::new(), Vec::new());
            for message in messages {
                match message {
                    Message::Row(row) => waiting.push(row),
                    Message::Close(done) => closed.push(done),
                }
            }
            let is_over = !is_open || !closed.is_empty();
            let repeats = match is_over {
                true => self.shared.tally().rest(),
                false => self.shared.tally().due(Instant::now()),
            };
            self.unwritten.extend(repeats.into_iter().map(|(deed, repeats)| repeated(deed, repeats)));
            self.write(waiting).await;
            for done in closed {
                let _ = done.send(()); // who asked has gone away
            }
            if !is_open {
                return;
            }
        }
    }

    fn wake(&self) -> Instant {
        let now = Instant::now();
        let next = self.shared.tally().next().unwrap_or(now + WINDOW);
        // sleeps a moment where something became due just now
        if self.unwritten.is_empty() { next.max(now) } else { now + AGAIN }
    }

    /// One transaction for all.
    async fn write(&mut self, waiting: Vec<Waiting>) {
        let (rows, waiting): (Vec<AuditRow>, Vec<_>) = waiting.into_iter().map(|one| (one.row, one.done)).unzip();
        let mut all: Vec<AuditRow> = self.unwritten.iter().chain(&rows).cloned().collect();
        all.sort_by_key(|row| row.at); // a row before its repeats
        if all.is_empty() {
            return;
        }
        let mut store = self.store.clone().lock_owned().await;
        let written = match spawn_blocking(move || store.append_audit(&all)).await {
            Ok(written) => written.map_err(|error| startup::one_line(&error)),
            Err(panicked) => Err(panicked.to_string()),
        };
        let was_broken = self.shared.is_broken.swap(written.is_err(), Ordering::Relaxed);
        match &written {
            Ok(()) if was_broken => tracing::info!("the audit is written again"),
            Err(why) if !was_broken => {
                tracing::error!(%why, "the audit cannot be written: calls to nodes that change something are refused");
            }
            _ => {}
        }
        let nobody_waits = |(row, done): (AuditRow, &Option<_>)| done.is_none().then_some(row);
        match written {
            Ok(()) => self.unwritten.clear(),
            Err(_) => self.unwritten.extend(rows.into_iter().zip(&waiting).filter_map(nobody_waits)),
        }
        self.unwritten.truncate(WAITING);
        for done in waiting.into_iter().flatten() {
            let _ = done.send(written.as_ref().copied().map_err(|_| CannotAudit)); // who asked has gone away
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Arc<AsyncMutex<Store>>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.db")).unwrap();
        (folder, Arc::new(AsyncMutex::new(store)))
    }

    async fn rows(store: &AsyncMutex<Store>) -> Vec<AuditRow> {
        store.lock().await.audit(0, 1000).unwrap().into_iter().map(|(_, row)| row).collect()
    }

    fn anna() -> Identity {
        "operator/anna".parse().unwrap()
    }

    const NODE_AGENT: &str = "/pi.agent.v1.NodeAgent";

    #[tokio::test]
    async fn a_call_is_on_disk_before_it_goes_on_and_repeats_are_counted() {
        let (_folder, store) = store();
        let recorder = Recorder::start(store.clone());
        let node = "pi-7".parse().unwrap();
        for method in ["HealthCheck", "ControlGPIO", "ControlGPIO", "ControlGPIO", "ExecuteCommand", "ExecuteCommand"] {
            recorder.forwarded(&anna(), &format!("{NODE_AGENT}/{method}"), &node).await.unwrap();
        }
        let written = rows(&store).await;
        let actions: Vec<_> = written.iter().filter_map(|row| row.action.rsplit('/').next()).collect();
        assert_eq!(actions, ["ControlGPIO", "ExecuteCommand", "ExecuteCommand"]);
        assert!(written.iter().all(|row| row.who == "operator/anna" && row.subject == "node/pi-7"));
        recorder.close().await;
        let last = rows(&store).await.pop().unwrap();
        assert_eq!(last.action, format!("{NODE_AGENT}/ControlGPIO"));
        assert!(last.detail.starts_with("2 times more until "), "{}", last.detail);
    }

    #[tokio::test]
    async fn a_flood_of_denied_calls_is_two_rows() {
        let (_folder, store) = store();
        let recorder = Recorder::start(store.clone());
        let denied = || AuditRow {
            at: SystemTime::now(),
            who: "operator/eve".to_owned(),
            action: format!("{NODE_AGENT}/ExecuteCommand"),
            subject: String::new(),
            outcome: Outcome::Denied,
            detail: "lacks the role exec".to_owned(),
        };
        (0..100_000).for_each(|_| recorder.denied(denied()));
        recorder.close().await;
        let rows = rows(&store).await;
        assert_eq!((rows.len(), rows[0].detail.as_str()), (2, "lacks the role exec"));
        assert!(rows[1].detail.starts_with("99999 times more until "), "{}", rows[1].detail);
    }

    #[tokio::test]
    async fn what_cannot_be_written_does_not_go_on_and_it_heals() {
        let (_folder, store) = store();
        let recorder = Recorder::start(store.clone());
        let node = "pi-7".parse().unwrap();
        let read_only = async |on: bool| store.lock().await.set_read_only(on);
        let call = async |method: &str| recorder.forwarded(&anna(), &format!("{NODE_AGENT}/{method}"), &node).await;
        call("ControlGPIO").await.unwrap();
        read_only(true).await;
        assert_eq!(call("ExecuteCommand").await, Err(CannotAudit));
        assert_eq!(call("ControlGPIO").await, Err(CannotAudit), "what would only be counted is refused as well");
        call("HealthCheck").await.unwrap();
        read_only(false).await;
        call("ControlGPIO").await.unwrap();
        call("ExecuteCommand").await.unwrap();
        assert_eq!(rows(&store).await.len(), 3);
    }
}
