//! Measures in the background, so that no call has to wait.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use agent_lib::{ConditionKind, Meter, Metrics, Vitals};
use hal_core::{Board, Groups, MetricsSource};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::conditions::Conditions;
use crate::service::Node;

/// Until the second sample: processor use is known soon after the start.
const FIRST_WINDOW: Duration = Duration::from_millis(250);
const PERIOD: Duration = Duration::from_secs(1);

/// Groups that are read at every tick; the others at every tenth, or while somebody streams them.
const OFTEN: [Groups; 5] = [Groups::CPU, Groups::LOAD, Groups::MEMORY, Groups::THERMAL, Groups::POWER];
const RARELY: u32 = 10;

/// What is shared between the sampler and those who ask.
#[derive(Debug)]
pub(crate) struct Readings {
    latest: Mutex<(Arc<Metrics>, SystemTime)>,
    /// What streams want at every tick, one entry a stream.
    wanted: Mutex<Vec<Groups>>,
}

impl Readings {
    pub(crate) fn none() -> Arc<Self> {
        let latest = Mutex::new((Arc::default(), SystemTime::now()));
        Arc::new(Self { latest, wanted: Mutex::default() })
    }

    /// The latest readings, and when they were taken.
    pub(crate) fn latest(&self) -> (Arc<Metrics>, SystemTime) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, metrics: &Metrics) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = (Arc::new(metrics.clone()), SystemTime::now());
    }

    /// As long as the answer lives, these groups are read at every tick.
    pub(crate) fn want(self: &Arc<Self>, groups: Groups) -> Wanted {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).push(groups);
        Wanted { readings: self.clone(), groups }
    }

    fn due(&self, tick: u32) -> Groups {
        if tick.is_multiple_of(RARELY) {
            return Groups::ALL;
        }
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        OFTEN.into_iter().chain(wanted.iter().copied()).fold(Groups::NONE, |all, group| all | group)
    }
}

/// See [`Readings::want`].
#[derive(Debug)]
pub(crate) struct Wanted {
    readings: Arc<Readings>,
    groups: Groups,
}

impl Wanted {
    pub(crate) fn groups(&self) -> Groups {
        self.groups
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut wanted = self.readings.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = wanted.iter().position(|groups| *groups == self.groups) {
            wanted.swap_remove(at);
        }
    }
}

/// Samples `source` once a second, for ever, and notes what that says of the node's health. A sample is a few reads of
/// `/proc` and `/sys`, less than a millisecond.
pub(crate) async fn sample<B: Board>(source: impl MetricsSource, node: &Node<B>, conditions: Conditions) {
    let mut latch = Latch::open(conditions.state.join("throttled"), node.boot_id());
    let mut meter = Meter::new(source).with_throttled(latch.seen);
    let mut vitals = Vitals::default();
    let mut tick = 0;
    let mut take = || {
        let groups = node.readings.due(tick);
        tick = tick.wrapping_add(1);
        meter.sample(node.clock.now(), groups);
        let metrics = meter.latest();
        latch.keep(metrics.throttled_since_boot.unwrap_or_default());
        node.readings.put(metrics);
        node.judge(ConditionKind::Metrics, vitals.metrics(metrics));
        node.judge(ConditionKind::Thermal, vitals.thermal(metrics));
        node.judge(ConditionKind::Power, vitals.power(metrics));
        if groups.has(Groups::DISK) {
            conditions.look(node, vitals.storage(metrics));
        }
    };
    take();
    let mut ticks = interval_at(Instant::now() + FIRST_WINDOW, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        take();
    }
}

/// What the firmware has told since boot, kept over restarts of the agent. A file of its own that is written when
/// something new has been seen: four times a boot at most.
struct Latch {
    file: PathBuf,
    boot_id: String,
    seen: u32,
}

impl Latch {
    fn open(file: PathBuf, boot_id: &str) -> Self {
        let text = mtls::read_private(&file).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let of_this_boot = text.as_deref().and_then(|text| text.strip_prefix(boot_id)).filter(|_| !boot_id.is_empty());
        let seen = of_this_boot.and_then(|rest| rest.trim().parse().ok()).unwrap_or_default();
        Self { file, boot_id: boot_id.to_owned(), seen }
    }

    fn keep(&mut self, seen: u32) {
        if seen | self.seen == self.seen || self.boot_id.is_empty() {
            return;
        }
        self.seen |= seen;
        if let Err(error) = mtls::write_private(&self.file, format!("{} {}\n", self.boot_id, self.seen).as_bytes()) {
            tracing::warn!(why = %startup::one_line(&error), "what the firmware has told is forgotten with this agent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_streamed_is_read_at_every_tick() {
        let readings = Readings::none();
        assert_eq!(readings.due(0), Groups::ALL);
        assert!(!readings.due(1).has(Groups::DISK | Groups::NETWORK));
        let (one, two) = (readings.want(Groups::DISK), readings.want(Groups::DISK));
        drop(one);
        assert!(readings.due(1).has(Groups::DISK) && !readings.due(1).has(Groups::NETWORK));
        drop(two);
        assert!(!readings.due(1).has(Groups::DISK));
    }

    #[test]
    fn the_latch_lasts_as_long_as_the_boot() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("throttled");
        let mut latch = Latch::open(file.clone(), "boot-1");
        latch.keep(1);
        latch.keep(4);
        assert_eq!(Latch::open(file.clone(), "boot-1").seen, 5);
        assert_eq!(Latch::open(file, "boot-2").seen, 0);
    }
}
