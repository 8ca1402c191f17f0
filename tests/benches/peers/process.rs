//! A process that is measured from outside, with the children that it starts.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mtls::Expect;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use tonic::transport::Channel;

use crate::lab::Lab;

/// A tick of the processor times in `/proc/<pid>/stat`, on every kernel that a program sees.
const TICK: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(10);
const MEGA: f64 = 1e6;

/// Killed when the value goes.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it; what it says goes nowhere.
    pub(crate) fn start(command: &mut Command) -> Self {
        let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(silent.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}", command = command.get_program())))
    }

    /// The agent, and a connection of the operator to it.
    pub(crate) fn agent(program: &Path, lab: &Lab) -> (Self, NodeAgentClient<Channel>) {
        let (listener, address) = listener();
        let agent = Self::start(Command::new(program).arg(&lab.node).stdin(listener).env("PI_LOG", "error"));
        let channel = lab.dialer.channel(&address.to_string(), Expect::Node("bench".to_owned()));
        (agent, NodeAgentClient::new(channel.expect("a channel")))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) {
        assert!(self.0.wait().expect("a child").success());
    }

    /// Processor time of its threads, in the kernel's nanoseconds; only of those that run still.
    pub(crate) fn exact_cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).expect("the process runs");
        let on_cpu = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(on_cpu.sum())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill(); // fails only if it has ended by itself
        _ = self.0.wait();
    }
}

/// A listening socket for a child's standard input.
pub(crate) fn listener() -> (Stdio, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    (Stdio::from(OwnedFd::from(listener)), address)
}

/// Processor time of a process and of the children that it has waited for, in ticks.
pub(crate) fn cpu(pid: u32) -> Duration {
    let (own, children) = ticks(pid);
    own + children
}

/// Processor time of the children alone.
pub(crate) fn cpu_of_children(pid: u32) -> Duration {
    ticks(pid).1
}

fn ticks(pid: u32) -> (Duration, Duration) {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // after the name, which may have spaces, come field 3 and the others
    let rest = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<u32> = rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    let [user, system, of_children, of_children_system] = fields[..] else { panic!("{text}") };
    (TICK * (user + system), TICK * (of_children + of_children_system))
}

/// Most memory, in MB.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident, with the pages of mapped files.
    pub(crate) resident: f64,
    /// Without them.
    pub(crate) own: f64,
}

/// What a process and its children had at most while `work` was done. Looks every ten milliseconds; of the most
/// resident memory the kernel itself keeps count. That of a process and of its child need not be at the same moment.
pub(crate) async fn memory_during<T>(pid: u32, work: impl Future<Output = T>) -> (T, Memory) {
    let done = std::sync::Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let done = done.clone();
        move || {
            let (mut first, mut children) = (Memory::default(), Memory::default());
            while !done.load(Ordering::Relaxed) {
                first = most(first, memory(pid));
                // one child at a time
                children = of(pid).into_iter().map(memory).fold(children, most);
                thread::sleep(LOOK);
            }
            Memory { resident: first.resident + children.resident, own: first.own + children.own }
        }
    });
    let result = work.await;
    done.store(true, Ordering::Relaxed);
    (result, watcher.join().expect("no panic"))
}

fn most(one: Memory, other: Memory) -> Memory {
    Memory { resident: one.resident.max(other.resident), own: one.own.max(other.own) }
}

fn of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.map(children).collect::<String>().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Nothing if it has ended.
fn memory(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let kilobytes = rest.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
        kilobytes.unwrap_or_default() * 1024.0 / MEGA
    };
    Memory { resident: value("VmHWM:"), own: value("RssAnon:") }
}
