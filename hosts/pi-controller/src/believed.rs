//! The roots that this controller believes follow the state.

use std::sync::Arc;
use std::time::Duration;

use mtls::{CertificateDer, Sessions, Trust};

use crate::ledger::Ledger;

/// Calls in flight may end before the connections of a root that is gone do.
const GOODBYE: Duration = Duration::from_millis(250);

/// From the next handshake on believes what was committed, and ends the connections of roots that are gone; for ever.
pub(crate) async fn follow(ledger: Arc<Ledger>, trust: Arc<Trust>, sessions: Arc<Sessions>) {
    let mut revisions = ledger.revisions();
    let mut believed = ledger.read().authority().bundle();
    loop {
        // the ledger lives as long as this does
        let changed = revisions.wait_for(|_| ledger.read().authority().bundle() != believed).await.is_ok();
        if !changed {
            return std::future::pending().await;
        }
        believed = ledger.read().authority().bundle();
        let roots: Vec<_> = believed.iter().cloned().map(CertificateDer::from).collect();
        match trust.replace(&roots) {
            Ok(()) => {
                tracing::info!(roots = roots.len(), "believes other roots from now on");
                sessions.judge_again(GOODBYE);
            }
            Err(error) => tracing::error!(why = %startup::one_line(&error), "cannot believe the new roots"),
        }
    }
}
