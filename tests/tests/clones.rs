//! S9: one key in two places. S10: a node speaks for itself only. T24.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use pi_agent::{Config, serve};
use pictl::Exit;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{HealthStatus, LogFilter};
use proto::control::v1::control_plane_client::ControlPlaneClient;
use proto::control::v1::{HealthReport, NodeRegistration, TrustUpdate, WatchTrustRequest};
use tests::{Cluster, Sorted, eventually, figure, size, to_node};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// The specification's.
const ALARM: Duration = Duration::from_secs(5);

/// A process that speaks for a node.
async fn speak(mut client: ControlPlaneClient<Channel>, instance: &str) -> Streaming<TrustUpdate> {
    let request = WatchTrustRequest { instance: instance.to_owned() };
    let mut updates = client.watch_trust(request).await.unwrap().into_inner();
    updates.message().await.unwrap().unwrap();
    updates
}

/// Until it is cut off.
async fn ends(mut updates: Streaming<TrustUpdate>) -> Status {
    loop {
        match timeout(Duration::from_secs(10), updates.message()).await.expect("it is cut off") {
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok("the end"),
            Err(status) => return status,
        }
    }
}

/// The agent of this state folder, again: a copied card.
fn copy(cluster: &Cluster, of: &Path, to: &str) -> tokio::task::JoinHandle<()> {
    let state = cluster.folder(to);
    mtls::create_private_dir(&state).unwrap();
    for file in std::fs::read_dir(of).unwrap().flatten().filter(|file| file.path().is_file()) {
        std::fs::copy(file.path(), state.join(file.file_name())).unwrap();
    }
    let (hardware, ..) = pi_sim::hardware("sim-1");
    tokio::spawn(async move {
        let config = Config { state, ..Config::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        serve(config, hardware, listener, std::future::pending()).await.unwrap();
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_card_raises_an_alarm_and_no_call_goes_to_either() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let is_locked = async || cluster.pictl(&["node", "list"]).await.out.contains("locked");
    let began = Instant::now();
    let copied = copy(&cluster, &cluster.folder("nodes").join("sim-1"), "copied");
    eventually(is_locked).await;
    let took = began.elapsed();
    figure(format!("the alarm of a copied card came after {:.2} s", took.as_secs_f64()));
    assert!(took <= ALARM, "{took:?}");
    let alarm = cluster.alarms().pop().unwrap();
    assert_eq!((alarm.action.as_str(), alarm.subject.as_str()), ("clone", "node/sim-1"));
    let said = cluster.pictl(&["gpio", "get", "sim-1", "17"]).await;
    assert_eq!(said.exit, Exit::Conflict, "{said:?}");
    let show = cluster.pictl(&["node", "show", "sim-1"]).await.out;
    assert!(show.contains("suspected clone: two processes take turns"), "{show}");
    assert_eq!(cluster.alarms().len(), 1, "one alarm, however often they take turns");
    copied.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_are_never_live() {
    let turns = size(50, 500);
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    fleet.stop().await;
    let mut live = speak(cluster.as_node("sim-1"), "a").await;
    let mut overlaps = Vec::new();
    for turn in 0..turns {
        let next = speak(cluster.as_node("sim-1"), ["b", "a"][turn % 2]).await;
        let began = Instant::now();
        let status = ends(live).await;
        assert_ne!(status.code(), Code::Ok, "{status:?}");
        overlaps.push(began.elapsed());
        live = next;
    }
    let overlaps = Sorted::new(overlaps);
    figure(format!("{turns} takeovers; the older session was gone after {overlaps}"));
    assert!(overlaps.quantile(1.0) <= Duration::from_secs(1), "{overlaps}");
    assert_eq!(cluster.alarms().len(), 1, "one alarm, not one a turn");
    // control: a session that nobody takes over stays
    assert!(timeout(Duration::from_millis(500), live.message()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_lost_connections_are_no_clones() {
    let cluster = Cluster::start().await;
    cluster.nodes(1).await.stop().await;
    let restarts = 30;
    for restart in 0..restarts {
        // the same process connects again, the connection of before being still there
        let before = speak(cluster.as_node("sim-1"), &restart.to_string()).await;
        let after = speak(cluster.as_node("sim-1"), &restart.to_string()).await;
        assert_ne!(ends(before).await.code(), Code::Ok);
        drop(after);
    }
    assert!(cluster.alarms().is_empty(), "{:?}", cluster.alarms());
    figure(format!("{restarts} restarts and as many lost connections: no alarm"));
}

fn report(sequence: u64, speaks_of: &str) -> HealthReport {
    let health = HealthStatus { status: "OK".to_owned(), node_id: speaks_of.to_owned(), ..HealthStatus::default() };
    HealthReport { boot_id: "boot".to_owned(), sequence, health: Some(health), ..HealthReport::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_speaks_for_itself_only_and_is_counted() {
    let tries: u64 = size(10, 1000);
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(2).await;
    let before = cluster.pictl(&["node", "show", "sim-2", "-o", "json"]).await.out;
    let mut a = cluster.as_node("sim-1");
    for sequence in 1..=tries {
        let refused = a.report_health(report(sequence, "sim-2")).await.unwrap_err();
        assert_eq!((refused.code(), tests::reason(&refused).as_str()), (Code::PermissionDenied, "OTHER_NODE"));
        let endpoints = vec!["192.0.2.66:7444".to_owned()];
        let registration = NodeRegistration { name: "sim-2".to_owned(), endpoints, ..NodeRegistration::default() };
        let refused = a.register_node(registration).await.unwrap_err();
        assert_eq!(tests::reason(&refused), "OTHER_NODE");
    }
    // nor does it read another one's logs, or call it at all
    let own = cluster.credentials(&cluster.issuer(), "node/sim-1", SystemTime::now());
    let mut proxy = NodeAgentClient::new(cluster.channel(&own));
    let refused = proxy.stream_logs(to_node("sim-2", LogFilter::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // control: of itself it may speak
    a.report_health(report(1, "sim-1")).await.unwrap();

    let node = async |name| {
        let json = cluster.pictl(&["node", "show", name, "-o", "json"]).await.out;
        serde_json::from_str::<serde_json::Value>(&json).unwrap()
    };
    assert_eq!(node("sim-1").await["denied_calls"].to_string().trim_matches('"'), (2 * tries).to_string());
    let (before, after) = (serde_json::from_str::<serde_json::Value>(&before).unwrap(), node("sim-2").await);
    assert_eq!((&after["endpoints"], &after["denied_calls"]), (&before["endpoints"], &before["denied_calls"]));
    figure(format!("{} calls for another node: denied and counted", 2 * tries));
}
