//! Commands that are played: a simulated node has no programs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_lib::CommandMode;
use pi_agent::{Config, Ended, Order, Plan, Process, Runner, WindowSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// Bytes that a simulated pipe holds: as many as Linux' own.
const PIPE: usize = 64 * 1024;
/// "No such file or directory".
const ENOENT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Plays a few commands as a Raspberry Pi would answer them. A program that it does not know does not exist.
pub struct SimRunner {
    node: Arc<str>,
}

/// A configuration that lets callers run any command: in a simulation none is real.
pub fn all_commands() -> Config {
    let mut config = Config::default();
    config.exec.policy.mode = CommandMode::Any;
    config
}

impl SimRunner {
    /// For the node of this name.
    pub fn new(node: &str) -> Self {
        Self { node: node.into() }
    }
}

impl Runner for SimRunner {
    fn start(&self, plan: Plan, _: Option<WindowSize>) -> io::Result<Process> {
        let (stdin, input) = duplex(PIPE);
        let (output, stdout) = duplex(PIPE);
        let (errors, stderr) = duplex(PIPE);
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let (left, gone) = oneshot::channel();
        let node = self.node.clone();
        tokio::spawn(async move {
            let deaf = plan.argv.first().is_some_and(|program| name(program) == "sim-hang");
            let ended = tokio::select! {
                ended = play(&node, &plan, input, output) => Some(ended),
                ended = obey(&mut ordered, deaf) => ended,
            };
            drop(errors);
            ended.map(|ended| end.send(ended));
            drop(left);
        });
        Ok(Process {
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            stderr: Some(Box::pin(stderr)),
            orders,
            ended,
            gone,
        })
    }
}

/// Until a signal ends it; `None`: nobody wants to know.
async fn obey(orders: &mut mpsc::UnboundedReceiver<Order>, deaf: bool) -> Option<Ended> {
    loop {
        match orders.recv().await? {
            Order::Stop(grace) if deaf => {
                sleep(grace).await;
                return Some(signalled(SIGKILL));
            }
            Order::Stop(_) => return Some(signalled(SIGTERM)),
            Order::Signal(signal) if !deaf || signal == SIGKILL => return Some(signalled(signal)),
            Order::Signal(_) | Order::Resize(_) => {}
        }
    }
}

async fn play(node: &str, plan: &Plan, mut input: DuplexStream, mut output: DuplexStream) -> Ended {
    let words: Vec<&str> = plan.argv.iter().map(String::as_str).collect();
    let (program, arguments) = words.split_first().map_or(("", &[][..]), |(program, rest)| (name(program), rest));
    let said = match (program, arguments) {
        ("true", _) => String::new(),
        ("false", _) => return exited(1),
        ("echo", words) => words.join(" ") + "\n",
        ("hostname", _) => format!("{node}\n"),
        ("uname", ["-a"]) => format!("Linux {node} 6.12.0-sim #1 SMP aarch64 GNU/Linux\n"),
        ("uname", _) => "Linux\n".to_owned(),
        ("cat", []) => {
            let mut all = Vec::new();
            let _ = input.read_to_end(&mut all).await; // a simulated pipe does not fail
            let _ = output.write_all(&all).await; // whoever reads may have gone
            return exited(0);
        }
        ("sleep", [seconds]) => match seconds.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok()) {
            Some(time) => {
                sleep(time).await;
                return exited(0);
            }
            None => return exited(1),
        },
        ("sim-hang", _) => std::future::pending().await,
        ("sim-die", [signal]) => return signalled(signal.parse().unwrap_or(SIGKILL)),
        _ => {
            let why = format!("{program}: no such program on a simulated node");
            return Ended { errno: ENOENT, why, ..Ended::default() };
        }
    };
    let _ = output.write_all(said.as_bytes()).await; // whoever reads may have gone
    exited(0)
}

/// The last part of a path.
fn name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn exited(code: i32) -> Ended {
    Ended { status: Some(code << 8), ..Ended::default() }
}

fn signalled(signal: i32) -> Ended {
    Ended { status: Some(signal & 0x7f), ..Ended::default() }
}
