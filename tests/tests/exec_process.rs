//! Commands of an agent that is a process of its own: what it takes, and what it says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use mtls::Expect;
use proto::agent::v1::execute_stream_request::Input;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{CommandRequest, ExecuteStreamRequest};
use tests::{Cluster, eventually, survivors};
use tonic::transport::Channel;

/// The agent on a simulated board, with the commands of this machine.
struct Agent {
    process: Child,
    client: NodeAgentClient<Channel>,
    log: std::path::PathBuf,
}

impl Agent {
    async fn start(cluster: &Cluster) -> Self {
        let state = cluster.folder("node");
        let inventory = proto::control::v1::Inventory::default();
        pi_agent::join(&cluster.token(1).await, &cluster.address.to_string(), "pi-1", inventory, &state).await.unwrap();
        let text = "[[operators]]\nname = 'bob'\nroles = ['exec']\n\
                    [exec]\nmode = 'any'\nkill_grace_ms = 200\nallow_environment = ['SECRET']\n";
        std::fs::write(state.join("agent.toml"), text).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = cluster.folder("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench-sim-agent"));
        command.arg(&state).stdin(OwnedFd::from(listener)).stderr(std::fs::File::create(&log).unwrap());
        let process = command.stdout(Stdio::null()).env("PI_LOG", "debug").spawn().unwrap();
        let bob = cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now());
        let channel = cluster.dialer(&bob).channel(&address, Expect::Node("pi-1".to_owned())).unwrap();
        Self { process, client: NodeAgentClient::new(channel), log }
    }

    fn rss(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.process.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn argv(words: &[&str]) -> CommandRequest {
    CommandRequest { argv: words.iter().map(|word| (*word).to_owned()).collect(), ..CommandRequest::default() }
}

/// B11.
#[tokio::test(flavor = "multi_thread")]
async fn endless_output_to_a_slow_reader_costs_the_agent_no_memory() {
    let cluster = Cluster::start().await;
    let agent = Agent::start(&cluster).await;
    let mut client = agent.client.clone();
    client.execute_command(argv(&["true"])).await.unwrap();
    let before = agent.rss();
    let start = ExecuteStreamRequest { input: Some(Input::Start(argv(&["yes", "861100"]))) };
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    requests.send(start).await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    let mut answers = client.execute_stream(stream).await.unwrap().into_inner();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(40)).await; // a slow reader
        answers.message().await.unwrap().unwrap();
    }
    let growth = agent.rss().saturating_sub(before);
    tests::figure(format!("grew by {growth} bytes from {before}"));
    assert!(growth < 4 << 20, "{growth}");
    assert_eq!(survivors("861100").len(), 1, "it waits for its reader");
    drop((requests, answers));
    eventually(async || survivors("861100").is_empty()).await;
}

/// S19, of commands: what may be secret is nowhere in the log, and each command is there before and after.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_each_command_and_of_no_secret() {
    let cluster = Cluster::start().await;
    let agent = Agent::start(&cluster).await;
    let canary = "canary-861900";
    let request = CommandRequest {
        environment: BTreeMap::from([("SECRET".to_owned(), canary.to_owned())]),
        stdin: canary.into(),
        ..argv(&["sh", "-c", "test \"$(cat)\" = \"$SECRET\""])
    };
    let said = agent.client.clone().execute_command(request).await.unwrap().into_inner();
    assert!(format!("{said:?}").contains("Exited(CommandExited { code: 0 })"), "{said:?}");
    let log = std::fs::read_to_string(&agent.log).unwrap();
    assert!(!log.contains(canary), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("audit=\"command\"")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines.iter().all(|line| line.contains("operator/bob")) && lines[0].contains("SECRET"), "{log}");

    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        agent.client.clone().execute_command(argv(&["true"])).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    tests::figure(format!(
        "`true` on a kept connection, this build: half within {:?}, all within {:?}",
        times[50], times[99]
    ));
}
