//! Between messages and our own types, by kind of thing. Nothing of prost goes further in than here, nothing of
//! `agent-lib` further out. Messages are destructured in full, so that a new field cannot pass unseen.

use std::time::SystemTime;

use agent_lib::{Condition, ConditionKind, Health, LineName, LineStatus, Metrics, Reading, Refusal, State};
use hal_core::{Bias, ChipInfo, Direction, Drive, FaultKind, Instant, LineConfig, LineId, LineInfo, LineMode};
use proto::agent::v1 as pb;
use proto::agent::v1::line_name::Name;
use proto::control::v1::Inventory;
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

/// The line that a request names.
pub(crate) fn line(pin: Option<u32>, text: &str) -> Result<LineName<'_>, Status> {
    match (pin, text) {
        (Some(pin), "") => Ok(LineName::Number(pin)),
        (None, "") => Err(invalid("pin", "or line is required")),
        (None, text) => Ok(LineName::Text(text)),
        (Some(_), _) => Err(invalid("line", "and pin exclude each other")),
    }
}

/// The same for one line of several.
pub(crate) fn line_name(name: &Name) -> LineName<'_> {
    match name {
        Name::Pin(pin) => LineName::Number(*pin),
        Name::Text(text) => LineName::Text(text),
    }
}

/// A logical level; `None` if it is not given.
pub(crate) fn level(state: i32, field: &str) -> Result<Option<bool>, Status> {
    match pb::GpioState::try_from(state) {
        Ok(pb::GpioState::Unspecified) => Ok(None),
        Ok(pb::GpioState::Low) => Ok(Some(false)),
        Ok(pb::GpioState::High) => Ok(Some(true)),
        Err(_) => Err(invalid(field, "is neither LOW nor HIGH")),
    }
}

/// A line's configuration.
pub(crate) fn config(config: pb::LineConfig) -> Result<LineConfig, Status> {
    let pb::LineConfig { direction, bias, drive, active_low, initial } = config;
    let (bias, drive, initial) = (bias_of(bias)?, drive_of(drive)?, level(initial, "config.initial")?);
    let mut config = match pb::LineDirection::try_from(direction) {
        Ok(pb::LineDirection::Unspecified) => LineConfig::as_is(),
        Ok(pb::LineDirection::Input) => LineConfig::input().with_bias(bias),
        Ok(pb::LineDirection::Output) => {
            LineConfig::output(initial.unwrap_or(false)).with_bias(bias).with_drive(drive.unwrap_or_default())
        }
        Err(_) => return Err(invalid("config.direction", "is not known to this agent")),
    };
    if !config.is_output() && (drive.is_some() || initial.is_some()) {
        return Err(invalid("config.direction", "must be output where drive or initial is given"));
    }
    if config.mode == LineMode::AsIs && bias != Bias::AsIs {
        return Err(invalid("config.direction", "is required where bias is given"));
    }
    config.active_low = active_low;
    Ok(config)
}

fn bias_of(bias: i32) -> Result<Bias, Status> {
    match pb::LineBias::try_from(bias) {
        Ok(pb::LineBias::Unspecified) => Ok(Bias::AsIs),
        Ok(pb::LineBias::Disabled) => Ok(Bias::Disabled),
        Ok(pb::LineBias::PullUp) => Ok(Bias::PullUp),
        Ok(pb::LineBias::PullDown) => Ok(Bias::PullDown),
        Err(_) => Err(invalid("config.bias", "is not known to this agent")),
    }
}

fn drive_of(drive: i32) -> Result<Option<Drive>, Status> {
    match pb::LineDrive::try_from(drive) {
        Ok(pb::LineDrive::Unspecified) => Ok(None),
        Ok(pb::LineDrive::PushPull) => Ok(Some(Drive::PushPull)),
        Ok(pb::LineDrive::OpenDrain) => Ok(Some(Drive::OpenDrain)),
        Ok(pb::LineDrive::OpenSource) => Ok(Some(Drive::OpenSource)),
        Err(_) => Err(invalid("config.drive", "is not known to this agent")),
    }
}

fn state(level: bool) -> i32 {
    if level { pb::GpioState::High.into() } else { pb::GpioState::Low.into() }
}

/// The answer to a read.
pub(crate) fn reading(reading: Reading) -> pb::GpioResponse {
    let Reading { line, level, raw } = reading;
    pb::GpioResponse { raw_state: state(raw), ..touched(line, Some(level)) }
}

/// The answer to whatever else was done to one line.
pub(crate) fn touched(line: LineId, level: Option<bool>) -> pb::GpioResponse {
    pb::GpioResponse {
        success: true,
        pin: Some(line.0.into()),
        state: level.map_or(0, state),
        raw_state: 0,
        lines: Vec::new(),
    }
}

/// The answer to what was done to several.
pub(crate) fn several(lines: impl Iterator<Item = (LineId, Option<bool>)>) -> pb::GpioResponse {
    let line = |(line, level): (LineId, Option<bool>)| pb::LineStatus {
        pin: line.0.into(),
        state: level.map_or(0, state),
        ..pb::LineStatus::default()
    };
    pb::GpioResponse { success: true, lines: lines.map(line).collect(), ..pb::GpioResponse::default() }
}

