//! `pi-agent`: join once, then serve.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_lib::outputs_off;
use clap::{Parser, Subcommand};
use hal_core::linux::Identity;
use mtls::JoinToken;
use pi_agent::{Config, Hardware, inventory, join, run_as_stage, serve};
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
  pi-agent serve

Exit codes: 0 done, 1 failed (one line on standard error says why), 2 wrong usage.
PI_LOG sets what is logged, such as PI_LOG=debug.";

#[derive(Subcommand)]
enum Command {
    /// Make this machine a node of the cluster that a token names
    Join {
        /// File with the join token, or - for standard input; deleted after the join
        token_file: PathBuf,
        /// Where the control plane listens
        #[arg(long, value_name = "HOST:PORT")]
        controller: String,
        /// Name of the node; default: the host name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Forget the time that the control plane has proven, after its own clock was wrong; stop the agent first
    ClockReset {
        #[command(flatten)]
        common: Common,
    },
    /// Drive every line with a declared safe state to it, without an agent: for the service manager, after a kill
    OutputsOff {
        #[command(flatten)]
        common: Common,
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
        Command::Join { token_file, controller, name, common } => {
            let config = common.load()?;
            let token: JoinToken = read_token(&token_file)?.parse()?;
            let identity = Identity::read(Path::new("/"));
            let name = name.unwrap_or_else(host_name);
            let joined = join(&token, &controller, &name, inventory(identity), &config.state).await?;
            if token_file != Path::new("-") {
                std::fs::remove_file(&token_file)?;
            }
            println!("joined {} as node {}; next: pi-agent serve", joined.cluster, joined.node);
        }
        Command::ClockReset { common } => {
            let state = common.load()?.state;
            match mtls::Clock::reset(&state)? {
                Some(_) => println!("forgot the proven time in {}; next: pi-agent serve", state.display()),
                None => println!("no proven time in {}: there is nothing to forget", state.display()),
            }
        }
        Command::OutputsOff { common } => {
            let config = common.load()?;
            let Hardware { mut board, pwm, .. } = Hardware::of_this_machine(config.chip.as_deref(), config.interface)?;
            if let Some((_, refusal)) = outputs_off(&mut board, &config.policy, &pwm).into_iter().next() {
                return Err(refusal.into());
            }
        }
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

fn read_token(file: &Path) -> Result<String, Failure> {
    if file != Path::new("-") {
        return Ok(String::from_utf8_lossy(&mtls::read_private(file)?).into_owned());
    }
    let mut token = String::new();
    std::io::stdin().take(4096).read_to_string(&mut token)?;
    Ok(token)
}

/// The host name as a node's name: up to the first dot, in lower case.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or_default().to_lowercase()
}
