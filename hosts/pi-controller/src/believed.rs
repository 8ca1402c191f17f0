//! The roots that this controller believes follow the state.

use std::sync::Arc;

use mtls::{CertificateDer, Trust};

use crate::ledger::Ledger;

/// From the next handshake on believes what was committed, for ever.
pub(crate) async fn follow(ledger: Arc<Ledger>, trust: Arc<Trust>) {
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
            Ok(()) => tracing::info!(roots = roots.len(), "believes other roots from now on"),
            Err(error) => tracing::error!(why = %startup::one_line(&error), "cannot believe the new roots"),
        }
    }
}
