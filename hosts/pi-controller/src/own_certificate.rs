//! The controller's own certificate: it holds the CA, so that it certifies itself, and again in good time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_lib::{Identity, Issuer, Lifetime, PublicKey};
use mtls::{CertificateDer, Credentials, OwnCertificate, OwnKey};

use crate::ledger::Ledger;
use crate::serve::ServeError;

/// A new key and its certificate, and when to replace it. The chain ends with the CA, whose key a joining node knows by its
/// hash.
pub(crate) fn issue(
    issuer: &Issuer,
    identity: &Identity,
    lifetime: Lifetime,
) -> Result<(Credentials, SystemTime), ServeError> {
    let key = OwnKey::generate()?;
    let public = PublicKey::from_csr(&key.csr()?)?;
    let certificate = issuer.issue(&public, identity, SystemTime::now(), lifetime)?;
    let ca = CertificateDer::from(issuer.certificate_der().to_vec());
    let renew_at = certificate.renew_at();
    let chain = vec![CertificateDer::from(certificate.der), ca.clone()];
    Ok((Credentials { chain, key: key.into_private_key(), roots: vec![ca] }, renew_at))
}

/// How often the clock is looked at: it may be set, and a machine may have slept.
const LOOK: Duration = Duration::from_secs(60);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(60);

/// Replaces the certificate at half of its life, for ever; what is connected stays so.
pub(crate) async fn keep_fresh(
    ledger: Arc<Ledger>,
    identity: Identity,
    lifetime: Lifetime,
    own: Arc<OwnCertificate>,
    first: SystemTime,
) {
    let mut renew_at = first;
    loop {
        let left = renew_at.duration_since(SystemTime::now()).unwrap_or_default();
        // a clock that was set back by days would have it look issued in the future
        if !left.is_zero() && left <= lifetime.duration() {
            tokio::time::sleep(left.min(LOOK)).await;
            continue;
        }
        let renewed = issue(ledger.read().issuer(), &identity, lifetime)
            .and_then(|(credentials, next)| Ok((own.replace(&credentials)?, next)));
        match renewed {
            Ok(((), next)) => renew_at = next,
            Err(error) => {
                tracing::error!(why = %startup::one_line(&error), "cannot renew the controller's certificate");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
