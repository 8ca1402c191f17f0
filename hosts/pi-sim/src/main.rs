//! `pi-sim`: simulated nodes for CI and for trying things out.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use mtls::JoinToken;
use pi_agent::Config;
use pi_sim::up;
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
    },
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    startup::log();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(arguments.command))
}

async fn run(command: Command) -> Result<(), Failure> {
    let Command::Up { nodes, controller, token, state, config } = command;
    let config = config.map(|file| Config::load(&file)).transpose()?.unwrap_or_else(pi_sim::all_commands);
    let token: JoinToken = String::from_utf8_lossy(&mtls::read_private(&token)?).parse()?;
    let shutdown = startup::stop_signal()?;
    let mut fleet = up(nodes.into(), &controller, &token, &state, &config).await?;
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
