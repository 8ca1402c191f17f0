//! What a failed connection says to people.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Why a call found no peer or lost it, in one line for people: what the handshake said if it failed, else the innermost
/// cause.
///
/// `None` for a status that the other end sent: then its own message is the reason.
pub fn explain(error: &(dyn StdError + 'static)) -> Option<String> {
    if error.is::<tonic::Status>() && error.source().is_none() {
        return None;
    }
    Some(match root_cause(error) {
        Ok(said) => explain_tls(said),
        Err(innermost) => innermost.to_string(),
    })
}

/// Whether the other end has refused our certificate because it was revoked. It has proved who it is by then.
pub fn was_revoked(error: &(dyn StdError + 'static)) -> bool {
    matches!(root_cause(error), Ok(Error::AlertReceived(AlertDescription::CertificateRevoked)))
}

/// What the handshake said, else the innermost cause.
fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> Result<&'a Error, &'a (dyn StdError + 'static)> {
    let mut innermost = error;
    loop {
        if let Some(said) = innermost.downcast_ref::<Error>() {
            return Ok(said);
        }
        // an io::Error passes over its own payload when asked for its source
        let payload = innermost.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(said) = payload.and_then(|inner| inner.downcast_ref::<Error>()) {
            return Ok(said);
        }
        match innermost.source() {
            Some(cause) => innermost = cause,
            None => return Err(innermost),
        }
    }
}

fn explain_tls(error: &Error) -> String {
    match error {
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the other end refused our certificate: it has expired".to_owned()
        }
        // decrypt_error: a CA of the same name, but with another key
        Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::DecryptError) => {
            "the other end refused our certificate: another CA issued it".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the other end demands a client certificate".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRevoked) => {
            "the other end refused our certificate: it was revoked".to_owned()
        }
        Error::AlertReceived(AlertDescription::AccessDenied) => {
            "the other end refused our certificate: its holder is locked or revoked; ask an admin".to_owned()
        }
        Error::AlertReceived(alert) => format!("the other end refused the handshake ({alert:?})"),
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the other end's certificate is from another CA: it is not of this cluster".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the other end's certificate has expired, or this machine's clock is ahead".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "the other end's certificate is not valid yet: this machine's clock is behind".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Revoked) => "the other end was revoked".to_owned(),
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            "the other end is locked".to_owned()
        }
        Error::General(said) => said.clone(),
        other => other.to_string(),
    }
}
