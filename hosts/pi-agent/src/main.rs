//! `pi-agent`: join once, then serve.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use agent_lib::outputs_off;
use clap::{Parser, Subcommand};
use hal_core::linux::Identity;
use pi_agent::{
    AuditCommand, Config, Hardware, JoinError, Joined, TokenSource, inventory, join, join_patiently, run_as_stage, serve,
};
use startup::{ConfigError, Failure};

/// The agent that runs on every Raspberry Pi.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  pi-agent join join.token --controller 192.168.1.10:7443
  ssh laptop cat join.token | pi-agent join - --controller 192.168.1.10:7443
  pi-agent serve
  pi-agent audit list
  pi-agent audit verify

Exit codes: 0 done, 1 failed (one line on standard error says why), 2 wrong usage.
PI_LOG sets what is logged, such as PI_LOG=debug.";

#[derive(Subcommand)]
enum Command {
    /// Make this machine a node of the cluster that a token names
    Join {
        /// File with the join token, deleted after the join, or - for standard input; default: the credential join-token
        /// that systemd has loaded
        token_file: Option<PathBuf>,
        /// Where the control plane listens; default: as configured
        #[arg(long, value_name = "HOST:PORT")]
        controller: Option<String>,
        /// Name of the node; default: the host name
        #[arg(long)]
        name: Option<String>,
        /// Give up after this many seconds; what may pass by itself is tried again until then
        #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=604_800))]
        timeout: u64,
        /// Do nothing if this machine has joined already, other than deleting the token file
        #[arg(long)]
        if_needed: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Drive every line with a declared safe state to it, without an agent: for the service manager, after a kill
    OutputsOff {
        #[command(flatten)]
        common: Common,
    },
    /// What was done on this node, from the files in its state folder
    Audit {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Serve this machine's lines, metrics and health
    Serve {
        /// Where to listen; overrides the configuration
        #[arg(long, value_name = "IP:PORT")]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args)]
struct Common {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/pi-agent/agent.toml")]
    config: PathBuf,
    /// Folder of certificate and key; overrides the configuration
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Common {
    /// The file at its usual place may be absent; one that was named may not.
    fn load(self) -> Result<Config, ConfigError> {
        let usual = self.config == Path::new("/etc/pi-agent/agent.toml");
        let mut config = if usual && !self.config.exists() { Config::default() } else { Config::load(&self.config)? };
        config.state = self.state.unwrap_or(config.state);
        Ok(config)
    }
}

fn main() -> Result<ExitCode, Failure> {
    // before anything else: a command waits for it
    if let Some(ended) = run_as_stage() {
        return Ok(ended);
    }
    let arguments = Arguments::parse();
    startup::log_to(pi_agent::log_own);
    // One thread: a third less processor time a call than two, and no call here is long.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(arguments.command))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Join { token_file, controller, name, timeout, if_needed, common } => {
            let source = TokenSource::find(token_file, std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from))?;
            let config = common.load()?;
            let token = source.read()?;
            let controller = controller.or(config.controller).ok_or(NoController)?;
            let name = name.unwrap_or_else(host_name);
            let inventory = inventory(Identity::read(Path::new("/")));
            let attempt = async || join(&token, &controller, &name, inventory.clone(), &config.state).await;
            let joined = join_patiently(Duration::from_secs(timeout), attempt, |why, pause| {
                eprintln!("{}; trying again in {:.0} s", startup::one_line(why), pause.as_secs_f64().ceil());
            });
            match joined.await {
                Ok(Joined { node, cluster, pending: false }) => {
                    println!("joined {cluster} as node {node}; next: pi-agent serve");
                }
                Ok(Joined { node, cluster, pending: true }) => {
                    println!(
                        "joined {cluster} as node {node}, which waits for approval; next: pi-agent serve, and an \
                              operator's pictl node approve {node}"
                    );
                }
                Err(JoinError::Already(_)) if if_needed => println!("this machine has joined before"),
                Err(error) => return Err(error.into()),
            }
            source.delete()?;
        }
        Command::OutputsOff { common } => {
            let config = common.load()?;
            let Hardware { mut board, pwm, .. } = Hardware::of_this_machine(config.chip.as_deref(), config.interface)?;
            if let Some((_, refusal)) = outputs_off(&mut board, &config.policy, &pwm).into_iter().next() {
                return Err(refusal.into());
            }
        }
        Command::Audit { common, command } => command.run(&common.load()?.state, &mut std::io::stdout())?,
        Command::Serve { listen, common } => {
            let config = common.load()?;
            let shutdown = startup::stop_signal()?;
            let listener = startup::listen(listen.unwrap_or(config.listen)).await?;
            let hardware = Hardware::of_this_machine(config.chip.as_deref(), config.interface)?;
            serve(config, hardware, listener, shutdown).await?;
        }
    }
    Ok(())
}

/// Nobody said where to join.
#[derive(Debug, thiserror::Error)]
#[error("say where the control plane listens: --controller HOST:PORT, or controller in agent.toml")]
struct NoController;

/// The host name as a node's name: up to the first dot, in lower case.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or_default().to_lowercase()
}
