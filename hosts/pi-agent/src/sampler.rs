//! Measures in the background, so that no call has to wait.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use agent_lib::{ConditionKind, Meter, Metrics, State};
use hal_core::{Board, MetricsSource, Sample};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::service::Node;

/// Until the second sample: processor use is known soon after the start.
const FIRST_WINDOW: Duration = Duration::from_millis(250);
const PERIOD: Duration = Duration::from_secs(1);

/// The latest readings, and when they were taken.
#[derive(Debug)]
pub(crate) struct Readings(Mutex<(Metrics, SystemTime)>);

impl Readings {
    pub(crate) fn none() -> Self {
        Self(Mutex::new((Metrics::default(), SystemTime::now())))
    }

    pub(crate) fn latest(&self) -> (Metrics, SystemTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, metrics: Metrics) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (metrics, SystemTime::now());
    }
}

/// Samples `source` once a second, for ever. A sample is a few reads of `/proc`, less than a millisecond.
pub(crate) async fn sample<B: Board>(source: impl MetricsSource, node: &Node<B>) {
    let mut meter = Meter::new(source);
    let mut take = || {
        meter.sample(node.clock.now());
        let metrics = meter.latest();
        match metrics.sample == Sample::default() {
            true => node.note(ConditionKind::Metrics, State::False, "NothingReadable", String::new()),
            false => node.note(ConditionKind::Metrics, State::True, "Sampled", String::new()),
        }
        node.readings.put(metrics);
    };
    take();
    let mut ticks = interval_at(Instant::now() + FIRST_WINDOW, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        take();
    }
}
