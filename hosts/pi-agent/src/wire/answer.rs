//! What is answered about lines.

use agent_lib::{
    Grant, HeldStatus, LeaseStatus, LineStatus, Missed, Position, PwmKind, RateLimited, Reading, Record, SafeState,
    Signal, What,
};
use hal_core::{Direction, Instant, LineId, LineInfo};
use proto::agent::v1 as pb;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::duration;
use super::refusal::RATE_LIMITED;

/// The answer to a read.
pub(crate) fn reading(reading: Reading) -> pb::GpioResponse {
    let Reading { line, level, raw, pulsing: _, pwm } = reading;
    pb::GpioResponse { raw_state: state(raw), pwm: pwm.map(signal), ..touched(line, Some(level)) }
}

/// A signal as it is.
pub(crate) fn signal(signal: Signal) -> pb::Pwm {
    let frequency_hz = signal.frequency_hz();
    let Signal { kind, timing } = signal;
    pb::Pwm { hardware: kind == PwmKind::Hardware, frequency_hz, duty_ppm: timing.duty_ppm() }
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
        let HeldStatus { holder, held_for, config: _, lease, pulsing, pwm, debounce: _ } = held;
        out.holder = holder.to_string();
        out.held_for = Some(duration(held_for));
        out.lease = lease.map(lease_status);
        out.pulsing = pulsing;
        out.pwm = pwm.map(signal);
    }
    out
}

/// Of somebody's lease, without its token: that is the holder's.
fn lease_status(lease: LeaseStatus) -> pb::Lease {
    let LeaseStatus { ttl: _, left, safe } = lease;
    pb::Lease { token: 0, left: Some(duration(left)), safe_state: safe_state(safe) }
}

/// What the caller holds.
pub(crate) fn grant(grant: Grant, now: Instant) -> pb::Lease {
    let Grant { line: _, token, expires } = grant;
    let left = expires.map(|at| duration(at.saturating_since(now)));
    pb::Lease { token: token.0, left, safe_state: 0 }
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

/// A refusal by the rate limit within a stream of requests.
pub(crate) fn limited_outcome(limited: &RateLimited) -> pb::StreamGpioResponse {
    let refusal = pb::StreamRefusal {
        code: Code::ResourceExhausted.into(),
        message: limited.to_string(),
        reason: RATE_LIMITED.to_owned(),
    };
    pb::StreamGpioResponse { outcome: Some(pb::stream_gpio_response::Outcome::Refusal(refusal)) }
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

fn state(level: bool) -> i32 {
    if level { pb::GpioState::High.into() } else { pb::GpioState::Low.into() }
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
