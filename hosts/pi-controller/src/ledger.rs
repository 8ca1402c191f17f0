//! Decide, commit, apply, answer: in this order, one decision at a time.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use control_lib::{Control, Decision, Exclusion};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

use crate::recorder::Recorder;
use crate::store::{CommitError, Store};

/// The control plane's state in memory and on disk.
pub(crate) struct Ledger {
    control: RwLock<Control>,
    store: Arc<Mutex<Store>>,
    revision: watch::Sender<u64>,
    trust_revision: watch::Sender<u64>,
    recorder: Recorder,
}

/// A decision could not be made durable; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("the store stopped in the middle of a commit: restart the controller")]
    Stopped(#[from] tokio::task::JoinError),
}

impl Ledger {
    pub(crate) fn new(control: Control, store: Store) -> Arc<Self> {
        let revision = watch::Sender::new(control.revision());
        let trust_revision = watch::Sender::new(control.trust_revision());
        let (control, store) = (RwLock::new(control), Arc::new(Mutex::new(store)));
        let recorder = Recorder::start(store.clone());
        Arc::new(Self { control, store, revision, trust_revision, recorder })
    }

    /// What goes into the audit without a decision.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Tells when the state has changed: the revision of the last commit.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Tells when it has changed who is let in or what they may do: the revision of the commit that did.
    pub(crate) fn trust_revisions(&self) -> watch::Receiver<u64> {
        self.trust_revision.subscribe()
    }

    /// The state as of the last commit. Hold it for a look, never across an await.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Control> {
        // `apply` does not panic half-way: it moves whole rows
        self.control.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps somebody out although that cannot be stored, until the process ends.
    pub(crate) fn exclude_unstored(&self, exclusion: Exclusion) {
        self.control.write().unwrap_or_else(PoisonError::into_inner).exclude_unstored(exclusion);
        // the numbers stay, and yet whoever waits for another one is to look again
        self.revision.send_modify(|_| {});
        self.trust_revision.send_modify(|_| {});
    }

    /// Takes a decision on the latest state and makes it durable before it is seen or answered.
    ///
    /// A caller that goes away does not interrupt it: what was committed is applied.
    pub(crate) async fn decide<T: Send + 'static>(
        self: &Arc<Self>,
        decide: impl FnOnce(&Control) -> Decision<T> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let ledger = self.clone();
        let mut store = self.store.clone().lock_owned().await;
        // the commit waits for the disk
        let committed = spawn_blocking(move || {
            let (Decision { changes, answer }, revision) = {
                let control = ledger.read();
                (decide(&control), control.next_revision())
            };
            if !changes.is_empty() {
                store.commit(&changes, revision)?;
                ledger.control.write().unwrap_or_else(PoisonError::into_inner).apply(changes);
                ledger.revision.send_replace(revision);
                let trust = ledger.read().trust_revision();
                ledger.trust_revision.send_if_modified(|known| std::mem::replace(known, trust) != trust);
            }
            Ok::<_, CommitError>(answer)
        });
        Ok(committed.await??)
    }
}
