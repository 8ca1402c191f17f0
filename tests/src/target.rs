//! An agent as a process of its own, to be attacked: what it costs can be seen from outside, and what it says is in a file.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mtls::{Cause, Expect};
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::control::v1::Inventory;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::{Cluster, Sorted};

/// The node's name.
pub const TARGET: &str = "pi-1";

/// Where an attacker comes from: an address of this machine that is throttled like any other.
pub const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// The agent as it ships, on a simulated board, with bob as its operator. It ends with its value.
pub struct Target {
    process: Child,
    /// Where it serves.
    pub address: SocketAddr,
    prometheus: SocketAddr,
    log: PathBuf,
}

impl Target {
    /// Starts it; `program` is `bench-sim-agent`, and `config` is added to its `agent.toml`. Another start in the same
    /// cluster has the same state folder.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub async fn start(cluster: &Cluster, program: &str, config: &str) -> Self {
        Self::start_under(cluster, &[program], config).await
    }

    /// The same by a command line that ends with the program, such as `prlimit --nofile=256 PROGRAM`.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub async fn start_under(cluster: &Cluster, program: &[&str], config: &str) -> Self {
        let state = cluster.folder(TARGET);
        if !state.join("cert.pem").exists() {
            let token = cluster.token(1).await;
            pi_agent::join(&token, &cluster.address.to_string(), TARGET, Inventory::default(), &state)
                .await
                .expect("it joins");
        }
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let (listener, prometheus) = (bind(), bind().local_addr().expect("an address"));
        let text = format!(
            "[[operators]]\nname = 'bob'\nroles = ['viewer', 'gpio', 'logs', 'exec']\n\
             [metrics]\nprometheus = '{prometheus}'\n{config}"
        );
        std::fs::write(state.join("agent.toml"), text).expect("a file");
        let address = listener.local_addr().expect("an address");
        let log = cluster.folder("target.log");
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(&state).stdin(OwnedFd::from(listener)).stdout(Stdio::null());
        command.stderr(std::fs::File::create(&log).expect("a file")).env("PI_LOG", "info");
        let target = Self { process: command.spawn().expect("the agent"), address, prometheus, log };
        crate::eventually(async || target.metrics().is_some_and(|text| text.contains("process_cpu_seconds"))).await;
        target
    }

    /// A connection of its own for bob.
    ///
    /// # Panics
    ///
    /// If it cannot be set up; it connects at the first call.
    pub fn client(&self, cluster: &Cluster) -> NodeAgentClient<Channel> {
        let bob = cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now());
        let channel = cluster.dialer(&bob).channel(&self.address.to_string(), Expect::Node(TARGET.to_owned()));
        NodeAgentClient::new(channel.expect("a channel"))
    }

    /// A TCP connection from this address.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn connect_from(&self, from: IpAddr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect(self.address).await
    }

    /// What Prometheus would read.
    pub fn metrics(&self) -> Option<String> {
        let mut connection = std::net::TcpStream::connect(self.prometheus).ok()?;
        connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        connection.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// How often this cause was met, as the metrics have it.
    ///
    /// # Panics
    ///
    /// If the metrics do not have it.
    pub fn count(&self, cause: Cause) -> u64 {
        let metrics = self.metrics().expect("metrics");
        let line = format!("pi_connections_refused_total{{cause=\"{}\"}} ", cause.name());
        let value = metrics.lines().find_map(|text| text.strip_prefix(&line)).expect("a counter");
        value.parse::<f64>().expect("a number") as u64
    }

    /// How often each of them was met.
    pub fn counts(&self) -> Vec<u64> {
        Cause::ALL.iter().map(|cause| self.count(*cause)).collect()
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Resident memory now, in bytes.
    ///
    /// # Panics
    ///
    /// If it is gone.
    pub fn rss(&self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// The most resident memory so far, in bytes.
    ///
    /// # Panics
    ///
    /// If it is gone.
    pub fn peak_rss(&self) -> u64 {
        self.status("VmHWM:") * 1024
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a process");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Processor time so far.
    ///
    /// # Panics
    ///
    /// If it is gone.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it lives");
        let (_, fields) = stat.rsplit_once(')').expect("a process");
        // user and system time, in ticks of 10 ms
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Open descriptors.
    ///
    /// # Panics
    ///
    /// If it is gone.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it lives").count()
    }

    /// What it has said.
    ///
    /// # Panics
    ///
    /// If the file is gone.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client that goes on calling; none of its calls may fail.
pub struct Bystander {
    over: Arc<AtomicBool>,
    calls: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    /// Begins to call, a few hundred times a second.
    pub fn start(mut client: NodeAgentClient<Channel>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let calls = tokio::spawn(async move {
            let mut took = Vec::new();
            while took.len() < 20 || !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                client.health_check(()).await.expect("a bystander's call");
                took.push(began.elapsed());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            took
        });
        Self { over, calls }
    }

    /// How long its calls took.
    ///
    /// # Panics
    ///
    /// If one of them failed.
    pub async fn end(self) -> Sorted {
        self.over.store(true, Ordering::Relaxed);
        Sorted::new(self.calls.await.expect("no call fails"))
    }

    /// How long calls take while nothing happens.
    ///
    /// # Panics
    ///
    /// If one of them fails.
    pub async fn undisturbed(client: NodeAgentClient<Channel>) -> Sorted {
        let calls = Self::start(client);
        tokio::time::sleep(Duration::from_secs(1)).await;
        calls.end().await
    }
}
