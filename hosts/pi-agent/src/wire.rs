//! Between messages and our own types, by kind of thing. Nothing of prost goes further in than here, nothing of
//! `agent-lib` further out. Messages are destructured in full, so that a new field cannot pass unseen.

use std::time::{Duration, SystemTime};

use agent_lib::{
    BusRefusal, Claim, Condition, ConditionKind, Grant, Health, HeldStatus, I2cPart, Lease, LeaseStatus, LineName,
    LineStatus, Metrics, Missed, OnConflict, Position, Pulse, Reading, Record, Refusal, SafeState, State, What,
};
use embedded_hal::spi::{MODE_0, MODE_1, MODE_2, MODE_3};
use hal_core::{
    Bias, ChipInfo, Direction, Drive, Edges, FaultKind, Instant, LineConfig, LineId, LineInfo, LineMode, SpiConfig,
    SpiDeviceId,
};
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
    let pb::LineConfig { direction, bias, drive, active_low, initial, edges, debounce_us } = config;
    let edges = edges_of(edges)?;
    let (bias, drive, initial) = (bias_of(bias)?, drive_of(drive)?, level(initial, "config.initial")?);
    let mut config = match pb::LineDirection::try_from(direction) {
        Ok(pb::LineDirection::Unspecified) => LineConfig::as_is(),
        Ok(pb::LineDirection::Input) => input(bias, edges, debounce_us)?,
        Ok(pb::LineDirection::Output) => {
            LineConfig::output(initial.unwrap_or(false)).with_bias(bias).with_drive(drive.unwrap_or_default())
        }
        Err(_) => return Err(invalid("config.direction", "is not known to this agent")),
    };
    if !config.is_output() && (drive.is_some() || initial.is_some()) {
        return Err(invalid("config.direction", "must be output where drive or initial is given"));
    }
    if !matches!(config.mode, LineMode::Input { .. }) && (edges != Edges::None || debounce_us != 0) {
        return Err(invalid("config.direction", "must be input where edges or debounce_us is given"));
    }
    if config.mode == LineMode::AsIs && bias != Bias::AsIs {
        return Err(invalid("config.direction", "is required where bias is given"));
    }
    config.active_low = active_low;
    Ok(config)
}

/// Longer is no bounce.
const LONGEST_DEBOUNCE_US: u32 = 1_000_000;

fn input(bias: Bias, edges: Edges, debounce_us: u32) -> Result<LineConfig, Status> {
    if debounce_us > LONGEST_DEBOUNCE_US {
        return Err(invalid("config.debounce_us", "is at most 1,000,000"));
    }
    Ok(LineConfig { mode: LineMode::Input { bias, edges, debounce_us }, active_low: false })
}

fn edges_of(edges: i32) -> Result<Edges, Status> {
    match pb::LineEdges::try_from(edges) {
        Ok(pb::LineEdges::Unspecified) => Ok(Edges::None),
        Ok(pb::LineEdges::Rising) => Ok(Edges::Rising),
        Ok(pb::LineEdges::Falling) => Ok(Edges::Falling),
        Ok(pb::LineEdges::Both) => Ok(Edges::Both),
        Err(_) => Err(invalid("config.edges", "is not known to this agent")),
    }
}

/// How a line is claimed. Waiting is the host's affair, and a refusal to the agent.
pub(crate) fn claim(claim: pb::ClaimLine) -> Result<Claim, Status> {
    let pb::ClaimLine { config, lease_ms, safe_state, on_conflict } = claim;
    let safe = safe_of(safe_state)?;
    let lease = match lease_ms {
        0 if safe.is_some() => return Err(invalid("claim.lease_ms", "is required where safe_state is given")),
        0 => Lease::Permanent,
        ms => Lease::For { ttl: Duration::from_millis(ms.into()), safe },
    };
    let on_conflict = match pb::OnConflict::try_from(on_conflict) {
        Ok(pb::OnConflict::Unspecified | pb::OnConflict::Wait) => OnConflict::Fail,
        Ok(pb::OnConflict::Steal) => OnConflict::Steal,
        Err(_) => return Err(invalid("claim.on_conflict", "is not known to this agent")),
    };
    Ok(Claim { config: self::config(config.unwrap_or_default())?, lease, on_conflict })
}