/// One line of a list.
pub(crate) fn line_status(status: LineStatus) -> pb::LineStatus {
    let LineStatus { line, info, aliases, header_pin, held } = status;
    let mut out = pb::LineStatus {
        pin: line.0.into(),
        aliases,
        header_pin: header_pin.map(u32::from),
        ..pb::LineStatus::default()
    };
    if let Some(LineInfo { id: _, name, consumer, direction, active_low, used }) = info {
        out.name = name.to_string();
        out.consumer = consumer.to_string();
        out.direction = match direction {
            Direction::Input => pb::LineDirection::Input.into(),
            Direction::Output => pb::LineDirection::Output.into(),
        };
        out.active_low = active_low;
        out.used = used;
    }
    if let Some(held) = held {
        out.holder = held.holder.to_string();
        out.held_for = Some(duration(held.held_for));
    }
    out
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
        Refusal::Held { holder, held_for, .. } => {
            let facts = [
                line,
                ("holder", holder.to_string()),
                ("held_ms", held_for.as_millis().to_string()),
                ("retryable", "true".to_owned()),
            ];
            status(Code::Aborted, "LINE_HELD", &why, facts)
        }
        Refusal::NotHeld { .. } => status(Code::FailedPrecondition, "LINE_NOT_HELD", &why, [line]),
        Refusal::WrongDirection { .. } => status(Code::FailedPrecondition, "WRONG_DIRECTION", &why, [line]),
        Refusal::DuplicateLine { .. } => status(Code::InvalidArgument, "DUPLICATE_LINE", &why, [line]),
        Refusal::Hardware { kind, ref source, .. } => {
            tracing::warn!(line = %line.1, ?kind, cause = %source, "the board refused");
            status(code(kind), "HARDWARE", &why, [line, ("kind", format!("{kind:?}"))])
        }
        _ => status(Code::Internal, "UNKNOWN_REFUSAL", &why, [line]),
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
        FaultKind::Gone => Code::Unavailable,
        _ => Code::Internal,
    }
}

/// Readings; what is absent stays absent.
pub(crate) fn metrics(metrics: Metrics, at: SystemTime, node_id: &str, boot_id: &str) -> pb::SystemMetrics {
    let sample = &metrics.sample;
    pb::SystemMetrics {
        cpu_usage: metrics.cpu_usage_percent,
        memory_usage: metrics.memory_usage_percent,
        disk_usage: metrics.disk_usage_percent,
        temperature: metrics.temperature_celsius,
        cpu_window: metrics.cpu_window.map(duration),
        load_average: sample.load.map(|load| load.map(f64::from).to_vec()).unwrap_or_default(),
        memory_total_bytes: sample.memory.map(|memory| memory.total_bytes),
        memory_available_bytes: sample.memory.map(|memory| memory.available_bytes),
        disk_total_bytes: sample.disk.map(|disk| disk.total_bytes),
        disk_available_bytes: sample.disk.map(|disk| disk.available_bytes),
        uptime: sample.uptime.map(duration),
        node_id: node_id.to_owned(),
        boot_id: boot_id.to_owned(),
        sampled_at: Some(at.into()),
    }
}

/// The node's own view of its health.
pub(crate) fn health(health: &Health, now: Instant, node_id: &str, boot_id: &str) -> pb::HealthStatus {
    pb::HealthStatus {
        status: health_status(health.status()).to_owned(),
        conditions: health.conditions().map(|(kind, condition)| condition_of(kind, condition, now)).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // the agent's clock starts with it
        uptime: Some(duration(now.saturating_since(Instant::from_nanos(0)))),
        node_id: node_id.to_owned(),
        boot_id: boot_id.to_owned(),
    }
}

fn health_status(status: agent_lib::Status) -> &'static str {
    match status {
        agent_lib::Status::Ok => "OK",
        agent_lib::Status::Degraded => "DEGRADED",
        agent_lib::Status::NotServing => "NOT_SERVING",
    }
}

fn condition_of(kind: ConditionKind, condition: &Condition, now: Instant) -> pb::Condition {
    let state = match condition.state {
        State::True => pb::ConditionState::True,
        State::False => pb::ConditionState::False,
        State::Unknown => pb::ConditionState::Unknown,
    };
    pb::Condition {
        r#type: format!("{kind:?}"),
        state: state.into(),
        reason: condition.reason.to_owned(),
        message: condition.message.clone(),
        since: Some(duration(now.saturating_since(condition.since))),
    }
}

/// What the machine and its board say of themselves.
pub(crate) fn inventory(inventory: Inventory, chip: &ChipInfo) -> Inventory {
    Inventory { gpio_backend: chip.backend.to_owned(), gpio_lines: chip.lines.into(), ..inventory }
}

/// Saturates at what the message can hold, which is 292 billion years.
pub(crate) fn duration(duration: std::time::Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}
