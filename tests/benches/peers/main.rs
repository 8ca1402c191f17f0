//! The agent's logs and metrics, beside what people use instead: systemd-journal-gatewayd and journalctl (P8),
//! prometheus-node-exporter (P7). `run` beside this file builds it and gives it a journal of its own. Prints tables;
//! decides nothing. `../README.md` says how to read them.

mod journal;
#[path = "../control_gpio/lab.rs"]
mod lab;
mod logs;
mod metrics;
mod process;
#[path = "../control_gpio/report.rs"]
#[allow(dead_code, reason = "other tables have other goals")]
mod report;
#[path = "../control_gpio/series.rs"]
mod series;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::lab::Lab;
use crate::report::{Goal, Row};
use crate::series::Series;

/// Measures the agent's logs and metrics beside those of other programs.
#[derive(Parser)]
struct Arguments {
    /// One of them only
    what: Option<What>,
    /// The agent on a simulated board
    #[arg(long)]
    agent: PathBuf,
    /// Rounds; in each, everybody has their turn
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Entries of the journal
    #[arg(long, default_value_t = 200_000)]
    entries: usize,
    /// Samples of metrics, one a second
    #[arg(long, default_value_t = 40)]
    samples: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Logs,
    Metrics,
}

fn main() {
    let Arguments { what, agent, rounds, entries, samples } = Arguments::parse();
    let lab = Lab::set_up();
    // The caller has one thread, as the agent has.
    let caller = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut rows = Vec::new();
    if what != Some(What::Metrics) {
        rows.extend(caller.block_on(logs::measure(&lab, &agent, rounds, entries)));
    }
    if what != Some(What::Logs) {
        rows.extend(caller.block_on(metrics::measure(&lab, &agent, samples)));
    }
    println!("{}", report::HEADING.replace("floor", "peer"));
    rows.iter().for_each(|row| println!("{row}"));
}

/// One comparison.
fn row(what: &'static str, unit: &'static str, agent: &Series, peer: &Series, goal: Goal) -> Row {
    Row { what, unit, agent: agent.clone(), floor: peer.clone(), control: None, goal }
}
