//! Metrics and health, whole: client → TLS → agent → simulated sensors, or a real file system.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use mtls::Expect;
use pi_agent::{Config, Operator, Prometheus, Right, Scope};
use pi_sim::Fleet;
use pictl::Exit;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{Condition, ConditionState, HealthStatus, MetricGroup, StreamMetricsRequest, SystemMetrics};
use sim::SystemFault;
use tests::{Cluster, direct, eventually, trusting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::client::GrpcService;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

/// Anna may see, bob may drive lines.
fn seeing() -> Config {
    let mut config = trusting(&["bob"]);
    config.operators.push(Operator { name: "anna".to_owned(), roles: vec![Right::Viewer], scope: Scope::UNLIMITED });
    config
}

async fn metrics(anna: &mut NodeAgentClient<Channel>) -> SystemMetrics {
    anna.get_system_metrics(()).await.unwrap().into_inner()
}

async fn health(anna: &mut NodeAgentClient<Channel>) -> HealthStatus {
    anna.health_check(()).await.unwrap().into_inner()
}

fn condition(health: &HealthStatus, kind: &str) -> Condition {
    health.conditions.iter().find(|condition| condition.r#type == kind).cloned().unwrap_or_default()
}

/// Until a condition stands so, and the health that says it.
async fn until(anna: &NodeAgentClient<Channel>, kind: &str, state: ConditionState, reason: &str) -> HealthStatus {
    eventually(async || {
        let condition = condition(&health(&mut anna.clone()).await, kind);
        condition.state() == state && condition.reason == reason
    })
    .await;
    health(&mut anna.clone()).await
}

/// While it lives, the node reads these groups every second.
async fn streaming(anna: &NodeAgentClient<Channel>, groups: &[MetricGroup]) -> Streaming<SystemMetrics> {
    let groups = groups.iter().map(|group| i32::from(*group)).collect();
    let request = StreamMetricsRequest { interval: None, groups };
    anna.clone().stream_metrics(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_group_is_answered_and_well_is_ok() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &seeing()).await;
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    eventually(async || metrics(&mut anna.clone()).await.cpu_usage.is_some()).await;
    let metrics = metrics(&mut anna).await;
    assert_eq!(metrics.errors, []);
    assert_eq!((metrics.memory_usage, metrics.disk_usage, metrics.temperature), (Some(37.5), Some(25.0), Some(47.2)));
    assert!((metrics.cpu_usage.unwrap() - 15.2).abs() < 0.01, "{:?}", metrics.cpu_usage);
    assert!(metrics.cpu_window.is_some() && metrics.cores.len() == 4 && metrics.pressure.len() == 3);
    let cpu = metrics.cpu.unwrap();
    let parts = [Some(cpu.user), Some(cpu.system), Some(cpu.idle), cpu.iowait, cpu.irq, cpu.steal];
    assert!((parts.into_iter().flatten().sum::<f64>() - 100.0).abs() < 1e-6);
    assert_eq!(metrics.thermal_zones[0].trip_points.len(), 5);
    assert_eq!(metrics.throttling.map(|throttling| throttling.raw), Some(0));
    assert!(metrics.block_devices.len() == 1 && metrics.interfaces.len() == 2 && metrics.fans.len() == 1);
    assert!(metrics.voltages.len() == 1 && metrics.clocks.len() == 1);
    assert!(metrics.processes.is_some() && metrics.agent.is_some());
    let well = until(&anna, "Storage", ConditionState::True, "Writable").await;
    assert_eq!(well.status, "OK", "{well:#?}");
    let held = ["Certificate", "GpioBackend", "Leases", "Metrics", "Policy", "Power", "Storage", "Thermal"];
    for kind in held {
        assert_eq!(condition(&well, kind).state(), ConditionState::True, "{kind}");
    }
    assert!(!well.boot_id.is_empty() && well.uptime.is_some() && !well.features.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sensor_is_an_absent_field_an_error_and_a_condition() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &seeing()).await;
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    until(&anna, "Thermal", ConditionState::True, "Cool").await;
    fleet.metrics[0].happen(SystemFault::SensorDies);
    let told = until(&anna, "Thermal", ConditionState::Unknown, "SensorFailed").await;
    assert_eq!(told.status, "OK", "what cannot be measured degrades nothing");
    assert!(condition(&told, "Metrics").message.contains("thermal"));
    let metrics = metrics(&mut anna).await;
    assert_eq!(metrics.temperature, None);
    assert_eq!(metrics.errors.iter().map(|error| error.collector.as_str()).collect::<Vec<_>>(), ["thermal"]);
    assert!(metrics.memory_usage.is_some() && metrics.throttling.is_some());
    let said = cluster.pictl(&["metrics", "sim-1"]).await.out;
    assert!(said.lines().any(|line| line.starts_with("temperature") && line.ends_with('-')), "{said}");
    assert!(said.contains("failed thermal"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_voltage_and_heat_degrade_and_are_remembered() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &seeing()).await;
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    fleet.metrics[0].happen(SystemFault::UnderVoltage);
    fleet.metrics[0].happen(SystemFault::Overheats(86_000));
    let told = until(&anna, "Power", ConditionState::False, "UnderVoltage").await;
    assert_eq!(told.status, "DEGRADED");
    assert_eq!(condition(&told, "Thermal").reason, "TooHot");
    let said = cluster.pictl(&["health", "sim-1"]).await;
    assert_eq!((said.exit, said.exit.code()), (Exit::Unwell, 7));
    assert!(said.err.contains("sim-1 is DEGRADED: Thermal (TooHot), Power (UnderVoltage)"), "{}", said.err);
    fleet.metrics[0].happen(SystemFault::Recovers);
    // others clear the firmware's memory; the agent's own stays
    fleet.metrics[0].set_throttled(Some(0));
    until(&anna, "Power", ConditionState::True, "Recovered").await;
    let throttling = metrics(&mut anna).await.throttling.unwrap();
    assert_eq!((throttling.raw, throttling.under_voltage_now, throttling.under_voltage_since_boot), (0, false, true));
    assert_eq!(cluster.pictl(&["health", "sim-1"]).await.exit, Exit::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_turns_read_only_degrades() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &seeing()).await;
    let anna = direct(&cluster, &fleet, 0, "anna");
    let _often = streaming(&anna, &[MetricGroup::Disk]).await;
    until(&anna, "Storage", ConditionState::True, "Writable").await;
    fleet.metrics[0].happen(SystemFault::ReadOnly);
    let told = until(&anna, "Storage", ConditionState::False, "ReadOnly").await;
    assert_eq!(told.status, "DEGRADED");
    assert!(condition(&told, "Storage").message.starts_with("/ has turned read-only"));
}

/// A file system of its own, gone with its value.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where mounting is not allowed.
    fn new(place: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&place).unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", "size=8m,mode=0700", "none"], &place);
        mounted.then_some(Self(place))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], place: &Path) -> bool {
    let done = Command::new("mount").args(arguments).arg(place).output();
    done.is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_read_only_remount_is_told_and_calls_are_answered() {
    let cluster = Cluster::start().await;
    let Some(state) = Mounted::new(cluster.folder("nodes")) else {
        assert!(std::env::var_os("CI").is_none(), "only root can mount");
        eprintln!("not allowed to mount: the remount is left to the simulated one");
        return;
    };
    let fleet = cluster.nodes_with(1, &seeing()).await;
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    let _often = streaming(&anna, &[MetricGroup::Disk]).await;
    until(&anna, "Storage", ConditionState::True, "Writable").await;
    assert!(mount(&["-o", "remount,ro"], &state.0));
    let told = until(&anna, "Storage", ConditionState::False, "ReadOnly").await;
    assert_eq!(told.status, "DEGRADED");
    assert!(metrics(&mut anna).await.memory_usage.is_some());
    assert!(mount(&["-o", "remount,rw"], &state.0));
    assert_eq!(until(&anna, "Storage", ConditionState::True, "Writable").await.status, "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_journal_is_told_and_degrades_nothing() {
    let cluster = Cluster::start().await;
    let root = tempfile::tempdir().unwrap();
    let fleet = cluster.nodes_with(1, &Config { root: root.path().to_owned(), ..seeing() }).await;
    let anna = direct(&cluster, &fleet, 0, "anna");
    let told = until(&anna, "Journal", ConditionState::False, "NoJournal").await;
    assert_eq!(told.status, "OK");
    assert_eq!(condition(&told, "Clock").reason, "NoWitness");
    std::fs::create_dir_all(root.path().join("run/log/journal")).unwrap();
    let _often = streaming(&anna, &[MetricGroup::Disk]).await;
    until(&anna, "Journal", ConditionState::True, "Volatile").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_repeats_what_was_asked_for_and_ends_with_the_agent() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &seeing()).await;
    let (mut anna, mut bob) = (direct(&cluster, &fleet, 0, "anna"), direct(&cluster, &fleet, 0, "bob"));
    eventually(async || metrics(&mut anna.clone()).await.memory_usage.is_some()).await;
    for seconds in [0, -1, 3601] {
        let interval = Some(prost_types::Duration { seconds, nanos: 0 });
        let refused = anna.stream_metrics(StreamMetricsRequest { interval, groups: vec![] }).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::InvalidArgument, "interval has to be from 1 s to 3600 s")
        );
    }
    let unknown = StreamMetricsRequest { interval: None, groups: vec![99] };
    assert_eq!(anna.stream_metrics(unknown).await.unwrap_err().code(), Code::InvalidArgument);
    let denied = bob.stream_metrics(StreamMetricsRequest::default()).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let mut readings = streaming(&anna, &[MetricGroup::Memory, MetricGroup::Network]).await;
    let first = readings.next().await.unwrap().unwrap();
    let second = readings.next().await.unwrap().unwrap();
    for metrics in [&first, &second] {
        assert!(metrics.memory_usage.is_some() && metrics.interfaces.len() == 2);
        assert!(metrics.cpu_usage.is_none() && metrics.temperature.is_none() && metrics.file_systems.is_empty());
    }
    // Read anew every second while somebody streams it, else once in ten. The reading may come just after a message.
    let bytes = |metrics: &SystemMetrics| metrics.interfaces[1].received.unwrap().bytes;
    let mut later = Vec::new();
    for _ in 0..3 {
        later.push(bytes(&readings.next().await.unwrap().unwrap()));
    }
    assert!(later.windows(2).any(|pair| pair[0] < pair[1]), "{} {later:?}", bytes(&second));
    fleet.stop().await;
    let ended = async { while let Some(Ok(_)) = readings.next().await {} };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the stream goes on without its agent");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_follow_a_node_and_see_the_fleet() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(2).await;
    eventually(async || cluster.pictl(&["metrics", "sim-2"]).await.out.contains("15.2")).await;
    let said = cluster.pictl(&["metrics", "sim-1", "--watch", "1", "--count", "2", "-o", "json"]).await;
    assert_eq!((said.exit, said.out.lines().count()), (Exit::Done, 2), "{}", said.err);
    let top = cluster.pictl(&["top", "--once"]).await.out;
    assert_eq!(top.lines().count(), 3, "{top}");
    assert!(top.contains("sim-2") && top.contains("15.2%") && top.contains("47.2°C") && top.contains("none"), "{top}");
    let json = cluster.pictl(&["top", "--once", "-o", "json"]).await.out;
    assert_eq!(json.lines().filter(|line| line.contains("\"node_id\":\"sim-")).count(), 2, "{json}");
    assert_eq!(cluster.pictl(&["top", "--direct", "127.0.0.1:1"]).await.exit, Exit::Usage);
    drop(fleet);
    eventually(async || cluster.pictl(&["top", "--once"]).await.out.matches("unreachable").count() == 2).await;
}

