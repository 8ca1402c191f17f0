//! A join that outlasts a network that is not there yet and a controller that restarts.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::time::timeout;

use crate::join::{JoinError, Joined};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl JoinError {
    /// Whether the same attempt may succeed later. A lost answer is among them: the next attempt asks with the same key
    /// and gets the same node.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Unreachable { for_good: false, .. })
    }
}

/// Tries `attempt` until it succeeds, fails for good, or `patience` is over; with pauses from 1 to 30 s, drawn at random,
/// so that a fleet that is switched on at once does not ask at once. `progress` is told of each failure and of the pause
/// after it.
///
/// # Errors
///
/// The failure that is for good, or the last one before `patience` was over.
pub async fn join_patiently<F: Future<Output = Result<Joined, JoinError>>>(
    patience: Duration,
    attempt: impl FnMut() -> F,
    mut progress: impl FnMut(&JoinError, Duration),
) -> Result<Joined, JoinError> {
    let mut last = None;
    let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE);
    let trying =
        attempt.retry(pauses.with_jitter().without_max_times()).when(JoinError::is_passing).notify(|error, pause| {
            progress(error, pause);
            last = Some(error.to_string());
        });
    match timeout(patience, trying).await {
        Ok(ended) => ended,
        Err(_) => Err(JoinError::Impatient(last.unwrap_or_else(|| "no answer yet".to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn away() -> JoinError {
        JoinError::Unreachable { address: "c:1".to_owned(), why: "away".to_owned(), for_good: false }
    }

    fn joined() -> Joined {
        Joined { node: "pi-7".to_owned(), cluster: "lab".to_owned(), pending: false }
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_told() {
        let (attempts, mut told) = (Cell::new(0), Vec::new());
        let attempt = || {
            attempts.set(attempts.get() + 1);
            std::future::ready(if attempts.get() < 8 { Err(away()) } else { Ok(joined()) })
        };
        let tell = |error: &JoinError, pause| told.push((error.to_string(), pause));
        assert_eq!(join_patiently(Duration::from_secs(600), attempt, tell).await.unwrap(), joined());
        assert_eq!((attempts.get(), told.len()), (8, 7));
        assert!(told.iter().all(|(why, _)| why == "cannot join through c:1: away"));
        let pauses: Vec<_> = told.iter().map(|(_, pause)| *pause).collect();
        assert!(pauses.iter().all(|pause| (FIRST_PAUSE..LONGEST_PAUSE * 2).contains(pause)), "{pauses:?}");
        assert!(pauses[4] > pauses[0] && pauses[0].subsec_nanos() != 0, "they grow, and are drawn: {pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_with_the_last_failure() {
        let start = tokio::time::Instant::now();
        let fail = || std::future::ready(Err(away()));
        let error = join_patiently(Duration::from_secs(20), fail, |_, _| {}).await.unwrap_err();
        assert_eq!(error.to_string(), "gave up, more patience is --timeout: cannot join through c:1: away");
        assert_eq!(start.elapsed(), Duration::from_secs(20));
        let hang = std::future::pending;
        let error = join_patiently(Duration::from_secs(20), hang, |_, _| {}).await.unwrap_err();
        assert_eq!(error.to_string(), "gave up, more patience is --timeout: no answer yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_asked_again() {
        let attempts = Cell::new(0);
        let refused = || {
            attempts.set(attempts.get() + 1);
            std::future::ready(Err(JoinError::Refused("used up".to_owned())))
        };
        let told = |_: &JoinError, _| panic!("nothing to tell");
        assert!(matches!(join_patiently(Duration::MAX, refused, told).await, Err(JoinError::Refused(_))));
        assert_eq!(attempts.get(), 1);
    }
}
