//! `pi-sim`: simulated nodes for CI and for trying things out.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use pi_agent::{Config, TokenSource};
use pi_sim::up;
use sim::SystemFault;
use startup::Failure;

/// Simulated Raspberry Pis on the agent's own code.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  pi-controller token create --uses 3 --out sim.token
  pi-sim up --nodes 3 --controller 127.0.0.1:7443 --token sim.token
  pi-sim up --controller 127.0.0.1:7443 --token sim.token --fault sim-1=under-voltage@30 --fault sim-1=recovers@60

GPIO18 and GPIO23 of each node are wired together. Commands are played, none is run: uname, hostname, echo, cat, true,
false, sleep, sim-hang (which SIGTERM does not end) and sim-die SIGNAL.
Exit codes: 0 done, 1 failed (one line on standard error says why), 2 wrong usage.";

#[derive(Subcommand)]
enum Command {
    /// Start nodes that join a controller, until interrupted
    Up {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        nodes: u16,
        /// Where the control plane listens
        #[arg(long, value_name = "HOST:PORT")]
        controller: String,
        /// File with a join token that is good for as many uses; it is kept
        #[arg(long, value_name = "FILE")]
        token: PathBuf,
        /// Folder for the nodes' certificates
        #[arg(long, value_name = "DIR", default_value = "pi-sim.state")]
        state: PathBuf,
        /// Agent configuration for all of them, such as the operators that they trust; state and listen are their own
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Something that happens to a node so many seconds after its start; may be given again. FAULT is sensor-dies,
        /// overheats, under-voltage, read-only or recovers
        #[arg(long = "fault", value_name = "NODE=FAULT@SECONDS", value_parser = fault)]
        faults: Vec<Fault>,
    },
}

/// What happens to which node when.
#[derive(Clone, Debug)]
struct Fault {
    node: String,
    fault: SystemFault,
    after: Duration,
}

fn fault(text: &str) -> Result<Fault, String> {
    let form = || "write NODE=FAULT@SECONDS, such as sim-2=under-voltage@30".to_owned();
    let (node, rest) = text.split_once('=').ok_or_else(form)?;
    let (fault, seconds) = rest.split_once('@').ok_or_else(form)?;
    let fault = fault.parse().map_err(|error: sim::UnknownFault| error.to_string())?;
    let after = Duration::from_secs(seconds.parse().map_err(|_| form())?);
    Ok(Fault { node: node.to_owned(), fault, after })
}

/// A fault is for a node that there is not.
#[derive(Debug, thiserror::Error)]
#[error("no node is called {node}: they are called sim-1 and so on")]
struct UnknownNode {
    node: String,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    startup::log_to(pi_agent::log_own);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(arguments.command))
}

async fn run(command: Command) -> Result<(), Failure> {
    let Command::Up { nodes, controller, token, state, config, faults } = command;
    let config = config.map(|file| Config::load(&file)).transpose()?.unwrap_or_else(pi_sim::all_commands);
    let token = TokenSource::find(Some(token), None)?.read()?;
    let shutdown = startup::stop_signal()?;
    let mut fleet = up(nodes.into(), &controller, &token, &state, &config).await?;
    for Fault { node, fault, after } in faults {
        let at = fleet.nodes.iter().position(|(name, ..)| *name == node);
        let at = at.ok_or(UnknownNode { node })?;
        let now = fleet.nodes[at].2.clock().now();
        fleet.metrics[at].plan(now.saturating_add(after), fault);
    }
    for (name, address, _) in &fleet.nodes {
        println!("{name} serves on {address}");
    }
    tokio::select! {
        () = shutdown => {}
        failed = fleet.ended() => if let Some(error) = failed { return Err(error.into()) },
    }
    fleet.stop().await;
    Ok(())
}
