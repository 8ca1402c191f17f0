//! Readings and health.

use std::time::{Duration, SystemTime};

use agent_lib::{Condition, ConditionKind, Health, Metrics, State};
use hal_core::{ChipInfo, Instant};
use proto::agent::v1 as pb;
use proto::control::v1::Inventory;

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
