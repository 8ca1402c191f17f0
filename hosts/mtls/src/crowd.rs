//! Places for handshakes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, interval_at, sleep};

/// Enough for an honest peer on a bad line.
const UNDISTURBED: Duration = Duration::from_secs(1);
/// How often whoever waits asks the slow ones again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// So many may shake hands at once. While others wait, whoever is at it for a second gives way: peers that begin and then
/// do nothing cannot keep others out for the whole time that a handshake may take.
#[derive(Clone)]
pub(crate) struct Crowd {
    places: Arc<Semaphore>,
    others_wait: Arc<Notify>,
}

impl Crowd {
    pub(crate) fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), others_wait: Arc::new(Notify::new()) }
    }

    /// Waits for a place, in turn.
    pub(crate) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.places.clone().acquire_owned();
        tokio::pin!(place);
        let mut ask = interval_at(Instant::now(), ASK_AGAIN);
        loop {
            tokio::select! {
                biased;
                place = &mut place => return place.ok(), // never closed
                _ = ask.tick() => self.others_wait.notify_waiters(),
            }
        }
    }

    /// Completes when whoever has a place is to give it up.
    pub(crate) async fn gives_way(&self) {
        sleep(UNDISTURBED).await;
        self.others_wait.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_gives_way_to_who_waits_and_not_before_a_second() {
        let crowd = Crowd::new(1);
        let place = crowd.enter().await;
        let slow = async {
            crowd.gives_way().await;
            drop(place);
        };
        let began = Instant::now();
        let (_, place) = tokio::join!(slow, crowd.enter());
        let waited = began.elapsed();
        assert!(waited >= UNDISTURBED && waited <= UNDISTURBED + 2 * ASK_AGAIN, "{waited:?}");
        assert!(place.is_some());
        let alone = tokio::time::timeout(Duration::from_secs(60), crowd.gives_way()).await;
        assert!(alone.is_err(), "nobody waits");
    }
}
