//! What is known of the fleet, and in which order it is shown.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use clap::ValueEnum;
use proto::agent::v1::SystemMetrics;
use tonic::{Code, Status};

use super::Round;
use crate::metrics::throttling;
use crate::output::{duration, inert};

/// Readings that a sparkline shows.
const HISTORY: usize = 24;

/// What stands first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Sort {
    /// By name
    Name,
    /// The busiest processor
    Cpu,
    /// The fullest memory
    Memory,
    /// The hottest
    Temperature,
}

/// One node.
pub(super) struct Row {
    node: String,
    /// What it answered last, or why it did not.
    pub(super) latest: Result<SystemMetrics, String>,
    /// Processor use in percent, oldest first; none where it did not answer.
    pub(super) history: VecDeque<Option<u64>>,
}

pub(super) struct Fleet {
    rows: BTreeMap<String, Row>,
    pub(super) sort: Sort,
    /// Rows above the first that is shown.
    pub(super) above: usize,
    /// Why the fleet itself cannot be seen.
    pub(super) failure: Option<String>,
}

impl Row {
    pub(super) const HEADER: [&str; 7] = ["NODE", "CPU", "MEMORY", "DISK", "TEMP", "UP", "THROTTLING"];

    fn new(node: String) -> Self {
        Self { node, latest: Err(String::new()), history: VecDeque::new() }
    }

    /// As text; why it did not answer stands in the last cell.
    pub(super) fn cells(&self) -> [String; 7] {
        let node = inert(&self.node);
        let dash = || "-".to_owned();
        let percent = |value: Option<f64>| value.map_or_else(dash, |value| format!("{value:.1}%"));
        match &self.latest {
            Err(why) => [node, dash(), dash(), dash(), dash(), dash(), inert(why)],
            Ok(of) => [
                node,
                percent(of.cpu_usage),
                percent(of.memory_usage),
                percent(of.disk_usage),
                of.temperature.map_or_else(dash, |celsius| format!("{celsius:.1}°C")),
                duration(of.uptime.as_ref()),
                of.throttling.as_ref().map_or_else(dash, throttling),
            ],
        }
    }

    /// Whether something is wrong that a person should see first.
    pub(super) fn is_bad(&self) -> bool {
        match &self.latest {
            Err(_) => true,
            Ok(of) => {
                let throttled = of.throttling.is_some_and(|of| {
                    of.under_voltage_now || of.throttled_now || of.frequency_capped_now || of.soft_temperature_limit_now
                });
                throttled || !of.errors.is_empty() || of.temperature.is_some_and(|celsius| celsius >= 80.0)
            }
        }
    }

    fn value(&self, sort: Sort) -> Option<f64> {
        let of = self.latest.as_ref().ok()?;
        match sort {
            Sort::Name => None,
            Sort::Cpu => of.cpu_usage,
            Sort::Memory => of.memory_usage,
            Sort::Temperature => of.temperature,
        }
    }
}

impl Fleet {
    pub(super) fn new(sort: Sort) -> Self {
        Self { rows: BTreeMap::new(), sort, above: 0, failure: None }
    }

    /// Takes down what a round found. A node that is not in the fleet any more goes.
    pub(super) fn take(&mut self, round: Round) {
        self.failure = None;
        let mut before = std::mem::take(&mut self.rows);
        for (node, answer) in round {
            let mut row = before.remove(&node).unwrap_or_else(|| Row::new(node.clone()));
            let busy = answer.as_ref().ok().and_then(|metrics| metrics.cpu_usage);
            row.history.push_back(busy.map(|percent| percent.round() as u64));
            if row.history.len() > HISTORY {
                row.history.pop_front();
            }
            row.latest = answer.map_err(|status| why(&status));
            self.rows.insert(node, row);
        }
    }

    pub(super) fn failed(&mut self, why: String) {
        self.failure = Some(why);
    }

    pub(super) fn scroll(&mut self, rows: isize) {
        self.above = self.above.saturating_add_signed(rows).min(self.rows.len().saturating_sub(1));
    }

    /// In their order; what has no value stands last, and names decide between equals.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.values().collect();
        let descending = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => b.total_cmp(&a),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        rows.sort_by(|a, b| match self.sort {
            Sort::Name => Ordering::Equal, // as the map has them
            sort => descending(a.value(sort), b.value(sort)),
        });
        rows
    }
}

/// In a word or a few: the row is short.
fn why(status: &Status) -> String {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => "unreachable".to_owned(),
        Code::PermissionDenied | Code::Unauthenticated => "denied".to_owned(),
        _ => format!("failed: {}", status.message()),
    }
}
