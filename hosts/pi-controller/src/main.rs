//! `pi-controller`: make a cluster once, then serve it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use pi_controller::{Config, Initialised, Passphrase, RecoveryExport, TokenWish, create_token, init_with, serve};
use startup::Failure;

mod ca_commands;

/// The control plane of a fleet of Raspberry Pis.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  pi-controller init --advertise 192.168.1.10:7443
  pi-controller serve
  pi-controller token create --out join.token
  pi-controller ca backup --out cluster.backup

Exit codes: 0 done, 1 failed (one line on standard error says why), 2 wrong usage.
PI_LOG sets what is logged, such as PI_LOG=debug.";

const STATE: &str = "/var/lib/pi-controller";

#[derive(Subcommand)]
enum Command {
    /// Make a cluster: its CA, its store, the first operator's context for pictl, and a recovery key
    Init {
        /// Folder for all of it; must be empty or not exist
        #[arg(long, value_name = "DIR", default_value = STATE)]
        state: PathBuf,
        /// Where to listen
        #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:7443")]
        listen: SocketAddr,
        /// How operators and nodes reach it
        #[arg(long, value_name = "HOST:PORT")]
        advertise: String,
        /// Name of the cluster; default: a random one
        #[arg(long)]
        cluster: Option<String>,
        /// File for the sealed recovery key; default: recovery.sealed in the folder, to be moved away
        #[arg(long, value_name = "FILE")]
        recovery_out: Option<PathBuf>,
        /// File with the passphrase that seals it, mode 0600; default: one is drawn and printed, this once
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Serve the cluster
    Serve {
        /// Folder that init made
        #[arg(long, value_name = "DIR", default_value = STATE)]
        state: PathBuf,
        /// Where to listen; overrides the configuration
        #[arg(long, value_name = "IP:PORT")]
        listen: Option<SocketAddr>,
    },
    /// Join tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// The CA: backup, restore, recovery
    #[command(subcommand)]
    Ca(ca_commands::CaCommand),
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Ask the running controller for a token that lets machines join
    Create {
        /// File for the token, mode 0600; default: standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// How long it lives
        #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10080))]
        minutes: u64,
        /// How many nodes may join with it
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        uses: u32,
        /// The only name that a node may join under
        #[arg(long)]
        name: Option<String>,
        /// An operator's context, or the state folder that init made
        #[arg(long, value_name = "PATH", default_value = STATE)]
        context: PathBuf,
    },
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    startup::log();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(arguments.command))
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init { state, listen, advertise, cluster, recovery_out, passphrase_file } => {
            let passphrase = passphrase_file.as_deref().map(Passphrase::read).transpose()?;
            let export = RecoveryExport { out: recovery_out, passphrase };
            let made = init_with(&state, cluster.as_deref(), listen, &advertise, export)?;
            println!("made cluster {} in {}", made.cluster, state.display());
            print_recovery(&made);
            print_next_steps(&made.context, &advertise, &state);
        }
        Command::Serve { state, listen } => {
            startup::raise_descriptor_limit();
            let config = Config::load(&state)?;
            let shutdown = startup::stop_signal()?;
            let listener = startup::listen(listen.unwrap_or(config.listen)).await?;
            serve(config, listener, shutdown).await?;
        }
        Command::Token(TokenCommand::Create { out, minutes, uses, name, context }) => {
            let wish = TokenWish { lifetime: Duration::from_secs(minutes * 60), uses, name };
            let token = create_token(&context, wish).await?.to_text();
            match out {
                Some(file) => mtls::write_private(&file, token.as_bytes())?,
                None => writeln!(std::io::stdout(), "{}", *token)?,
            }
        }
        Command::Ca(command) => ca_commands::run(command)?,
    }
    Ok(())
}

/// The only time that the passphrase is seen.
fn print_recovery(made: &Initialised) {
    println!("recovery key: {}", made.recovery.display());
    match &made.recovery_passphrase {
        Some(passphrase) => println!("its passphrase, shown only now: {}", passphrase.expose()),
        None => println!("its passphrase: the one in your file"),
    }
    println!(
        "  Move the file off this machine and write the passphrase down, in two places. With both, a lost or stolen CA
  key is replaced without a visit to any node (pi-controller ca recover); whoever else has both can do so too."
    );
}

fn print_next_steps(context: &Path, advertise: &str, state: &Path) {
    println!(
        "next:
  pi-controller serve --state {state}
  pi-controller token create --context {state} --out join.token
  on each Pi, with that file:  pi-agent join join.token --controller {advertise} && pi-agent serve
  on your laptop, with {context} (it holds a key: copy it over a secure channel):
    pictl --context FILE node list",
        state = state.display(),
        context = context.display(),
    );
}
