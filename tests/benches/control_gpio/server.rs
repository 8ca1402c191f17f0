//! A server as a process of its own, so that its processor time and memory are its alone.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mtls::Expect;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use tonic::transport::Channel;

use crate::lab::Lab;
use crate::load;

/// The agent on a simulated board.
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_bench-sim-agent");
/// The bare server that is its floor.
pub(crate) const FLOOR: &str = env!("CARGO_BIN_EXE_bench-bare");

/// A running server and one connection to it. Killed when the value goes.
pub(crate) struct Server {
    process: Child,
    pub(crate) client: NodeAgentClient<Channel>,
}

impl Server {
    /// Starts `program` and returns when it has answered a first call.
    pub(crate) async fn start(program: &str, lab: &Lab) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let process = Command::new(program)
            .arg(&lab.node)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .env("PI_LOG", "warn") // a start a line would bury the table
            .spawn()
            .expect(program);
        let channel = lab.dialer.channel(&address, Expect::Node("bench".to_owned()));
        let client = NodeAgentClient::new(channel.expect("a channel"));
        load::one_at_a_time(&client, 1).await;
        Self { process, client }
    }

    /// The processor time that it has used so far, over all its threads. The kernel counts it in nanoseconds, but for a
    /// running thread only at its ticks: exact if the server is idle when asked.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("the server runs");
        let on_cpu = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(on_cpu.sum())
    }

    /// Its resident memory (VmRSS), in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        kilobytes.and_then(|number| number.parse::<u64>().ok()).expect("VmRSS") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // fails only if it has ended by itself, and then its calls have failed before
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
