//! The controller's own certificate: it holds the CA, so that it certifies itself, and again in good time.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use control_lib::{Authority, Identity, IssueError, Lifetime, PublicKey, RootId};
use mtls::{CertificateDer, Credentials, OwnCertificate, OwnKey};

use crate::ledger::Ledger;
use crate::links::Links;
use crate::serve::ServeError;

/// How often the clock is looked at: it may be set, and a machine may have slept.
const LOOK: Duration = Duration::from_secs(60);
const AFTER_A_FAILURE: Duration = Duration::from_secs(60);

/// Who the controller is, for how long each of its certificates lasts, and where they are kept.
pub(crate) struct Own {
    pub(crate) identity: Identity,
    pub(crate) lifetime: Lifetime,
    pub(crate) folder: PathBuf,
}

impl Own {
    /// A new key and its certificate, kept in the folder too; without a CA key the one that is kept there. The chain ends
    /// with the CA, whose key a joining node knows by its hash.
    pub(crate) fn take(&self, authority: &Authority) -> Result<(Credentials, SystemTime), ServeError> {
        match self.issue(authority) {
            Err(ServeError::Issue(IssueError::NoKey)) => {
                tracing::error!(
                    "the CA key is gone: nothing can be issued until pi-controller ca recover or ca restore"
                );
                let kept = Credentials::load(&self.folder).map_err(|_| ServeError::Issue(IssueError::NoKey))?;
                Ok((kept, SystemTime::now() + AFTER_A_FAILURE))
            }
            other => other,
        }
    }

    fn issue(&self, authority: &Authority) -> Result<(Credentials, SystemTime), ServeError> {
        let key = OwnKey::generate()?;
        let public = PublicKey::from_csr(&key.csr()?)?;
        let certificate = authority.signing().issue(&public, &self.identity, SystemTime::now(), self.lifetime)?;
        let certificates = |list: Vec<Vec<u8>>| list.into_iter().map(CertificateDer::from);
        let renew_at = certificate.renew_at();
        let chain = authority.chain_of(&certificate.der);
        let credentials = Credentials {
            chain: certificates(vec![certificate.der]).chain(certificates(chain)).collect(),
            key: key.into_private_key(),
            roots: certificates(authority.bundle()).collect(),
        };
        mtls::create_private_dir(&self.folder)?;
        credentials.store(&self.folder)?;
        Ok((credentials, renew_at))
    }

    /// Replaces the certificate at half of its life and whenever another root signs or the way to the roots changes, for
    /// ever; what is connected stays so.
    pub(crate) async fn keep_fresh(&self, ledger: &Ledger, shown: &OwnCertificate, links: &Links, first: SystemTime) {
        let mut revisions = ledger.revisions();
        let mut made = made_of(ledger.read().authority());
        let mut renew_at = first;
        loop {
            let left = renew_at.duration_since(SystemTime::now()).unwrap_or_default();
            // a clock that was set back by days would have it look issued in the future
            if !left.is_zero() && left <= self.lifetime.duration() {
                tokio::select! {
                    () = tokio::time::sleep(left.min(LOOK)) => continue,
                    // the ledger lives as long as this does
                    () = async { drop(revisions.wait_for(|_| made_of(ledger.read().authority()) != made).await) } => {}
                }
            }
            let authority = ledger.read().authority().clone();
            made = made_of(&authority);
            let renewed =
                self.issue(&authority).and_then(|(credentials, next)| Ok((shown.replace(&credentials)?, next)));
            renew_at = match renewed {
                Ok(((), next)) => {
                    links.connect_anew();
                    next
                }
                Err(error) => {
                    tracing::error!(why = %startup::one_line(&error), "cannot renew the controller's certificate");
                    SystemTime::now() + AFTER_A_FAILURE.min(self.lifetime.duration())
                }
            };
        }
    }
}

/// What the own certificate was made of: another one is needed when it changes.
fn made_of(authority: &Authority) -> (RootId, u64) {
    (authority.signing().id(), authority.roots_version())
}
