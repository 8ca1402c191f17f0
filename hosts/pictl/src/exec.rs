//! `pictl exec` and `pictl shell`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use proto::agent::v1::command_response::Outcome;
use proto::agent::v1::{CommandRequest, CommandResponse, Terminal};

use crate::call::Caller;
use crate::exit::{Exit, Failure};
use crate::output::{Output, json};
use crate::session::{self, Screen};
use crate::{fan_out, raw_mode};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  pictl exec pi-7 -- uname -a
  pictl exec pi-7 -i -- tar xf - -C /srv < site.tar
  pictl exec pi-7 --script 'dmesg | tail -n 3'
  pictl exec --nodes room=lab -- systemctl is-active sshd

The exit code is the command's; 128 and the signal's number if one ended it; 124 if its time was over; 126 if it could
not be started, 127 if there is no such program; else pictl's own. --timeout is the command's time.")]
pub(crate) struct Exec {
    /// Name of the node
    #[arg(required_unless_present = "nodes")]
    node: Option<String>,
    /// Run on many nodes: all, or labels such as room=lab,rack=2
    #[arg(long, value_name = "SELECTOR", conflicts_with_all = ["node", "stdin", "terminal", "detach"])]
    nodes: Option<String>,
    /// How many nodes at once
    #[arg(long, requires = "nodes", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=60))]
    parallel: u8,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Run on a terminal
    #[arg(short = 't', long)]
    terminal: bool,
    /// User to run as, if the node allows it
    #[arg(long)]
    user: Option<String>,
    /// Variable to set, if the node allows it; a NAME alone takes its value from here, which keeps it off the command line
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = variable)]
    environment: Vec<(String, String)>,
    /// Folder to start in
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Run on when pictl ends; prints the job's name
    #[arg(long, conflicts_with_all = ["stdin", "terminal"])]
    detach: bool,
    /// The same id runs once, however often it is asked for
    #[arg(long, value_name = "ID", requires = "detach")]
    request_id: Option<String>,
    /// Script for the node's shell, with what follows -- as $1 and so on; needs the role shell
    #[arg(long, conflicts_with = "template")]
    script: Option<String>,
    /// Template of the node's configuration, instead of a command
    #[arg(long, conflicts_with = "argv")]
    template: Option<String>,
    /// Value for a template's parameter
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair, requires = "template")]
    parameters: Vec<(String, String)>,
    /// Print control characters to a terminal as they are
    #[arg(long)]
    raw: bool,
    /// Program and arguments, which no shell interprets
    #[arg(last = true, value_name = "COMMAND", required_unless_present_any = ["script", "template"])]
    argv: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Other users of this machine see its command lines, and not its environments.
fn variable(text: &str) -> Result<(String, String), &'static str> {
    pair(text)
        .or_else(|_| Ok((text.to_owned(), std::env::var(text).map_err(|_| "no such variable here: write NAME=VALUE")?)))
}

impl Exec {
    fn request(&self, timeout: Duration) -> CommandRequest {
        let script = self.script.iter().cloned();
        CommandRequest {
            argv: script.chain(self.argv.iter().cloned()).collect(),
            environment: self.environment.iter().cloned().collect::<BTreeMap<_, _>>(),
            working_directory: self.cwd.clone().unwrap_or_default(),
            timeout: prost_types::Duration::try_from(timeout).ok().filter(|_| !self.terminal),
            request_id: self.request_id.clone().unwrap_or_default(),
            shell: self.script.is_some(),
            template: self.template.clone().unwrap_or_default(),
            parameters: self.parameters.iter().cloned().collect(),
            detach: self.detach,
            user: self.user.clone().unwrap_or_default(),
            terminal: self.terminal.then(raw_mode::terminal),
            ..CommandRequest::default()
        }
    }
}

