//! What the service manager is told (sd_notify(3)). Without one, nothing is told and nothing costs anything.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Ticks twice in the time after which the service manager takes us for dead; `None` if it does not watch.
pub(crate) fn ticks() -> Option<Interval> {
    let granted: Duration = sd_notify::watchdog_enabled().filter(|granted| !granted.is_zero())?;
    let mut ticks = interval(granted / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(ticks)
}

/// Lines are restored and calls are accepted.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

/// The driver runs and the agent is not stuck.
pub(crate) fn alive() {
    tell(NotifyState::Watchdog);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
