//! `pictl health`.

use std::io::Write;

use proto::agent::v1::{Condition, ConditionState, HealthStatus};

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::{Output, duration, inert, json, or_dash, table};

/// Prints the conditions; a node that is not well is a failure with an exit code of its own.
pub(crate) async fn run(caller: &Caller, node: &str, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    let request = caller.request_to(node, ())?;
    let health = caller.node(node)?.health_check(request).await?.into_inner();
    let text = match output {
        Output::Json => json(&health)?,
        Output::Table => health_table(node, &health),
    };
    writeln!(out, "{text}")?;
    if health.status == "OK" { Ok(()) } else { Err(Failure::Unwell(unwell(node, &health))) }
}

/// One line: which conditions do not hold.
fn unwell(node: &str, health: &HealthStatus) -> String {
    let failing = health.conditions.iter().filter(|condition| condition.state() == ConditionState::False);
    let failing: Vec<_> = failing.map(|condition| format!("{} ({})", condition.r#type, condition.reason)).collect();
    inert(&format!("{node} is {}: {}", health.status, failing.join(", ")))
}

fn health_table(node: &str, health: &HealthStatus) -> String {
    let row = |condition: &Condition| {
        let state = match condition.state() {
            ConditionState::True => "yes",
            ConditionState::False => "no",
            ConditionState::Unknown | ConditionState::Unspecified => "unknown",
        };
        vec![
            condition.r#type.clone(),
            state.to_owned(),
            or_dash(condition.reason.clone()),
            duration(condition.since.as_ref()),
            or_dash(condition.message.clone()),
        ]
    };
    let conditions = table(&["CONDITION", "HOLDS", "REASON", "FOR", "MESSAGE"], health.conditions.iter().map(row));
    let up = duration(health.uptime.as_ref());
    format!("{node} {}, agent {} up {up}\n{conditions}", inert(&health.status), inert(&health.version))
}
