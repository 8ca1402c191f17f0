//! S7: a node is revoked while it is in use. T12: a peer is revoked on an open stream. Lock and unlock. What nodes have been
//! told outlives a restart without the control plane.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use control_lib::{Change, Role};
use hal_core::LineId;
use mtls::Expect;
use pi_controller::store::Store;
use pictl::Exit;
use proto::agent::v1::execute_stream_request::Input;
use proto::agent::v1::execute_stream_response::Output;
use proto::agent::v1::line_name::Name;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{
    CommandRequest, ExecuteStreamRequest, LineName, LogFilter, OnConflict, StreamMetricsRequest, WatchGpioRequest,
};
use proto::control::v1::{HealthReport, NodeRegistration};
use sim::Level;
use tests::{
    Cluster, ExecNode, Sorted, claim, direct, eventually, figure, operator, size, survivors, to_node, trusting,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

const PROBE: &str = env!("CARGO_BIN_EXE_exec-probe");
/// The specification's.
const DEADLINE: Duration = Duration::from_secs(1);
/// In which the deadline is looked at; what is later is told as what it took.
const PATIENCE: Duration = Duration::from_secs(10);

/// When a stream ended, and with what.
async fn ended<T>(mut stream: Streaming<T>) -> (Instant, Status) {
    let status = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => break Status::ok("the end"),
            Err(status) => break status,
        }
    };
    (Instant::now(), status)
}

/// A stream whose first message has come, so that it is open.
async fn begun<T: Send + 'static>(stream: Result<tonic::Response<Streaming<T>>, Status>, ends: &mut Ends) {
    let mut stream = stream.unwrap().into_inner();
    stream.message().await.unwrap();
    ends.spawn(ended(stream));
}

type Ends = JoinSet<(Instant, Status)>;

/// A command that ignores SIGTERM and has a child that does; whoever drops the sender has nothing more to say.
async fn command(
    client: &mut NodeAgentClient<Channel>,
    node: &str,
    mark: &str,
    ends: &mut Ends,
) -> mpsc::Sender<ExecuteStreamRequest> {
    let script = format!(
        "trap '' TERM; sh -c \"trap '' TERM; while :; do sleep 1; done # {mark}\" & echo up; wait; wait # {mark}"
    );
    let argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), script];
    let (say, said) = mpsc::channel(1);
    let start = Input::Start(CommandRequest { argv, ..CommandRequest::default() });
    say.send(ExecuteStreamRequest { input: Some(start) }).await.unwrap();
    let mut stream = client.execute_stream(to_node(node, ReceiverStream::new(said))).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(matches!(first.output, Some(Output::Stdout(_))), "{first:?}");
    ends.spawn(ended(stream));
    say
}

/// How long it was until it was so.
async fn after(began: Instant, what: &str, condition: impl AsyncFn() -> bool) -> Duration {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
    began.elapsed()
}

