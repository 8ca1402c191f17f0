//! What a request says of lines.

use std::time::Duration;

use agent_lib::{Claim, Lease, LineName, OnConflict, Pulse, SafeState, Wave};
use hal_core::{Bias, Drive, Edges, LineConfig, LineMode};
use proto::agent::v1 as pb;
use proto::agent::v1::line_name::Name;
use tonic::Status;

use super::invalid;

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

/// A pulse; the agent checks its lengths.
pub(crate) fn pulse(pulse: pb::PulseLine) -> Result<Pulse, Status> {
    let pb::PulseLine { active, count, gap } = pulse;
    let length = |length: Option<prost_types::Duration>, field| match length.map(Duration::try_from) {
        None => Ok(Duration::ZERO),
        Some(length) => length.map_err(|_| invalid(field, "must not be negative")),
    };
    Ok(Pulse { active: length(active, "pulse.active")?, count: count.max(1), gap: length(gap, "pulse.gap")? })
}

/// A signal; the agent checks its range.
pub(crate) fn pwm(pwm: pb::PwmLine) -> Wave {
    let pb::PwmLine { frequency_hz, duty_ppm } = pwm;
    Wave { frequency_hz, duty_ppm }
}
