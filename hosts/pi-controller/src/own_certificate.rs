//! The controller's own certificate: it holds the CA, so that it certifies itself, and again in good time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_lib::{Authority, Identity, IssueError, Lifetime, PublicKey, RootId};
use mtls::{CertificateDer, Credentials, OwnCertificate, OwnKey};

use crate::ledger::Ledger;
use crate::links::Links;
use crate::serve::ServeError;

/// A new key and its certificate, and when to replace it, kept in `folder` too; without a CA key the one that is kept there.
/// The chain ends with the CA, whose key a joining node knows by its hash.
pub(crate) fn take(
    authority: &Authority,
    identity: &Identity,
    lifetime: Lifetime,
    folder: &Path,
) -> Result<(Credentials, SystemTime), ServeError> {
    match issue(authority, identity, lifetime, folder) {
        Err(ServeError::Issue(IssueError::NoKey)) => {
            tracing::error!("the CA key is gone: nothing can be issued until pi-controller ca recover or ca restore");
            let kept = Credentials::load(folder).map_err(|_| ServeError::Issue(IssueError::NoKey))?;
            Ok((kept, SystemTime::now()))
        }
        other => other,
    }
}

fn issue(
    authority: &Authority,
    identity: &Identity,
    lifetime: Lifetime,
    folder: &Path,
) -> Result<(Credentials, SystemTime), ServeError> {
    let key = OwnKey::generate()?;
    let public = PublicKey::from_csr(&key.csr()?)?;
    let certificate = authority.signing().issue(&public, identity, SystemTime::now(), lifetime)?;
    let certificates = |list: Vec<Vec<u8>>| list.into_iter().map(CertificateDer::from);
    let renew_at = certificate.renew_at();
    let chain = authority.chain_of(&certificate.der);
    let credentials = Credentials {
        chain: certificates(vec![certificate.der]).chain(certificates(chain)).collect(),
        key: key.into_private_key(),
        roots: certificates(authority.bundle()).collect(),
    };
    mtls::create_private_dir(folder)?;
    credentials.store(folder)?;
    Ok((credentials, renew_at))
}

/// How often the clock is looked at: it may be set, and a machine may have slept.
const LOOK: Duration = Duration::from_secs(60);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(60);

/// What the own certificate was made of: another one is needed when it changes.
fn made_of(authority: &Authority) -> (RootId, u64) {
    (authority.signing().id(), authority.roots_version())
}

/// Replaces the certificate at half of its life and whenever another root signs or the way to the roots changes, for
/// ever; what is connected stays so.
pub(crate) async fn keep_fresh(
    ledger: Arc<Ledger>,
    identity: Identity,
    lifetime: Lifetime,
    own: Arc<OwnCertificate>,
    first: SystemTime,
    folder: &Path,
    links: Arc<Links>,
) {
    let mut revisions = ledger.revisions();
    let mut shown = made_of(ledger.read().authority());
    let (mut renew_at, mut pause) = (first, Duration::ZERO);
    loop {
        let left = renew_at.duration_since(SystemTime::now()).unwrap_or_default();
        // a clock that was set back by days would have it look issued in the future
        let is_due = left.is_zero() || left > lifetime.duration();
        let wait = if is_due { pause } else { left.min(LOOK) };
        // the ledger lives as long as this does
        let moved = async { drop(revisions.wait_for(|_| made_of(ledger.read().authority()) != shown).await) };
        let has_moved = tokio::time::timeout(wait, moved).await.is_ok();
        if !is_due && !has_moved {
            continue;
        }
        let authority = ledger.read().authority().clone();
        shown = made_of(&authority);
        let renewed = issue(&authority, &identity, lifetime, folder)
            .and_then(|(credentials, next)| Ok((own.replace(&credentials)?, next)));
        match renewed {
            Ok(((), next)) => {
                (renew_at, pause) = (next, Duration::ZERO);
                links.connect_anew();
            }
            Err(error) => {
                tracing::error!(why = %startup::one_line(&error), "cannot renew the controller's certificate");
                (renew_at, pause) = (SystemTime::now(), PAUSE);
            }
        }
    }
}
