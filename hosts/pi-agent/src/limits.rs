//! How much of the node one caller, and all of them, may take.

use std::sync::{Arc, Mutex, PoisonError};

use agent_lib::{Holder, RateLimit, RateLimited};
use hal_core::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::wire;

/// `WatchGPIO` streams that a node serves at once. Each keeps at most 1024 records, some 100 KB.
const WATCHES: usize = 64;
/// `StreamGPIO` streams that a node serves at once.
const STREAMS: usize = 64;

/// The limits of one node.
pub(crate) struct Limits {
    rate: Mutex<RateLimit>,
    watches: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Limits {
    /// With so many line operations a second for each caller; 0 is no limit.
    pub(crate) fn new(operations_per_second: u32) -> Self {
        Self {
            rate: Mutex::new(RateLimit::new(operations_per_second)),
            watches: Arc::new(Semaphore::new(WATCHES)),
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }

    /// Charges a caller for so many operations.
    pub(crate) fn charge(&self, now: Instant, caller: &Holder, operations: u32) -> Result<(), RateLimited> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).charge(now, caller, operations)
    }

    /// A place for one more watch, free again when it is dropped.
    pub(crate) fn watch(&self) -> Result<OwnedSemaphorePermit, Status> {
        place(&self.watches, "WatchGPIO", WATCHES)
    }

    /// A place for one more `StreamGPIO`, free again when it is dropped.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Status> {
        place(&self.streams, "StreamGPIO", STREAMS)
    }
}

fn place(places: &Arc<Semaphore>, method: &str, limit: usize) -> Result<OwnedSemaphorePermit, Status> {
    places.clone().try_acquire_owned().map_err(|_| wire::too_many_streams(method, limit))
}
