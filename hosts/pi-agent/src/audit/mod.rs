//! The node's own audit: each call that changes something, in a hash chain on this node's disk.
//!
//! | what | is on disk |
//! | --- | --- |
//! | a command | before it starts, and how it ended within a second |
//! | what was done to a line or a bus | within a second of the first time; repeats of the same by the same caller are counted, and their number is written within a minute |
//! | a denied call | the same |
//! | reads, keep-alives of leases | not at all |
//!
//! So a power failure can lose the last second, and the count of repeats of the last minute; never a command. Where rows
//! cannot be written, calls that change something are refused (`UNAVAILABLE`, `CANNOT_AUDIT`) and reads go on, until a
//! write that is tried every second succeeds: then a row says how many were refused. What leaves lines safe (`release`, the
//! emergency stop) is never refused; its row waits. Nothing is written while nothing is done.

mod deed;
mod show;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use agent_lib::Holder;
use audit::Entry;
use mtls::PeerIdentity;
use proto::agent::v1::GpioResponse;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::access::Principal;
use crate::wire;
pub(crate) use deed::Asked;
use deed::{Deed, parties};
pub use show::{AuditCommand, AuditError};
use writer::Writer;

/// Kept until they are written; half of it makes the writer hurry, all of it makes calls be refused.
const CAPACITY: usize = 4096;
/// So many of the last are looked through for the same.
const NEIGHBOURS: usize = 8;
/// How long the ends of commands are waited for that have been ended.
const LAST: Duration = Duration::from_secs(2);
/// In the state folder.
const FOLDER: &str = "audit";

/// Whether rows can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not known yet.
    Opening,
    Open,
    Broken,
}

/// One deed, and how often it was done since the last write.
struct Noted {
    deed: Deed,
    at: SystemTime,
    count: u64,
    /// Why it was refused, the first time.
    why: String,
}

/// A row with its text, and who waits until it is on disk.
struct Waiting {
    entry: Entry,
    done: Option<oneshot::Sender<bool>>,
}

#[derive(Default)]
struct Queue {
    deeds: Vec<Noted>,
    rows: Vec<Waiting>,
}

/// Takes note of what is done; a task of its own writes it down.
pub(crate) struct Auditor {
    queue: Mutex<Queue>,
    /// What `state` says, and that there is room: for the way of every call.
    is_open: AtomicBool,
    state: watch::Sender<State>,
    /// Calls refused since the last write.
    refused: AtomicU64,
    /// There is something to write.
    work: Notify,
    /// It does not wait for more.
    hurry: Notify,
    closing: watch::Sender<bool>,
    unended: watch::Sender<usize>,
}

/// The writer's task. Dropped, it writes what is left and ends.
pub(crate) struct AuditTask {
    auditor: Arc<Auditor>,
    task: JoinHandle<()>,
}

impl AuditTask {
    /// Comes back when everything is written, or cannot be.
    pub(crate) async fn close(mut self) {
        let mut unended = self.auditor.unended.subscribe();
        let all = unended.wait_for(|count| *count == 0);
        let _ = timeout(LAST, all).await; // their ends are in no row then
        self.auditor.closing.send_replace(true);
        let _ = (&mut self.task).await; // it does not panic
    }
}

impl Drop for AuditTask {
    fn drop(&mut self) {
        self.auditor.closing.send_replace(true);
    }
}

impl Auditor {
    /// The audit of the chain called `chain` below `state`.
    pub(crate) fn start(state: &Path, chain: String) -> (Arc<Self>, AuditTask) {
        let auditor = Arc::new(Self {
            queue: Mutex::default(),
            is_open: AtomicBool::new(false),
            state: watch::Sender::new(State::Opening),
            refused: AtomicU64::new(0),
            work: Notify::new(),
            hurry: Notify::new(),
            closing: watch::Sender::new(false),
            unended: watch::Sender::new(0),
        });
        let writer = Writer::new(auditor.clone(), state.join(FOLDER), chain);
        let task = tokio::spawn(writer.run());
        (auditor.clone(), AuditTask { auditor, task })
    }

    /// Whether what is about to be done can be written down; to be asked before it is done.
    pub(crate) fn admit(&self) -> Result<(), Status> {
        if self.is_open.load(Ordering::Acquire) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(cannot_audit())
    }

    /// The same, where it may have to wait for the start of the agent.
    pub(crate) async fn ready(&self) -> Result<(), Status> {
        self.opened().await;
        self.admit()
    }

    /// Comes back when it is known whether anything can be written.
    pub(crate) async fn opened(&self) {
        if !self.is_open.load(Ordering::Acquire) {
            let mut state = self.state.subscribe();
            let _ = state.wait_for(|state| *state != State::Opening).await; // the sender is ours
        }
    }

