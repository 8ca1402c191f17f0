//! The agent on a kernel's GPIO driver, against the bare crates: a write without the network (P15), and an edge on its way
//! to a client of `WatchGPIO` over mutual TLS (P16). `tests/vm/bench` runs it in the virtual machine. Prints a table;
//! decides nothing. `../README.md` says how to read it.

mod edge;
#[path = "../control_gpio/report.rs"]
#[allow(dead_code, reason = "other tables have other goals")]
mod report;
#[path = "../control_gpio/series.rs"]
mod series;
mod write;

use std::path::PathBuf;

use clap::Parser;
use hal_core::LineId;
use hal_core::linux::Interface;
use tests::kernel::World;

use crate::report::{Goal, Row};
use crate::series::Series;

/// Measures the agent on a kernel's GPIO driver.
#[derive(Parser)]
struct Arguments {
    /// The agent's binary, linked statically
    #[arg(long, default_value = "/pi-agent")]
    agent: PathBuf,
    /// Rounds; in each, everybody has their turn
    #[arg(long, default_value_t = 12)]
    rounds: usize,
}

/// Samples of a turn.
const WRITES: usize = 2_000;
const EDGES: usize = 100;

/// The agent's line, and those of the bare crates: the floor, and the floor again as a control.
const LINES: [LineId; 3] = [LineId(5), LineId(6), LineId(7)];

/// The agent, the floor, the floor again.
type Trio = [Series; 3];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Arguments { agent, rounds } = Arguments::parse();
    let mut world = World::make(agent).await;
    world.untraced();
    println!("{}", report::HEADING);
    for (interface, name) in [(Interface::V1, "v1"), (Interface::V2, "v2")] {
        let writes = write::measure(interface, world.sim.device(), rounds);
        println!("{}", row(format!("P15: a write, {name}"), writes, 2.0));
    }
    for (interface, name) in [(Interface::V1, "v1"), (Interface::V2, "v2")] {
        world.configure(name);
        let agent = world.agent_within().await;
        let edges = edge::measure(interface, &world, agent.client.clone(), rounds).await;
        println!("{}", row(format!("P16: an edge to its client, {name}"), edges, 1.5));
        let calls = edge::network(agent.client.clone(), rounds).await;
        println!(
            "| a call on the same connection, {name}, µs | {:.0} | {:.0} | | | | | | |",
            calls.quantile(0.5),
            calls.quantile(0.99)
        );
        agent.stop().await;
        let agent = world.agent().await;
        let edges = edge::measure(interface, &world, agent.client.clone(), rounds).await;
        println!("{}", row(format!("the same from process to process, {name}"), edges, 1.5));
    }
}

fn row(what: String, [agent, floor, control]: Trio, most: f64) -> Row {
    Row { what: what.leak(), unit: "µs", agent, floor, control: Some(control), goal: Goal::Ratio(most) }
}

/// Everybody once, another one first each time.
fn in_turn(round: usize) -> impl Iterator<Item = usize> {
    (0..LINES.len()).map(move |turn| (round + turn) % LINES.len())
}