fn channel(cluster: &Cluster, operator: &str, address: &str, expect: Expect) -> Channel {
    let credentials = cluster.credentials(&cluster.issuer(), &format!("operator/{operator}"), SystemTime::now());
    cluster.dialer(&credentials).channel(address, expect).unwrap()
}

fn node(cluster: &Cluster, fleet: &Fleet, operator: &str) -> Channel {
    let (name, address, _) = &fleet.nodes[0];
    channel(cluster, operator, &address.to_string(), Expect::Node(name.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standard_health_service_is_served_and_watched() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &seeing()).await;
    let asked = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut anna = HealthClient::new(node(&cluster, &fleet, "anna"));
    for service in ["", "pi.agent.v1.NodeAgent"] {
        let answer = anna.check(asked(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(anna.check(asked("pi.agent.v1.Nothing")).await.unwrap_err().code(), Code::NotFound);
    let mut bob = HealthClient::new(node(&cluster, &fleet, "bob"));
    assert_eq!(bob.check(asked("")).await.unwrap_err().code(), Code::PermissionDenied);
    let mut watched = anna.watch(asked("")).await.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    fleet.stop().await;
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    // the controller's own, for every member
    let admin = mtls::Context::load(&cluster.admin()).unwrap();
    let to_controller = admin.dialer().unwrap().channel(&cluster.address.to_string(), Expect::Controller).unwrap();
    let answer = HealthClient::new(to_controller).check(asked("pi.fleet.v1.Fleet")).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_is_there_when_asked_for_and_not_else() {
    let cluster = Cluster::start().await;
    let list = async |channel: Channel| {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let answers = ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(request)).await?;
        let answer = answers.into_inner().next().await.unwrap()?;
        Ok::<_, tonic::Status>(format!("{answer:?}"))
    };
    let fleet = cluster.nodes_with(1, &seeing()).await;
    assert_eq!(list(node(&cluster, &fleet, "anna")).await.unwrap_err().code(), Code::Unimplemented);
    fleet.stop().await;
    let fleet = cluster.nodes_with(1, &Config { reflection: true, ..seeing() }).await;
    let services = list(node(&cluster, &fleet, "anna")).await.unwrap();
    assert!(services.contains("pi.agent.v1.NodeAgent"), "{services}");
    assert_eq!(list(node(&cluster, &fleet, "bob")).await.unwrap_err().code(), Code::PermissionDenied);
}

/// A port that was free a moment ago.
fn free() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_loopback() {
    let cluster = Cluster::start().await;
    let listen = free();
    let _fleet =
        cluster.nodes_with(1, &Config { prometheus: Some(Prometheus { listen, tls: false }), ..seeing() }).await;
    let get = async |request: String| {
        let mut connection = TcpStream::connect(listen).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = connection.read_to_string(&mut answer).await; // cut off while we still write: what came counts
        answer
    };
    let plain = |line: &str| format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    eventually(async || get(plain("GET /metrics")).await.contains("node_load1 0.15")).await;
    let answer = get(plain("GET /metrics")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("application/openmetrics-text"), "{answer}");
    assert!(
        answer.contains("node_cpu_seconds_total{cpu=\"3\",mode=\"idle\"}") && answer.ends_with("# EOF\n"),
        "{answer}"
    );
    assert!(get(plain("POST /metrics")).await.starts_with("HTTP/1.1 405"));
    assert!(get(plain("GET /etc/passwd")).await.starts_with("HTTP/1.1 404"));
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert!(!get(long).await.contains("200 OK"), "headers are limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_by_mutual_tls_if_it_may_see() {
    let cluster = Cluster::start().await;
    let listen = free();
    let _fleet =
        cluster.nodes_with(1, &Config { prometheus: Some(Prometheus { listen, tls: true }), ..seeing() }).await;
    let get = async |operator: &str| {
        let mut channel = channel(&cluster, operator, &listen.to_string(), Expect::Node("sim-1".to_owned()));
        std::future::poll_fn(|cx| GrpcService::<tonic::body::Body>::poll_ready(&mut channel, cx)).await?;
        let uri = format!("https://{listen}/metrics");
        let request = http::Request::get(uri).body(tonic::body::Body::empty()).unwrap();
        GrpcService::call(&mut channel, request).await
    };
    let answer = get("anna").await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert!(get("bob").await.is_err(), "bob may not see");
    let mut plain = TcpStream::connect(listen).await.unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("node_"), "nothing without TLS");
}
