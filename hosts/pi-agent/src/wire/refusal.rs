//! Refusals as statuses.

use agent_lib::{BusRefusal, PwmRefusal, RateLimited, Refusal};
use hal_core::FaultKind;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const DOMAIN: &str = "pi-controller";

/// A status with a reason for programs beside the sentence for people.
pub(crate) fn status<const N: usize>(code: Code, reason: &str, why: &str, facts: [(&str, String); N]) -> Status {
    let facts = facts.map(|(key, value)| (key.to_owned(), value));
    Status::with_error_details(code, why, ErrorDetails::with_error_info(reason, DOMAIN, facts))
}

/// A field that does not make sense.
pub(crate) fn invalid(field: &str, why: &str) -> Status {
    status(Code::InvalidArgument, "INVALID_FIELD", &format!("{field} {why}"), [("field", field.to_owned())])
}

/// The reason of a refusal by the rate limit.
pub(super) const RATE_LIMITED: &str = "RATE_LIMITED";

/// A caller asks too often.
pub(crate) fn rate_limited(limited: RateLimited) -> Status {
    let facts = [
        ("limit_per_second", limited.per_second.to_string()),
        ("retry_after_ms", limited.retry_after_ms().to_string()),
        ("retryable", "true".to_owned()),
    ];
    status(Code::ResourceExhausted, RATE_LIMITED, &limited.to_string(), facts)
}

/// A node serves so many streams and no more.
pub(crate) fn too_many_streams(method: &str, limit: usize) -> Status {
    let why =
        format!("{limit} {method} streams are open on this node, as many as it serves; end one or try again later");
    let facts = [("limit", limit.to_string()), ("retryable", "true".to_owned())];
    status(Code::ResourceExhausted, "TOO_MANY_STREAMS", &why, facts)
}

/// The one function from refusal to status.
pub(crate) fn refusal(refusal: Refusal) -> Status {
    let why = refusal.to_string();
    let line = ("line", refusal.line().map(|line| line.to_string()).unwrap_or_default());
    match refusal {
        Refusal::UnknownLine { asked, near } => {
            status(Code::NotFound, "UNKNOWN_LINE", &why, [("line", asked), ("near", near.join(","))])
        }
        Refusal::NotAllowed { .. } => status(Code::PermissionDenied, "LINE_NOT_ALLOWED", &why, [line]),
        Refusal::OnBus { bus, .. } => {
            status(Code::FailedPrecondition, "LINE_ON_BUS", &why, [line, ("bus", bus.to_string())])
        }
        Refusal::Held { holder, held_for, lease_left, .. } => {
            let facts = [
                line,
                ("holder", holder.to_string()),
                ("held_ms", held_for.as_millis().to_string()),
                ("lease_left_ms", lease_left.map(|left| left.as_millis().to_string()).unwrap_or_default()),
                ("retryable", "true".to_owned()),
            ];
            status(Code::Aborted, "LINE_HELD", &why, facts)
        }
        Refusal::NotHeld { .. } => status(Code::FailedPrecondition, "LINE_NOT_HELD", &why, [line]),
        Refusal::WrongDirection { .. } => status(Code::FailedPrecondition, "WRONG_DIRECTION", &why, [line]),
        Refusal::DuplicateLine { .. } => status(Code::InvalidArgument, "DUPLICATE_LINE", &why, [line]),
        Refusal::LeaseExpired { .. } => status(Code::FailedPrecondition, "LEASE_EXPIRED", &why, [line]),
        Refusal::StaleToken { .. } => status(Code::FailedPrecondition, "STALE_TOKEN", &why, [line]),
        Refusal::LeaseOutOfRange { .. } => status(Code::InvalidArgument, "LEASE_OUT_OF_RANGE", &why, [line]),
        Refusal::SafeStateRequired { .. } => status(Code::InvalidArgument, "SAFE_STATE_REQUIRED", &why, [line]),
        Refusal::PermanentNotAllowed { .. } => status(Code::PermissionDenied, "PERMANENT_NOT_ALLOWED", &why, [line]),
        Refusal::StealNotAllowed { .. } => status(Code::PermissionDenied, "STEAL_NOT_ALLOWED", &why, [line]),
        Refusal::PulseOutOfRange { .. } => status(Code::InvalidArgument, "PULSE_OUT_OF_RANGE", &why, [line]),
        Refusal::Pwm(PwmRefusal::Frequency { .. }) => out_of_range("pwm.frequency_hz", &why, line),
        Refusal::Pwm(_) => out_of_range("pwm.duty_ppm", &why, line),
        Refusal::SharedChannel { other, channel, holder, held_for, .. } => {
            let facts = [
                line,
                ("other", other.to_string()),
                ("channel", channel.to_string()),
                ("holder", holder.to_string()),
                ("held_ms", held_for.as_millis().to_string()),
            ];
            status(Code::Aborted, "PWM_CHANNEL_SHARED", &why, facts)
        }
        Refusal::CarriesPwm { .. } => status(Code::FailedPrecondition, "LINE_CARRIES_PWM", &why, [line]),
        Refusal::Hardware { kind, ref source, .. } => {
            tracing::warn!(line = %line.1, ?kind, cause = %source, "the board refused");
            status(code(kind), "HARDWARE", &why, [line, ("kind", format!("{kind:?}"))])
        }
        _ => status(Code::Internal, "UNKNOWN_REFUSAL", &why, [line]),
    }
}

fn out_of_range(field: &str, why: &str, line: (&str, String)) -> Status {
    status(Code::InvalidArgument, "PWM_OUT_OF_RANGE", why, [("field", field.to_owned()), line])
}

/// Whether a status says that somebody else holds the line.
pub(crate) fn is_held(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == "LINE_HELD")
}

/// From a bus's refusal to a status.
pub(crate) fn bus_refusal(refusal: BusRefusal) -> Status {
    let why = refusal.to_string();
    match refusal {
        BusRefusal::NotAllowed { .. } => status(Code::PermissionDenied, "DEVICE_NOT_ALLOWED", &why, []),
        BusRefusal::LineHeld { device, line, holder } => {
            let facts = [
                ("device", device.to_string()),
                ("line", line.to_string()),
                ("holder", holder.to_string()),
                ("retryable", "true".to_owned()),
            ];
            status(Code::Aborted, "LINE_HELD", &why, facts)
        }
        BusRefusal::Hardware { kind, ref source, device } => {
            tracing::warn!(%device, ?kind, cause = %source, "the bus refused");
            let facts = [("device", device.to_string()), ("kind", format!("{kind:?}"))];
            status(
                code(kind),
                if kind == FaultKind::NoAcknowledge { "NO_ACKNOWLEDGE" } else { "HARDWARE" },
                &why,
                facts,
            )
        }
        _ => status(Code::InvalidArgument, "INVALID_TRANSFER", &why, []),
    }
}

fn code(kind: FaultKind) -> Code {
    match kind {
        FaultKind::Busy => Code::Aborted,
        FaultKind::NoSuchLine => Code::NotFound,
        FaultKind::Denied => Code::PermissionDenied,
        FaultKind::Unsupported => Code::Unimplemented,
        FaultKind::InvalidConfig => Code::InvalidArgument,
        FaultKind::WrongMode => Code::FailedPrecondition,
        FaultKind::Gone | FaultKind::NoAcknowledge => Code::Unavailable,
        _ => Code::Internal,
    }
}
