//! The simulated machine's log, in the agent's form: an hour of it is there at the start, the rest comes in its time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use pi_agent::{LogRecord, LogRing};
use sim::{SimLog, SimLogEntry, SimLogEvent};
use tokio::time::{Instant, sleep_until};

/// What one node keeps.
const BYTES: usize = 256 << 10;
const HISTORY: Duration = Duration::from_secs(3600);

/// A node's log, and the hands that reach into it. Clones are the same log.
#[derive(Clone, Debug)]
pub struct NodeLog {
    name: String,
    ring: LogRing,
    source: Arc<Mutex<SimLog>>,
    /// When the simulated machine was set up.
    start: SystemTime,
}

impl NodeLog {
    /// The log of the node with this name, which is also its seed.
    pub(crate) fn new(name: &str) -> Self {
        let seed = name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let log = Self {
            name: name.to_owned(),
            ring: LogRing::new(BYTES),
            source: Arc::new(Mutex::new(SimLog::new(seed))),
            start: SystemTime::now() - HISTORY,
        };
        while log.next_within(HISTORY).is_none() {}
        log
    }

    /// As the agent reads it.
    pub fn ring(&self) -> LogRing {
        self.ring.clone()
    }

    /// `count` entries at once.
    pub fn burst(&self, count: u64) {
        let mut source = self.source();
        source.burst(count);
        for _ in 0..count {
            if let Some(event) = source.next() {
                self.say(event);
            }
        }
    }

    /// `count` entries are lost.
    pub fn gap(&self, count: u64) {
        self.ring.skip(count);
    }

    /// The machine boots anew: the entries that follow are of another boot.
    pub fn reboot(&self) {
        self.source().reboot();
    }

    /// Says the rest, each entry in its time.
    pub(crate) async fn run(self) {
        let start = Instant::now();
        let mut passed = HISTORY;
        loop {
            match self.next_within(passed) {
                None => {}
                Some(at) => {
                    sleep_until(start + at.saturating_sub(HISTORY)).await;
                    passed = passed.max(at);
                }
            }
        }
    }

    /// Says the next entry if its time is not after `passed`; else tells its time.
    fn next_within(&self, passed: Duration) -> Option<Duration> {
        let mut source = self.source();
        let mut ahead = source.clone();
        match ahead.next()? {
            SimLogEvent::Entry(entry) if entry.at > passed => Some(entry.at),
            event => {
                *source = ahead;
                self.say(event);
                None
            }
        }
    }

    fn say(&self, event: SimLogEvent) {
        match event {
            SimLogEvent::Gap(count) => self.ring.skip(count),
            SimLogEvent::Entry(entry) => self.ring.push(self.record(entry)),
        }
    }

    fn record(&self, entry: SimLogEntry) -> LogRecord {
        let SimLogEntry { at, since_boot, boot, priority, unit, identifier, pid, message } = entry;
        LogRecord {
            time: self.start + at,
            monotonic: Some(since_boot),
            boot_id: format!("{}-boot-{boot}", self.name),
            priority,
            unit: unit.to_owned(),
            identifier: identifier.to_owned(),
            pid: (pid > 0).then_some(pid),
            is_kernel: identifier == "kernel",
            message,
        }
    }

    fn source(&self) -> std::sync::MutexGuard<'_, SimLog> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
