//! A write to a line over mutual TLS, against a bare echo on the same acceptor: latency, throughput, processor time a
//! call, memory, size and start. Prints a table; decides nothing. `../README.md` says how to read it.

mod lab;
mod load;
mod report;
mod series;
mod server;
mod sheet;
mod size;

use clap::Parser;

use crate::lab::Lab;
use crate::sheet::Sheet;

/// Measures a GPIO write of the agent against a bare echo.
#[derive(Parser)]
struct Arguments {
    /// A few calls only, to see that the benchmark works: its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench`; without it, as from `cargo test`, the run is a quick one
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much is measured.
pub(crate) struct Plan {
    /// Times that all servers are started anew: where the kernel places a process makes a difference of its own.
    blocks: usize,
    /// Rounds a block; in each, every server has its turn.
    rounds: usize,
    /// Calls one after the other, a turn.
    single: usize,
    /// Calls with many in flight, a turn.
    many: usize,
    /// Messages through one stream, a turn.
    streamed: usize,
    /// Starts up to the first answer.
    starts: usize,
    /// Until an agent has registered and sampled, in seconds.
    settle: f32,
}

const FULL: Plan = Plan { blocks: 8, rounds: 10, single: 400, many: 6400, streamed: 32_000, starts: 40, settle: 2.5 };
const QUICK: Plan = Plan { blocks: 1, rounds: 2, single: 20, many: 640, streamed: 640, starts: 2, settle: 0.3 };

fn main() {
    let arguments = Arguments::parse();
    let quick = arguments.quick || !arguments.bench;
    let plan = if quick { QUICK } else { FULL };
    let sizes = (!quick).then(size::measure);
    let lab = Lab::set_up();
    // The caller has one thread, so that it and the server have a processor each.
    let caller = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let sheet = caller.expect("a runtime").block_on(Sheet::fill(&plan, &lab));
    println!("{}", report::HEADING);
    for row in sheet.rows().into_iter().chain(sizes) {
        println!("{row}");
    }
}