fn safe_of(safe: i32) -> Result<Option<SafeState>, Status> {
    match pb::SafeState::try_from(safe) {
        Ok(pb::SafeState::Unspecified) => Ok(None),
        Ok(pb::SafeState::Hold) => Ok(Some(SafeState::Hold)),
        Ok(pb::SafeState::Input) => Ok(Some(SafeState::Input)),
        Ok(pb::SafeState::Low) => Ok(Some(SafeState::Low)),
        Ok(pb::SafeState::High) => Ok(Some(SafeState::High)),
        Err(_) => Err(invalid("claim.safe_state", "is not known to this agent")),
    }
}

fn safe_state(safe: SafeState) -> i32 {
    let safe = match safe {
        SafeState::Hold => pb::SafeState::Hold,
        SafeState::Input => pb::SafeState::Input,
        SafeState::Low => pb::SafeState::Low,
        SafeState::High => pb::SafeState::High,
    };
    safe.into()
}

/// A pulse; the agent checks its lengths.
pub(crate) fn pulse(pulse: pb::PulseLine) -> Result<Pulse, Status> {
    let pb::PulseLine { active, count, gap } = pulse;
    let length = |length: Option<prost_types::Duration>, field| match length.map(Duration::try_from) {
        None => Ok(Duration::ZERO),
        Some(length) => length.map_err(|_| invalid(field, "must not be negative")),
    };
    Ok(Pulse { active: length(active, "pulse.active")?, count: count.max(1), gap: length(gap, "pulse.gap")? })
}

/// What the caller holds.
pub(crate) fn grant(grant: Grant, now: Instant) -> pb::Lease {
    let Grant { line: _, token, expires } = grant;
    let left = expires.map(|at| duration(at.saturating_since(now)));
    pb::Lease { token: token.0, left, safe_state: 0 }
}

/// Where a watch is to go on; `None` if from the beginning.
pub(crate) fn position(epoch: u64, sequence: u64) -> Option<Position> {
    (epoch != 0).then_some(Position { epoch, sequence })
}

/// One record of a watch.
pub(crate) fn record(record: Record) -> pb::GpioRecord {
    use pb::gpio_record::Record as Kind;
    let Record { position: Position { epoch, sequence }, what } = record;
    let pin = what.line().map(|line| line.0.into());
    let kind = match what {
        What::Snapshot { level, raw, .. } => {
            Some(Kind::Snapshot(pb::LineSnapshot { state: state(level), raw_state: state(raw) }))
        }
        What::Edge { rising, at, seq_of_kernel, .. } => Some(Kind::Edge(pb::LineEdge {
            state: state(rising),
            timestamp_ns: at.as_nanos(),
            kernel_sequence: seq_of_kernel,
        })),
        What::Changed { level, at, .. } => {
            Some(Kind::Edge(pb::LineEdge { state: state(level), timestamp_ns: at.as_nanos(), kernel_sequence: None }))
        }
        What::Gap { missed, .. } => {
            let missed = match missed {
                Missed::Exactly(missed) => Some(missed),
                Missed::Unknown => None,
            };
            Some(Kind::Gap(pb::RecordGap { missed }))
        }
        _ => None,
    };
    pb::GpioRecord { epoch, sequence, pin, record: kind }
}

/// An answer within a stream of requests.
pub(crate) fn outcome(outcome: Result<pb::GpioResponse, Status>) -> pb::StreamGpioResponse {
    use pb::stream_gpio_response::Outcome;
    let outcome = match outcome {
        Ok(response) => Outcome::Response(response),
        Err(status) => Outcome::Refusal(pb::StreamRefusal {
            code: status.code().into(),
            message: status.message().to_owned(),
            reason: status.get_details_error_info().map(|info| info.reason).unwrap_or_default(),
        }),
    };
    pb::StreamGpioResponse { outcome: Some(outcome) }
}

