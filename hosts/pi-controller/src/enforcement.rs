//! What follows when it changes who is let in: nobody who is kept out stays connected.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_lib::Shown;
use mtls::{PeerCertificate, Refusal, Sessions, Trust};
use tokio::time::{MissedTickBehavior, interval};

use crate::ledger::Ledger;
use crate::links::Links;
use crate::wire;

/// Between the end of the streams of somebody who is kept out, which says why, and that of their connections.
const GOODBYE: Duration = Duration::from_millis(250);
/// How often revoked keys are looked through for those that have expired on their own.
const TIDY: Duration = Duration::from_secs(3600);

/// From now on each handshake, in both directions, asks the state.
pub(crate) fn admit_by(ledger: &Arc<Ledger>, trust: &Trust) {
    let ledger = ledger.clone();
    trust.admit_by(move |shown| {
        let PeerCertificate { identity, fingerprint, not_before } = shown;
        let subject = wire::identity(identity).map_err(|_| Refusal::Revoked)?; // the issuer writes no such name
        let shown = Shown { subject: &subject, fingerprint, not_before: *not_before };
        ledger.read().admit(shown).map_err(|excluded| match excluded.is_for_good() {
            true => Refusal::Revoked,
            false => Refusal::Locked,
        })
    });
}

/// Ends connections from and to those who are kept out, after each change; for ever.
pub(crate) async fn enforce(ledger: Arc<Ledger>, sessions: Arc<Sessions>, links: Arc<Links>) {
    let mut changes = ledger.trust_revisions();
    let mut tidy = interval(TIDY);
    tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return; // the state is gone, and with it the process
                }
                sessions.judge_again(GOODBYE);
                links.forget_excluded(&ledger.read());
            }
            _ = tidy.tick() => {
                if let Err(error) = ledger.decide(|control| control.forget_keys(SystemTime::now())).await {
                    tracing::warn!(why = %startup::one_line(&error), "cannot forget expired keys for the moment");
                }
            }
        }
    }
}
