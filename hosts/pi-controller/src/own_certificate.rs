//! The controller's own certificate: it holds the CA, so that it certifies itself, and again in good time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_lib::{Identity, Issuer, Lifetime, PublicKey};
use mtls::{CertificateDer, Credentials, OwnCertificate, OwnKey};

use crate::ledger::Ledger;
use crate::serve::ServeError;

/// A new key and its certificate. The chain ends with the CA, whose key a joining node knows by its hash.
pub(crate) fn issue(issuer: &Issuer, identity: &Identity) -> Result<(Credentials, SystemTime), ServeError> {
    let key = OwnKey::generate()?;
    let public = PublicKey::from_csr(&key.csr()?)?;
    let certificate = issuer.issue(&public, identity, SystemTime::now(), Lifetime::CONTROLLER)?;
    let ca = CertificateDer::from(issuer.certificate_der().to_vec());
    let renew_at = certificate.renew_at();
    let chain = vec![CertificateDer::from(certificate.der), ca.clone()];
    Ok((Credentials { chain, key: key.into_private_key(), roots: vec![ca] }, renew_at))
}

/// Replaces the certificate at half of its life, for ever; what is connected stays so.
pub(crate) async fn keep_fresh(ledger: Arc<Ledger>, identity: Identity, own: Arc<OwnCertificate>, first: SystemTime) {
    const AFTER_A_FAILURE: Duration = Duration::from_secs(60);
    let mut renew_at = first;
    loop {
        tokio::time::sleep(renew_at.duration_since(SystemTime::now()).unwrap_or_default()).await;
        let renewed = issue(ledger.read().issuer(), &identity)
            .and_then(|(credentials, next)| Ok((own.replace(&credentials)?, next)));
        renew_at = match renewed {
            Ok(((), next)) => next,
            Err(error) => {
                tracing::error!(why = %startup::one_line(&error), "cannot renew the controller's certificate");
                SystemTime::now() + AFTER_A_FAILURE
            }
        };
    }
}
