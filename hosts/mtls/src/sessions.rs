//! The open connections of a listener, and how one is ended from outside: a handshake is judged once, but trust changes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use crate::identity::PeerCertificate;
use crate::trust::Trust;

/// One open connection, from the end of its handshake.
pub struct Open {
    /// What it showed; `None` for a join token.
    pub certificate: Option<PeerCertificate>,
    /// Where it comes from: with the port no two open connections have the same.
    pub address: SocketAddr,
    /// Since when.
    pub since: Instant,
    is_ended: AtomicBool,
    reader: AtomicWaker,
}

impl Open {
    fn end(&self) {
        self.is_ended.store(true, Ordering::Release);
        self.reader.wake();
    }
}

/// All open connections of a listener.
pub struct Sessions {
    trust: Arc<Trust>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Arc<Open>>,
    next: u64,
}

impl Sessions {
    pub(crate) fn new(trust: Arc<Trust>) -> Arc<Self> {
        Arc::new(Self { trust, state: Mutex::default() })
    }

    pub(crate) fn enter(self: &Arc<Self>, certificate: Option<PeerCertificate>, address: SocketAddr) -> Session {
        let (is_ended, reader) = (AtomicBool::new(false), AtomicWaker::new());
        let open = Arc::new(Open { certificate, address, since: Instant::now(), is_ended, reader });
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.open.insert(id, open.clone());
        Session { id, open, sessions: self.clone() }
    }

    /// Ends the connections for which `which` says so, and with them every call in flight on them, after `goodbye`: time
    /// for streams to say why they end. Answers how many.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if `goodbye` is not zero.
    pub fn end(&self, which: impl Fn(&Open) -> bool, goodbye: Duration) -> usize {
        let ended: Vec<Arc<Open>> = self.state().open.values().filter(|open| which(open)).cloned().collect();
        let count = ended.len();
        let cut = move || ended.iter().for_each(|open| open.end());
        if goodbye.is_zero() {
            cut();
        } else if count > 0 {
            tokio::spawn(async move {
                tokio::time::sleep(goodbye).await;
                cut();
            });
        }
        count
    }

    /// Ends the connections whose certificates would not be let in now. To be called after each change of who is
    /// admitted ([`Trust::admit_by`]); what is just being let in is judged after it has been entered here, so that nobody
    /// slips through between the two.
    pub fn judge_again(&self, goodbye: Duration) -> usize {
        let is_unwanted = |open: &Open| {
            open.certificate.as_ref().is_some_and(|shown| {
                let refused = self.trust.admit(shown);
                if let Err(refusal) = refused {
                    tracing::info!(peer = %shown.identity, address = %open.address, %refusal, "ending a connection");
                }
                refused.is_err()
            })
        };
        self.end(is_unwanted, goodbye)
    }

    /// How many connections are open.
    pub fn count(&self) -> usize {
        self.state().open.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // a map of whole entries
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among the open ones; dropped with it.
pub(crate) struct Session {
    id: u64,
    open: Arc<Open>,
    sessions: Arc<Sessions>,
}

impl Session {
    /// Fails once the connection has been ended; until then `cx` is woken when it is. To be asked at each read and write.
    pub(crate) fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.open.reader.register(cx.waker()); // before the look, so that no end slips in between
        if self.open.is_ended.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the peer is not let in any more"));
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.state().open.remove(&self.id);
    }
}