pub(crate) async fn run(
    caller: &Caller,
    exec: Exec,
    output: Output,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<Exit, Failure> {
    let request = exec.request(caller.timeout());
    let Some(node) = &exec.node else {
        let selector = exec.nodes.as_deref().unwrap_or_default();
        return fan_out::run(caller, selector, exec.parallel.into(), request, output, out).await;
    };
    if exec.detach {
        let started = caller.node(node)?.execute_command(caller.request_to(node, request)?).await?.into_inner();
        match output {
            Output::Json => writeln!(out, "{}", json(&started)?)?,
            Output::Table => writeln!(out, "{}", started.job)?,
        }
        return Ok(Exit::Done);
    }
    if output == Output::Json {
        return whole(caller, node, request, out).await;
    }
    let raw = exec.raw || exec.terminal || !std::io::stdout().is_terminal();
    let screen = Screen { out, errors, raw };
    live(caller, node, request, exec.stdin, screen).await
}

/// The whole answer as one message.
async fn whole(caller: &Caller, node: &str, request: CommandRequest, out: &mut dyn Write) -> Result<Exit, Failure> {
    let request = caller.stream_to(node, request)?;
    let ended = caller.node(node)?.execute_command(request).await?.into_inner();
    writeln!(out, "{}", json(&ended)?)?;
    exit(&ended)
}

async fn live(
    caller: &Caller,
    node: &str,
    request: CommandRequest,
    stdin: bool,
    screen: Screen<'_>,
) -> Result<Exit, Failure> {
    if request.terminal.is_none() || !stdin {
        return exit(&session::run(caller, node, request, stdin, screen).await?);
    }
    let told_to_end = session::told_to_end()?; // before raw mode: no signal may end pictl within it
    let raw_mode = raw_mode::RawMode::enter()?;
    let ended = tokio::select! {
        ended = session::run(caller, node, request, stdin, screen) => ended,
        // the node ends the command when it hears nothing any more
        number = told_to_end => Err(Failure::Command(Exit::Command(128 + number), format!("ended by signal {number}"))),
    };
    drop(raw_mode); // before anything is printed about it
    exit(&ended?)
}

/// An interactive shell on a node.
pub(crate) async fn shell(
    caller: &Caller,
    node: &str,
    user: Option<String>,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<Exit, Failure> {
    let terminal: Option<Terminal> = Some(raw_mode::terminal());
    let user = user.unwrap_or_default();
    let request = CommandRequest { shell: true, user, terminal, ..CommandRequest::default() };
    live(caller, node, request, true, Screen { out, errors, raw: true }).await
}

/// What a command's end is to a script that called `pictl`.
pub(crate) fn exit(ended: &CommandResponse) -> Result<Exit, Failure> {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match &ended.outcome {
        Some(Outcome::Exited(exited)) => Ok(Exit::Command(byte(exited.code))),
        Some(Outcome::Signalled(signalled)) => Ok(Exit::Command(byte(signalled.signal.saturating_add(128)))),
        Some(Outcome::Running(_)) => Ok(Exit::Done),
        _ => Err(Failure::Command(exit_code(ended), sentence(ended))),
    }
}

fn exit_code(ended: &CommandResponse) -> Exit {
    const ENOENT: i32 = 2;
    match &ended.outcome {
        Some(Outcome::TimedOut(_)) => Exit::Command(124),
        Some(Outcome::SpawnFailed(failed)) => Exit::Command(if failed.errno == ENOENT { 127 } else { 126 }),
        _ => Exit::Failed,
    }
}

/// How a command ended, for people.
pub(crate) fn sentence(ended: &CommandResponse) -> String {
    match &ended.outcome {
        Some(Outcome::Exited(exited)) => format!("exited with {}", exited.code),
        Some(Outcome::Signalled(signalled)) => {
            let core = if signalled.core_dumped { ", with a core file" } else { "" };
            format!("ended by signal {}{core}", signalled.signal)
        }
        Some(Outcome::TimedOut(_)) => "its time was over: give it more with --timeout".to_owned(),
        Some(Outcome::Cancelled(_)) => "cancelled".to_owned(),
        Some(Outcome::SpawnFailed(failed)) => format!("not started: {}", failed.message),
        Some(Outcome::Lost(lost)) => format!("lost: {}", lost.reason),
        Some(Outcome::Running(_)) => "running".to_owned(),
        None => "ended in a way that this pictl does not know".to_owned(),
    }
}
