//! A node that runs real commands.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use mtls::{Expect, JoinToken};
use pi_agent::{Config, Hardware, JoinError, LinuxRunner, ServeError, join, serve};
use proto::agent::v1::node_agent_client::NodeAgentClient;
use sim::Bench;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::Cluster;

/// A simulated board whose commands are this machine's. It ends with its value.
pub struct ExecNode {
    /// Its name in the cluster.
    pub name: String,
    /// Straight to it, as the operator bob.
    pub client: NodeAgentClient<Channel>,
    /// The same way for other clients.
    pub address: String,
    /// Its simulated board, from outside.
    pub bench: Bench,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl ExecNode {
    /// Starts `pi-1`, as [`ExecNode::start_as`] does.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub async fn start(cluster: &Cluster, stage: &str, exec: &str) -> Self {
        Self::start_as(cluster, "pi-1", stage, exec).await
    }

    /// Starts `name` with this `[exec]` section; `stage` is a program that has `pi_agent::run_as_stage`. Another start with
    /// the same cluster is a restart.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub async fn start_as(cluster: &Cluster, name: &str, stage: &str, exec: &str) -> Self {
        let name = name.to_owned();
        let text = format!("[[operators]]\nname = 'bob'\nroles = ['exec', 'shell', 'viewer']\n[exec]\n{exec}");
        let path = cluster.folder("agent.toml");
        std::fs::write(&path, text).expect("a file");
        let config = Config { state: cluster.folder(&name), ..Config::load(&path).expect("a configuration") };
        let (simulated, bench, _) = pi_sim::hardware(&name);
        let hardware = Hardware { runner: Arc::new(LinuxRunner::new(Path::new(stage))), ..simulated };
        enrol(cluster, &name, &hardware.inventory, &config.state).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(config, hardware, listener, async { drop(stopped.await) }));
        let bob = cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now());
        let channel = cluster.dialer(&bob).channel(&address, Expect::Node(name.clone())).expect("a channel");
        let client = NodeAgentClient::new(channel).max_decoding_message_size(8 << 20);
        Self { name, client, address, bench, stop: Some(stop), serving }
    }

    /// Lets it end as a signal would.
    ///
    /// # Panics
    ///
    /// If it does not end well.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.serving).await.expect("its task").expect("a clean end");
    }
}

impl Drop for ExecNode {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.serving.abort();
    }
}

async fn enrol(cluster: &Cluster, name: &str, inventory: &proto::control::v1::Inventory, state: &Path) {
    let token: JoinToken = cluster.token(1).await;
    match join(&token, &cluster.address.to_string(), name, inventory.clone(), state).await {
        Ok(_) | Err(JoinError::Already(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

/// How many of `whole` are done: a tenth, or all with PI_FULL=1.
pub fn full(whole: usize) -> usize {
    crate::size(whole.div_ceil(10), whole)
}

/// The command lines of living processes that hold `mark`.
pub fn survivors(mark: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let lines = processes().into_iter().filter(|folder| !folder.ends_with(&own)).filter_map(|folder| {
        let line = std::fs::read(folder.join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(mark)).collect()
}

/// The states of this process's descendants, by process id.
pub fn running() -> Vec<(u32, char)> {
    let stats = processes().into_iter().filter_map(|folder| std::fs::read_to_string(folder.join("stat")).ok());
    let rows: Vec<(u32, char, u32)> = stats
        .filter_map(|stat| {
            let (pid, rest) = stat.split_once(' ')?;
            let mut fields = rest.rsplit_once(')')?.1.split_whitespace();
            Some((pid.parse().ok()?, fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
        })
        .collect();
    let (mut found, mut open) = (Vec::new(), vec![std::process::id()]);
    while let Some(parent) = open.pop() {
        for (pid, state, _) in rows.iter().filter(|(_, _, of)| *of == parent) {
            found.push((*pid, *state));
            open.push(*pid);
        }
    }
    found
}

fn processes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    entries.filter(|entry| entry.file_name().to_str().is_some_and(number)).map(|entry| entry.path()).collect()
}
