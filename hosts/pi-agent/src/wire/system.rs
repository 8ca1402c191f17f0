//! Health, and what the machine says of itself.

use std::time::Duration;

use agent_lib::{Condition, ConditionKind, Health, State};
use hal_core::{ChipInfo, Instant};
use proto::agent::v1 as pb;
use proto::control::v1::Inventory;

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
        build: option_env!("PI_BUILD").unwrap_or_default().to_owned(),
        features: vec!["uapi-v2".to_owned()],
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
