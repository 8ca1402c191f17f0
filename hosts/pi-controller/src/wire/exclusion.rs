//! Who is kept out.

use control_lib::{Exclusion, ExclusionKind, ExclusionRefusal, Identity, Text};
use proto::fleet::v1 as pb;
use tonic::{Code, Status};

use super::{parse, status};

/// Whom a change is about.
pub(crate) fn subject(text: &str) -> Result<Identity, Status> {
    parse("subject", text)
}

/// Why.
pub(crate) fn reason(text: &str) -> Result<Text, Status> {
    parse("reason", text)
}

/// Why nobody was locked, unlocked or revoked.
pub(crate) fn exclusion_refusal(refusal: &ExclusionRefusal) -> Status {
    let (code, reason) = match refusal {
        ExclusionRefusal::UnknownNode(_) => (Code::NotFound, "UNKNOWN_NODE"),
        ExclusionRefusal::Controller => (Code::InvalidArgument, "CONTROLLER"),
        ExclusionRefusal::ForGood(_) => (Code::FailedPrecondition, "REVOKED"),
        ExclusionRefusal::LastAdmin(_) => (Code::FailedPrecondition, "LAST_ADMIN"),
    };
    status(code, reason, &refusal.to_string(), [])
}

/// That somebody is kept out, for people.
pub(crate) fn exclusion(exclusion: &Exclusion) -> pb::Exclusion {
    let Exclusion { subject, kind, reason, by, at } = exclusion;
    let kind = match kind {
        ExclusionKind::Locked => pb::ExclusionKind::Locked,
        ExclusionKind::Revoked => pb::ExclusionKind::Revoked,
    };
    pb::Exclusion {
        subject: subject.to_string(),
        kind: kind.into(),
        reason: reason.to_string(),
        by: by.to_string(),
        since: Some((*at).into()),
    }
}

/// No call goes to a node that is kept out.
pub(crate) fn excluded_node(exclusion: &Exclusion) -> Status {
    let Exclusion { subject, kind, reason: _, by, at: _ } = exclusion;
    let (reason, next) = match kind {
        ExclusionKind::Locked => ("NODE_LOCKED", "an admin can unlock it"),
        ExclusionKind::Revoked => ("NODE_REVOKED", "its name can join again with a new token"),
    };
    let why = format!("no call goes to {subject}: it was {kind} by {by}; {next}");
    status(Code::FailedPrecondition, reason, &why, [("node", subject.name.to_string())])
}

/// Somebody is kept out, but only for as long as the process lives.
pub(crate) fn not_stored(exclusion: &Exclusion) -> Status {
    let Exclusion { subject, kind, .. } = exclusion;
    let why = format!(
        "{subject} is {kind} from now on, but that could not be stored and ends with this process: see to the controller's \
         disk, then say it again"
    );
    status(Code::Unavailable, "NOT_STORED", &why, [("subject", subject.to_string())])
}
