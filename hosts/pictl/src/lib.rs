//! Knows nothing of GPIO or of clusters: each command builds one message, sends it, prints the answer.
//!
//! One file a noun. [`run`] is the whole program; `main.rs` gives it the arguments and standard output, tests and the
//! tour give it their own.

mod audit;
mod bus;
mod ca;
mod call;
mod enrolment;
mod exclusion;
mod exec;
mod exit;
mod fan_out;
mod gpio;
mod health;
mod job;
mod logs;
mod metrics;
mod node;
mod operator;
mod output;
mod pwm;
mod raw_mode;
mod roots;
mod session;
mod token;
mod top;
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

pub use exit::Exit;
pub use output::Output;

use crate::call::Caller;
use crate::exit::Failure;

/// Drives and watches a fleet of Raspberry Pis.
#[derive(Parser)]
#[command(name = "pictl", version, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    /// File with your certificate and where the control plane is; default: ~/.config/pictl/context.toml
    #[arg(long, global = true, env = "PICTL_CONTEXT", hide_env_values = true, value_name = "FILE")]
    context: Option<PathBuf>,
    /// Call the node itself at this address, without a controller in between; the node must list you as an operator
    #[arg(long, global = true, value_name = "HOST:PORT")]
    direct: Option<String>,
    /// How to print answers
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Give up after this many seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  pictl node list
  pictl gpio set pi-7 17 high
  pictl gpio get pi-7 J8:11 --output json
  pictl metrics pi-7
  pictl logs pi-7 -f -u nginx
  pictl exec pi-7 -- uname -a
  pictl health pi-7 --direct 192.168.1.17:7444
  pictl node revoke pi-7 --reason stolen --yes
  pictl top

Exit codes:
  0 done          3 not allowed           5 conflict: held by another, or not in that state
  1 failed        4 no such node or line  6 unreachable, or no answer in time
  2 wrong usage                           7 health: the node is not well
                  (one line on standard error says why); exec and shell end with the command's own";

#[derive(Subcommand)]
enum Command {
    /// Nodes of the fleet
    #[command(subcommand)]
    Node(node::Command),
    /// Who did what: list it, verify it, take a copy
    #[command(subcommand)]
    Audit(audit::Command),
    /// The cluster's certificate authority: roots and their rotation
    #[command(subcommand)]
    Ca(ca::Command),
    /// Tokens that let machines join
    #[command(subcommand)]
    Token(token::Command),
    /// People and programs, and what they may do
    #[command(subcommand)]
    Operator(operator::Command),
    /// Lines of a node
    #[command(subcommand)]
    Gpio(gpio::Command),
    /// Devices on a node's I2C buses
    #[command(subcommand)]
    I2c(bus::I2c),
    /// Devices on a node's SPI buses
    #[command(subcommand)]
    Spi(bus::Spi),
    /// Run a command on a node, or on many
    Exec(Box<exec::Exec>),
    /// Work in a shell on a node
    Shell {
        /// Name of the node
        node: String,
        /// User to work as, if the node allows it
        #[arg(long)]
        user: Option<String>,
    },
    /// Commands that run on by themselves
    #[command(subcommand)]
    Job(job::Command),
    /// Readings of a node: processor, memory, disks, network, temperature, throttling
    Metrics(metrics::Arguments),
    /// What a node logs
    Logs(logs::Arguments),
    /// The whole fleet at once: processor, memory, temperature, throttling
    Top(top::Arguments),
    /// How a node is, and why; exits with 7 if it is not well
    Health {
        /// Name of the node
        node: String,
    },
    /// Print completions for a shell
    Completions {
        /// Which one
        shell: clap_complete::Shell,
    },
}

/// Runs one command line; `arguments` begin with the program's name. Answers go to `out`, the one line that says why
/// something failed to `errors`.
pub async fn run<I>(arguments: I, out: &mut dyn Write, errors: &mut dyn Write) -> Exit
where
    I: IntoIterator<Item: Into<OsString> + Clone>,
{
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(usage) => return print_usage(&usage, out, errors),
    };
    match answer(arguments, out, errors).await {
        Ok(exit) => exit,
        Err(failure) => {
            let _ = writeln!(errors, "pictl: {failure}"); // nobody left to tell
            failure.exit()
        }
    }
}

/// Help and version are asked for; the rest is wrong usage.
fn print_usage(usage: &clap::Error, out: &mut dyn Write, errors: &mut dyn Write) -> Exit {
    let text = usage.render();
    let (_, exit) = match usage.exit_code() {
        0 => (write!(out, "{text}"), Exit::Done),
        _ => (write!(errors, "{text}"), Exit::Usage),
    };
    exit
}

async fn answer(arguments: Arguments, out: &mut dyn Write, errors: &mut dyn Write) -> Result<Exit, Failure> {
    let Arguments { context, direct, output, timeout, command } = arguments;
    if let Command::Completions { shell } = command {
        // into memory first: the generator panics where a pipe is closed
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "pictl", &mut script);
        out.write_all(&script)?;
        return Ok(Exit::Done);
    }
    if let Command::Audit(command) = &command
        && let Some((file, noted)) = command.offline()
    {
        audit::verify_file(file, noted, output, out)?;
        return Ok(Exit::Done);
    }
    // these two are for who has no context yet
    if let Command::Operator(operator::Command::Request { key, out: request }) = &command {
        return Ok(writeln!(out, "{}", operator::request(key, request)?).map(|()| Exit::Done)?);
    }
    if let Command::Operator(operator::Command::Accept { answer, key, out: context }) = &command {
        return Ok(writeln!(out, "{}", operator::accept(answer, key, context)?).map(|()| Exit::Done)?);
    }
    let caller = Caller::new(context, direct, Duration::from_secs(timeout))?;
    let about_roots = matches!(command, Command::Ca(_));
    let text = match command {
        Command::Node(command) => node::run(&caller, command, output).await?,
        Command::Audit(command) => audit::run(&caller, command, output, out).await?,
        Command::Ca(command) => ca::run(&caller, command, output).await?,
        Command::Token(command) => token::run(&caller, command, output, out).await?,
        Command::Operator(command) => operator::run(&caller, command, output).await?,
        Command::Gpio(command) => gpio::run(&caller, command, output, out).await?,
        Command::I2c(command) => bus::i2c(&caller, command, output).await?,
        Command::Spi(command) => bus::spi(&caller, command, output).await?,
        Command::Exec(exec) => return exec::run(&caller, *exec, output, out, errors).await,
        Command::Shell { node, user } => return exec::shell(&caller, &node, user, out, errors).await,
        Command::Job(command) => job::run(&caller, command, output, out, errors).await?,
        Command::Metrics(arguments) => metrics::run(&caller, arguments, output, out).await?,
        Command::Logs(command) => {
            logs::run(&caller, command, output, out, errors).await?;
            String::new()
        }
        Command::Top(arguments) => {
            top::run(caller, arguments, output, out).await?;
            return Ok(Exit::Done);
        }
        Command::Health { node } => {
            health::run(&caller, &node, output, out).await?;
            String::new()
        }
        Command::Completions { .. } => String::new(), // answered above
    };
    // what streams has printed itself
    if !text.is_empty() {
        writeln!(out, "{text}")?;
    }
    roots::follow(&caller, about_roots, errors).await;
    Ok(Exit::Done)
}