/// A number that fits a byte.
pub(crate) fn byte(field: &str, number: u32) -> Result<u8, Status> {
    u8::try_from(number).map_err(|_| invalid(field, "is at most 255"))
}

/// The parts of an I²C transaction.
pub(crate) fn i2c_parts(operations: Vec<pb::I2cOperation>) -> Result<Vec<I2cPart>, Status> {
    use pb::i2c_operation::Operation;
    let part = |pb::I2cOperation { operation }| match operation {
        Some(Operation::Write(bytes)) => Ok(I2cPart::Write(bytes)),
        // the agent's limit is far below what a usize holds
        Some(Operation::Read(length)) => Ok(I2cPart::Read(usize::try_from(length).unwrap_or(usize::MAX))),
        None => Err(invalid("operations", "must each write or read")),
    };
    operations.into_iter().map(part).collect()
}

/// Clock of an SPI device unless the caller says otherwise.
const SPI_HZ: u32 = 1_000_000;

/// A transfer with an SPI device.
pub(crate) fn spi_transfer(message: pb::TransferSpiRequest) -> Result<(SpiDeviceId, SpiConfig, Vec<u8>), Status> {
    let pb::TransferSpiRequest { bus, chip_select, mode, clock_hz, write } = message;
    let device = SpiDeviceId { bus: byte("bus", bus)?, chip_select: byte("chip_select", chip_select)? };
    let mode = match mode {
        0 => MODE_0,
        1 => MODE_1,
        2 => MODE_2,
        3 => MODE_3,
        _ => return Err(invalid("mode", "is 0 to 3")),
    };
    let hz = if clock_hz == 0 { SPI_HZ } else { clock_hz };
    Ok((device, SpiConfig { mode, hz }, write))
}

/// From a bus's refusal to a status.
pub(crate) fn bus_refusal(refusal: BusRefusal) -> Status {
    let why = refusal.to_string();
    match refusal {
        BusRefusal::NotAllowed { .. } => status(Code::PermissionDenied, "DEVICE_NOT_ALLOWED", &why, []),
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

/// What later versions bring.
pub(crate) fn not_yet(what: &str) -> Status {
    status(Code::Unimplemented, "NOT_YET", &format!("{what}; this version does not serve it yet"), [])
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
    let Reading { line, level, raw, pulsing: _ } = reading;
    pb::GpioResponse { raw_state: state(raw), ..touched(line, Some(level)) }
}

/// The answer to whatever else was done to one line.
pub(crate) fn touched(line: LineId, level: Option<bool>) -> pb::GpioResponse {
    pb::GpioResponse {
        success: true,
        pin: Some(line.0.into()),
        state: level.map_or(0, state),
        ..pb::GpioResponse::default()
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
        let HeldStatus { holder, held_for, config: _, lease, pulsing, debounce: _ } = held;
        out.holder = holder.to_string();
        out.held_for = Some(duration(held_for));
        out.lease = lease.map(lease_status);
        out.pulsing = pulsing;
    }
    out
}

/// Of somebody's lease, without its token: that is the holder's.
fn lease_status(lease: LeaseStatus) -> pb::Lease {
    let LeaseStatus { ttl: _, left, safe } = lease;
    pb::Lease { token: 0, left: Some(duration(left)), safe_state: safe_state(safe) }
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
        Refusal::Hardware { kind, ref source, .. } => {
            tracing::warn!(line = %line.1, ?kind, cause = %source, "the board refused");
            status(code(kind), "HARDWARE", &why, [line, ("kind", format!("{kind:?}"))])
        }
        _ => status(Code::Internal, "UNKNOWN_REFUSAL", &why, [line]),
    }
}

/// Whether a status says that somebody else holds the line.
pub(crate) fn is_held(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == "LINE_HELD")
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
pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}