    /// Takes note of what was done.
    pub(crate) fn note(&self, who: &Principal, mut asked: Asked, outcome: &Result<GpioResponse, Status>) {
        let ended = match outcome {
            Ok(response) => {
                asked.answered(response);
                Code::Ok
            }
            Err(status) => status.code(),
        };
        self.push(who, asked, ended, || deed::why(outcome));
    }

    /// Takes note of something that takes its time, whether its caller waits for the end or not.
    pub(crate) async fn noting<T>(
        &self,
        who: &Principal,
        asked: Asked,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        self.ready().await?;
        let mut begun = Begun { auditor: self, who, asked: Some(asked) };
        let outcome = work.await;
        if let Some(asked) = begun.asked.take() {
            let status = outcome.as_ref().err();
            let ended = status.map_or(Code::Ok, Status::code);
            self.push(who, asked, ended, || status.map(|status| status.message().to_owned()).unwrap_or_default());
        }
        outcome
    }

    fn push(&self, who: &Principal, asked: Asked, ended: Code, why: impl FnOnce() -> String) {
        let mut queue = self.queue();
        if let Some(same) =
            queue.deeds.iter_mut().rev().take(NEIGHBOURS).find(|noted| noted.deed.is(who, &asked, ended))
        {
            same.count += 1;
            return;
        }
        let (via, ended) = (who.via().cloned(), ended as i32);
        let deed = Deed { who: who.holder().clone(), via, asked, ended };
        queue.deeds.push(Noted { deed, at: SystemTime::now(), count: 1, why: why() });
        let length = queue.deeds.len();
        drop(queue);
        match length {
            1 => self.work.notify_one(),
            length if length == CAPACITY / 2 => self.hurry.notify_one(),
            length if length >= CAPACITY => self.is_open.store(false, Ordering::Release),
            _ => {}
        }
    }

    /// Takes note of a call that was denied; counted like everything else.
    pub(crate) fn denied(&self, who: &PeerIdentity, needs: &'static str, denied: &Status) {
        let who = who.to_string();
        let Ok(holder) = Holder::new(who) else { return };
        let asked = Asked::Line { action: "denied", pin: None, name: needs.to_owned(), level: 0 };
        let principal = Principal::denied(holder);
        self.push(&principal, asked, denied.code(), || denied.message().to_owned());
    }

    /// Comes back when the row is on disk.
    pub(crate) async fn commit(&self, entry: Entry) -> Result<(), Status> {
        self.ready().await?;
        let (done, written) = oneshot::channel();
        self.queue().rows.push(Waiting { entry, done: Some(done) });
        self.work.notify_one();
        self.hurry.notify_one();
        match written.await {
            Ok(true) => Ok(()),
            _ => Err(cannot_audit()),
        }
    }

    /// The end waits for what is begun now.
    pub(crate) fn unended(self: &Arc<Self>) -> Unended {
        self.unended.send_modify(|count| *count += 1);
        Unended(self.clone())
    }

    /// A row that will be on disk within a second.
    pub(crate) fn record(&self, entry: Entry) {
        self.queue().rows.push(Waiting { entry, done: None });
        self.work.notify_one();
    }

    /// A row about what this caller did.
    pub(crate) fn entry(who: &Principal, action: &str, subject: String, outcome: String, detail: String) -> Entry {
        let (who, on_behalf_of) = parties(who.holder(), who.via().map(|via| &**via));
        Entry { at: SystemTime::now(), who, on_behalf_of, action: action.to_owned(), subject, outcome, detail }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        self.is_open.store(state == State::Open, Ordering::Release);
        self.state.send_if_modified(|before| std::mem::replace(before, state) != state);
    }
}

/// Something that was begun. Dropped with what was asked for, its caller has gone away.
struct Begun<'a> {
    auditor: &'a Auditor,
    who: &'a Principal,
    asked: Option<Asked>,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.auditor
                .push(self.who, asked, Code::Unknown, || "its caller went away: it may have been done".to_owned());
        }
    }
}

/// A command of which the end is still to be told.
pub(crate) struct Unended(Arc<Auditor>);

impl Drop for Unended {
    fn drop(&mut self) {
        self.0.unended.send_modify(|count| *count -= 1);
    }
}

/// The audit cannot be written.
fn cannot_audit() -> Status {
    let why =
        "nothing was done: it cannot be audited; see the node's log and its disk. Reads go on, and it heals by itself";
    wire::status(Code::Unavailable, "CANNOT_AUDIT", why, [("retryable", "true".to_owned())])
}
