//! Locking, unlocking and revoking, whoever it is about.

use proto::fleet::v1::{
    Exclusion, ExclusionKind, LockRequest, LockResponse, RevokeRequest, RevokeResponse, UnlockRequest, UnlockResponse,
};

use crate::call::Caller;
use crate::exit::Failure;
use crate::node::timestamp;
use crate::output::{Output, json};

/// `subject` is such as `node/pi-7` or `operator/anna`, here and below.
pub(crate) async fn lock(caller: &Caller, subject: &str, reason: String, output: Output) -> Result<String, Failure> {
    let request = caller.request(LockRequest { subject: subject.to_owned(), reason });
    let response: LockResponse = caller.exclusions()?.lock(request).await?.into_inner();
    match output {
        Output::Json => json(&response),
        Output::Table => {
            Ok(format!("{subject} is locked: its open connections have ended or end now{}", next(subject)))
        }
    }
}

pub(crate) async fn unlock(caller: &Caller, subject: &str, output: Output) -> Result<String, Failure> {
    let request = caller.request(UnlockRequest { subject: subject.to_owned() });
    let response: UnlockResponse = caller.exclusions()?.unlock(request).await?.into_inner();
    match output {
        Output::Json => json(&response),
        Output::Table => Ok(format!("{subject} is not locked")),
    }
}

pub(crate) async fn revoke(caller: &Caller, subject: &str, reason: String, output: Output) -> Result<String, Failure> {
    let request = caller.request(RevokeRequest { subject: subject.to_owned(), reason });
    let response: RevokeResponse = caller.exclusions()?.revoke(request).await?.into_inner();
    match output {
        Output::Json => json(&response),
        Output::Table => Ok(format!("{subject} is revoked for good{}", next(subject))),
    }
}

fn next(subject: &str) -> &'static str {
    match subject.starts_with("node/") {
        true => "; calls to it are refused; pictl node show says how it stands",
        false => "; nodes that cannot be reached now refuse it as soon as they hear of it",
    }
}

/// One word for a list.
pub(crate) fn word(exclusion: &Exclusion) -> &'static str {
    match exclusion.kind() {
        ExclusionKind::Locked => "locked",
        ExclusionKind::Revoked => "revoked",
        ExclusionKind::Unspecified => "kept out", // a kind of a later version
    }
}

/// How, since when, by whom and why.
pub(crate) fn sentence(exclusion: &Exclusion) -> String {
    let reason = if exclusion.reason.is_empty() { String::new() } else { format!(": {}", exclusion.reason) };
    format!("{} since {} by {}{reason}", word(exclusion), timestamp(exclusion.since), exclusion.by)
}