/// Times of all trials.
#[derive(Default)]
struct Times {
    streams: Vec<Duration>,
    command: Vec<Duration>,
    line: Vec<Duration>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_revoked_in_use_is_out_and_harmless_within_a_second() {
    let trials = size(10, 100);
    let cluster = Arc::new(Cluster::start().await);
    let mut times = Times::default();
    for trial in 1..=trials {
        one_node_is_revoked(&cluster, &format!("pi-{trial}"), &mut times).await;
    }
    let (streams, command, line) = (Sorted::new(times.streams), Sorted::new(times.command), Sorted::new(times.line));
    figure(format!(
        "{trials} revocations; streams ended after {streams}; commands gone after {command}; lines safe after {line}"
    ));
    for (what, times) in [("streams", streams), ("commands", command), ("lines", line)] {
        assert!(times.quantile(1.0) <= DEADLINE, "{what}: {times}");
    }
}

async fn one_node_is_revoked(cluster: &Cluster, name: &str, times: &mut Times) {
    let exec = "mode = 'any'\nshell = '/bin/sh'\nkill_grace_ms = 3000\n";
    let node = ExecNode::start_as(cluster, name, PROBE, exec).await;
    eventually(async || cluster.pictl(&["node", "show", name]).await.out.contains("ready")).await;
    let mut client = cluster.proxy();
    let lease = claim(17, 60_000, OnConflict::Unspecified);
    client.control_gpio(to_node(name, lease)).await.unwrap();
    assert_eq!(node.bench.level(LineId(17)), Level::High);

    let mut ends = Ends::new();
    let watch = WatchGpioRequest { lines: vec![line_17()], ..WatchGpioRequest::default() };
    begun(client.watch_gpio(to_node(name, watch)).await, &mut ends).await;
    begun(client.stream_metrics(to_node(name, StreamMetricsRequest::default())).await, &mut ends).await;
    begun(client.stream_logs(to_node(name, follow())).await, &mut ends).await;
    let mark = format!("mark-{name}-{}", std::process::id());
    let _says_nothing = command(&mut client, name, &mark, &mut ends).await;
    assert!(!survivors(&mark).is_empty());

    let began = Instant::now();
    cluster.revoke(&format!("node/{name}")).await.unwrap();
    let line = after(began, "the line", async || node.bench.level(LineId(17)) != Level::High);
    let gone = after(began, "the command", async || survivors(&mark).is_empty());
    let (line, gone) = tokio::join!(line, gone);
    times.line.push(line);
    times.command.push(gone);
    while let Some(ended) = timeout(PATIENCE, ends.join_next()).await.expect("all streams end") {
        let (at, status) = ended.unwrap();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        assert!(status.message().contains(&format!("node/{name}: it was revoked by operator/admin")), "{status:?}");
        times.streams.push(at - began);
    }
    is_out(cluster, &node).await;
    node.stop().await;
}

/// A revoked node gets no connection, no call goes to it, and it does nothing for who calls it directly but say how it is.
async fn is_out(cluster: &Cluster, node: &ExecNode) {
    let name = node.name.as_str();
    for mut attempt in [cluster.as_node(name), cluster.as_node(name)] {
        let refused = attempt.report_health(HealthReport::default()).await.unwrap_err();
        assert!(mtls::was_revoked(&refused), "{refused:?}");
    }
    let said = cluster.pictl(&["gpio", "get", name, "17"]).await;
    assert_eq!(said.exit, Exit::Conflict, "{said:?}");
    assert!(said.err.contains("it was revoked by operator/admin; its name can join again"), "{}", said.err);
    let mut bob = node.client.clone();
    let command = CommandRequest { argv: vec!["true".to_owned()], ..CommandRequest::default() };
    let refused = async || node.client.clone().execute_command(command.clone()).await.unwrap_err();
    // his connection is cut, perhaps while he asks; the next one is let in, and told
    eventually(async || tests::reason(&refused().await) == "NODE_REVOKED").await;
    let health = bob.health_check(()).await.unwrap().into_inner();
    let condition = health.conditions.iter().find(|condition| condition.r#type == "ControlPlane").unwrap();
    assert_eq!((health.status.as_str(), condition.reason.as_str()), ("DEGRADED", "Revoked"));
    // its key is still there
    assert!(mtls::Credentials::load(&cluster.folder(name)).is_ok());
}

fn line_17() -> LineName {
    LineName { name: Some(Name::Pin(17)) }
}

/// With what has been there before.
fn follow() -> LogFilter {
    LogFilter { follow: true, ..LogFilter::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_name_joins_again_and_the_old_machine_does_not_come_back() {
    let mut cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    let said = cluster.pictl(&["node", "revoke", "sim-1"]).await;
    assert_eq!(said.exit, Exit::Usage);
    assert!(said.err.contains("--yes") && said.err.contains("pictl node lock sim-1"), "{}", said.err);
    let said = cluster.pictl(&["node", "revoke", "sim-1", "--reason", "stolen", "--yes"]).await;
    assert_eq!(said.exit, Exit::Done, "{}", said.err);
    let list = cluster.pictl(&["node", "list"]).await.out;
    assert!(list.lines().any(|line| line.starts_with("sim-1") && line.contains("revoked")), "{list}");
    let show = cluster.pictl(&["node", "show", "sim-1"]).await.out;
    assert!(show.contains("by operator/admin: stolen"), "{show}");
    fleet.stop().await;

    cluster.restart().await;
    let old = cluster.folder("nodes");
    std::fs::rename(&old, cluster.folder("thief")).unwrap();
    let again = cluster.nodes(1).await;
    let json = cluster.pictl(&["node", "show", "sim-1", "-o", "json"]).await.out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json.get("exclusion"), None, "{json}");
    // the thief's certificate is as good as before, but for the list
    let thief = mtls::Credentials::load(&cluster.folder("thief").join("sim-1")).unwrap();
    let mut thief = proto::control::v1::control_plane_client::ControlPlaneClient::new(cluster.channel(&thief));
    let refused = thief.register_node(NodeRegistration::default()).await.unwrap_err();
    assert!(mtls::was_revoked(&refused), "{refused:?}");
    assert!(mtls::explain(&refused).unwrap().contains("it was revoked"), "{refused:?}");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_node_is_sent_nothing_and_goes_on_reporting() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let mut client = cluster.proxy();
    let mut ends = Ends::new();
    begun(client.stream_metrics(to_node("sim-1", StreamMetricsRequest::default())).await, &mut ends).await;
    let began = Instant::now();
    assert_eq!(cluster.pictl(&["node", "lock", "sim-1", "--reason", "moving house"]).await.exit, Exit::Done);
    let (at, status) = timeout(PATIENCE, ends.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!((status.code(), tests::reason(&status).as_str()), (Code::FailedPrecondition, "NODE_LOCKED"));
    assert!(at - began <= DEADLINE, "{:?}", at - began);
    let list = cluster.pictl(&["node", "list", "-o", "json"]).await.out;
    assert!(list.contains("EXCLUSION_KIND_LOCKED") && list.contains("moving house"), "{list}");
    assert_eq!(cluster.pictl(&["gpio", "get", "sim-1", "17"]).await.exit, Exit::Conflict);
    let mut node = cluster.as_node("sim-1");
    node.report_health(HealthReport { boot_id: "b".to_owned(), sequence: 1, ..HealthReport::default() }).await.unwrap();
    let refused = node.register_node(NodeRegistration::default()).await.unwrap_err();
    assert_eq!((refused.code(), tests::reason(&refused).as_str()), (Code::PermissionDenied, "LOCKED"));

    assert_eq!(cluster.pictl(&["node", "unlock", "sim-1"]).await.exit, Exit::Done);
    assert_eq!(cluster.pictl(&["gpio", "get", "sim-1", "17"]).await.exit, Exit::Done);
    assert_eq!(cluster.pictl(&["node", "unlock", "sim-1"]).await.exit, Exit::Done, "again");
    for (mistake, exit) in [("no-such", Exit::NotFound), ("", Exit::Usage), ("A", Exit::Usage)] {
        assert_eq!(cluster.pictl(&["node", "lock", mistake]).await.exit, exit, "{mistake:?}");
    }
}

/// With an operator who has these roles.
async fn cluster_with(name: &str, roles: &[Role]) -> Cluster {
    let cluster = Cluster::start().await;
    let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    operator(&cluster, name, &["--role", &roles.join(",")]).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_or_revoked_operator_is_cut_off_within_a_second_and_told_why() {
    let cluster = cluster_with("bob", &[Role::Viewer, Role::Logs]).await;
    let _fleet = cluster.nodes(1).await;
    let bob = cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now());
    let mut times = Vec::new();
    for revoked in [false, true] {
        let mut client = NodeAgentClient::new(cluster.channel(&bob));
        let mut ends = Ends::new();
        begun(client.stream_metrics(to_node("sim-1", StreamMetricsRequest::default())).await, &mut ends).await;
        begun(client.stream_logs(to_node("sim-1", follow())).await, &mut ends).await;
        let began = Instant::now();
        if revoked {
            cluster.revoke("operator/bob").await.unwrap()
        } else {
            cluster.lock("operator/bob").await.unwrap()
        }
        while let Some(ended) = timeout(PATIENCE, ends.join_next()).await.expect("all streams end") {
            let (at, status) = ended.unwrap();
            let expected = if revoked { "operator/bob was revoked" } else { "operator/bob is locked" };
            assert!(status.code() == Code::PermissionDenied && status.message().contains(expected), "{status:?}");
            times.push(at - began);
        }
        // the connection is cut a moment later, and there is no new one
        let said = async || {
            let refused = client.clone().health_check(to_node("sim-1", ())).await.unwrap_err();
            mtls::explain(&refused)
        };
        eventually(async || said().await.is_some_and(|said| said.contains("refused our certificate"))).await;
        if !revoked {
            cluster.unlock("operator/bob").await.unwrap();
        }
    }
    let times = Sorted::new(times);
    figure(format!("an operator's streams ended after {times}"));
    assert!(times.quantile(1.0) <= DEADLINE, "{times}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_refuses_whom_it_was_told_of_even_after_a_restart_without_the_control_plane() {
    let mut cluster = Cluster::start().await;
    let config = trusting(&["anna", "bob"]);
    let fleet = cluster.nodes_with(1, &config).await;
    let mut bob = direct(&cluster, &fleet, 0, "bob");
    let watch = WatchGpioRequest { lines: vec![line_17()], ..WatchGpioRequest::default() };
    let stream = bob.watch_gpio(watch.clone()).await.unwrap().into_inner();
    let began = Instant::now();
    cluster.revoke("operator/bob").await.unwrap();
    let (at, status) = timeout(PATIENCE, ended(stream)).await.expect("the stream ends");
    figure(format!("a direct stream of a revoked operator was cut after {:.1} ms", (at - began).as_secs_f64() * 1e3));
    assert!(at - began <= DEADLINE && status.code() != Code::Ok, "{status:?} after {:?}", at - began);

    // the control plane goes, then the node, which comes back alone
    cluster.stop().await;
    let token = mtls::JoinToken::new("lab", [7; 32], "aaaaaaaaaaaaaaaa", mtls::JoinToken::new_seed().unwrap()).unwrap();
    fleet.stop().await;
    let (address, state) = (cluster.address.to_string(), cluster.folder("nodes"));
    let fleet = pi_sim::up(1, &address, &token, &state, &config).await.unwrap();
    let refused = direct(&cluster, &fleet, 0, "bob").watch_gpio(watch.clone()).await.unwrap_err();
    assert!(mtls::explain(&refused).unwrap().contains("locked or revoked"), "{refused:?}");
    direct(&cluster, &fleet, 0, "anna").watch_gpio(watch.clone()).await.unwrap();
    // control: without what it was told it would let him in
    fleet.stop().await;
    std::fs::remove_file(state.join("sim-1").join("trust.toml")).unwrap();
    let fleet = pi_sim::up(1, &address, &token, &state, &config).await.unwrap();
    direct(&cluster, &fleet, 0, "bob").watch_gpio(watch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_that_restarts_alone_takes_no_command_and_drives_nothing() {
    let mut cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, "mode = 'any'\n").await;
    eventually(async || cluster.pictl(&["node", "show", "pi-1"]).await.out.contains("ready")).await;
    cluster.revoke("node/pi-1").await.unwrap();
    let is_revoked = async |node: &ExecNode| {
        let health = node.client.clone().health_check(()).await;
        health.is_ok_and(|health| health.into_inner().conditions.iter().any(|condition| condition.reason == "Revoked"))
    };
    eventually(async || is_revoked(&node).await).await;
    node.stop().await;
    let token = cluster.token(1).await;
    drop(token); // joined already; the harness asks for one
    let node = ExecNode::start(&cluster, PROBE, "mode = 'any'\n").await;
    cluster.stop().await;
    let command = CommandRequest { argv: vec!["true".to_owned()], ..CommandRequest::default() };
    let refused = node.client.clone().execute_command(command).await.unwrap_err();
    assert_eq!(tests::reason(&refused), "NODE_REVOKED");
    eventually(async || is_revoked(&node).await).await;
    let channel = cluster.dialer(&cluster.credentials(&cluster.issuer(), "controller/c2", SystemTime::now()));
    let channel = channel.channel(&node.address, Expect::Node("pi-1".to_owned())).unwrap();
    let refused =
        NodeAgentClient::new(channel).control_gpio(claim(17, 1000, OnConflict::Unspecified)).await.unwrap_err();
    assert_eq!(tests::reason(&refused), "NODE_REVOKED", "nor from a controller");
}

/// A unary call to a node that hangs ends when the node is revoked, and not at its own deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_to_a_node_ends_when_the_node_is_revoked() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, "mode = 'any'\n").await;
    eventually(async || cluster.pictl(&["node", "show", "pi-1"]).await.out.contains("ready")).await;
    let sleep = CommandRequest { argv: vec!["sleep".to_owned(), "20".to_owned()], ..CommandRequest::default() };
    let mut client = cluster.proxy();
    let call = tokio::spawn(async move { client.execute_command(to_node("pi-1", sleep)).await });
    eventually(async || tests::running().len() > 2).await;
    let began = Instant::now();
    cluster.revoke("node/pi-1").await.unwrap();
    let refused = timeout(PATIENCE, call).await.unwrap().unwrap().unwrap_err();
    assert_eq!(tests::reason(&refused), "NODE_REVOKED", "{refused:?}");
    assert!(began.elapsed() <= DEADLINE, "{:?}", began.elapsed());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stores_the_roots_that_it_is_told_and_says_so() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    let stored = || {
        let store = Store::open(&cluster.controller_state().join("state.db")).unwrap();
        let mut changes = store.load().unwrap().changes.into_iter();
        changes.find_map(|change| if let Change::PutNode(node) = change { Some(node.roots_version) } else { None })
    };
    eventually(async || stored() == Some(1)).await;
    let state = cluster.folder("nodes").join("sim-1");
    let told = std::fs::read_to_string(state.join("trust.toml")).unwrap();
    assert!(told.contains("roots_version = 1") && told.contains("revoked = false"), "{told}");
    let roots = mtls::parse_pem(&std::fs::read(state.join("ca.pem")).unwrap()).unwrap().certificates;
    let believed: Vec<mtls::CertificateDer<'_>> = cluster.authority().bundle().into_iter().map(Into::into).collect();
    assert_eq!(roots, believed);
    fleet.stop().await;
}
