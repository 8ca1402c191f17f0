//! `pictl` → controller → agent → `agent-lib` → board, and what people do wrong on the way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hal_core::LineId;
use mtls::Expect;
use pi_agent::{Config, Operator, Right, Scope};
use pictl::Exit;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{CommandRequest, GpioRequest, GpioState, LogFilter};
use sim::Level;
use tests::{Cluster, eventually};
use tonic::{Code, Request};
use tonic_types::StatusExt;

/// An agent that allows three lines, knows one by an alias, and trusts the operator bob by itself.
fn config() -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "[gpio]\nallow = [17, 18, 23]\naliases = { heater = 17 }\n\
                [[operators]]\nname = 'bob'\nroles = ['gpio']\n";
    std::fs::write(file.path(), text).unwrap();
    Config::load(file.path()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_driven_from_the_command_line_is_driven_on_the_board() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(2).await;
    let bench = &fleet.nodes[0].2;

    let said = cluster.pictl(&["gpio", "set", "sim-1", "18", "high"]).await;
    assert_eq!((said.exit, said.out.as_str()), (Exit::Done, "sim-1 GPIO18 is high\n"), "{}", said.err);
    assert_eq!(bench.level(LineId(18)), Level::High);
    assert_eq!(fleet.nodes[1].2.level(LineId(18)), Level::Low, "the other node is not concerned");
    for name in ["23", "GPIO23", "J8:16"] {
        assert_eq!(cluster.pictl(&["gpio", "get", "sim-1", name]).await.out, "sim-1 GPIO23 is high\n", "by {name}");
    }
    assert_eq!(cluster.pictl(&["gpio", "toggle", "sim-1", "18"]).await.out, "sim-1 GPIO18 is low\n");
    assert_eq!(bench.level(LineId(23)), Level::Low);
    let list = cluster.pictl(&["gpio", "list", "sim-1"]).await.out;
    assert!(list.lines().any(|line| line.contains("GPIO18") && line.contains("operator/admin")), "{list}");

    cluster.pictl(&["gpio", "set", "sim-1", "18", "high"]).await;
    let said = cluster.pictl(&["gpio", "release", "sim-1", "--all"]).await;
    assert_eq!((said.exit, said.out.as_str()), (Exit::Done, "sim-1 released GPIO18\n"));
    assert_ne!(bench.level(LineId(18)), Level::High, "the emergency stop leaves nothing driven high");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_literal_exchange_works_through_the_controller() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let admin = mtls::Context::load(&cluster.admin()).unwrap();
    let channel = admin.dialer().unwrap().channel(&admin.controller, Expect::Controller).unwrap();
    let mut node = NodeAgentClient::new(channel);
    fn named<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("pi-node", "sim-1".parse().unwrap());
        request
    }
    assert_eq!(node.health_check(named(())).await.unwrap().into_inner().status, "OK");
    let client = node.clone();
    eventually(async || {
        let metrics = client.clone().get_system_metrics(named(())).await.unwrap().into_inner();
        metrics.cpu_usage.is_some_and(|usage| (usage - 15.2).abs() < 0.1)
    })
    .await;
    let write = GpioRequest { pin: Some(18), state: GpioState::High.into(), ..Default::default() };
    assert!(node.control_gpio(named(write)).await.unwrap().into_inner().success);

    let mut logs =
        node.stream_logs(named(LogFilter { tail: Some(1), ..Default::default() })).await.unwrap().into_inner();
    assert!(logs.message().await.unwrap().is_some());
    // what is off says so and does nothing
    let command = node.execute_command(named(CommandRequest::default())).await.unwrap_err();
    assert_eq!(command.code(), Code::FailedPrecondition);
    assert!(command.message().contains("commands are off on this node"), "{}", command.message());
    // without a name there is nobody to forward to
    assert_eq!(node.health_check(()).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_lines_are_refused_with_a_reason_and_nothing_changes() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &config()).await;
    for (line, exit, why) in [
        ("99", Exit::NotFound, "no line is called `99`"),
        ("GPIO4294967295", Exit::NotFound, "no line is called"),
        ("-1", Exit::Usage, "unexpected argument"),
        ("heatr", Exit::NotFound, "did you mean heater?"),
        ("5", Exit::Denied, "GPIO5 is not allowed on this node"),
    ] {
        let said = cluster.pictl(&["gpio", "set", "sim-1", line, "high"]).await;
        assert_eq!(said.exit, exit, "{line}: {}", said.err);
        assert!(said.err.contains(why) && said.out.is_empty(), "{line}: {}", said.err);
    }
    let said = cluster.pictl(&["gpio", "set", "sim-9", "17", "high"]).await;
    assert_eq!(said.exit, Exit::NotFound, "{}", said.err);
    assert!(said.err.contains("no node is called \"sim-9\""), "{}", said.err);
    let list = cluster.pictl(&["gpio", "list", "sim-1"]).await.out;
    assert!(!list.contains("operator/") && !list.contains("output"), "something was claimed:\n{list}");
    assert!(fleet.nodes[0].2.contentions().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_held_by_another_is_refused_and_the_holder_is_named() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &config()).await;
    let (name, address, bench) = &fleet.nodes[0];
    let bob = cluster.credentials(&cluster.issuer(), "operator/bob", std::time::SystemTime::now());

    // bob calls the node itself: its own configuration lists him
    let channel = cluster.dialer(&bob).channel(&address.to_string(), Expect::Node(name.clone())).unwrap();
    let mut direct = NodeAgentClient::new(channel);
    let write = GpioRequest { line: "heater".to_owned(), state: GpioState::High.into(), ..Default::default() };
    assert_eq!(direct.control_gpio(write).await.unwrap().into_inner().pin, Some(17));

    let said = cluster.pictl(&["gpio", "set", "sim-1", "heater", "low"]).await;
    assert_eq!(said.exit, Exit::Conflict, "{}", said.err);
    assert!(said.err.contains("GPIO17 is held by operator/bob for 0 s"), "{}", said.err);
    assert_eq!(bench.level(LineId(17)), Level::High);
    // reading disturbs nobody
    assert_eq!(cluster.pictl(&["gpio", "get", "sim-1", "heater"]).await.out, "sim-1 GPIO17 is high\n");

    // programs find the holder in the details
    cluster.pictl(&["gpio", "set", "sim-1", "18", "high"]).await;
    let write = GpioRequest { pin: Some(18), state: GpioState::Low.into(), ..Default::default() };
    let refused = direct.control_gpio(write).await.unwrap_err();
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((refused.code(), info.reason.as_str()), (Code::Aborted, "LINE_HELD"));
    assert_eq!(info.metadata["holder"], "operator/admin");
    assert_eq!(info.metadata["line"], "GPIO18");

    // bob has the role gpio here and no other
    assert_eq!(direct.health_check(()).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_make_no_sense_name_the_field() {
    use proto::agent::v1::gpio_request::Operation;
    use proto::agent::v1::{ClaimLine, ConfigureLine, LineConfig, ReadLine, WriteLines};
    let cluster = Cluster::start().await;
    let config = Config {
        operators: vec![Operator { name: "bob".to_owned(), roles: vec![Right::Admin], scope: Scope::UNLIMITED }],
        ..Config::default()
    };
    let fleet = cluster.nodes_with(1, &config).await;
    let (name, address, _) = &fleet.nodes[0];
    let bob = cluster.credentials(&cluster.issuer(), "operator/bob", std::time::SystemTime::now());
    let channel = cluster.dialer(&bob).channel(&address.to_string(), Expect::Node(name.clone())).unwrap();
    let mut node = NodeAgentClient::new(channel);
    let claim = |config| Some(Operation::Claim(ClaimLine { config: Some(config), ..Default::default() }));
    let many = vec![proto::agent::v1::LineWrite::default(); 65];
    for (field, request) in [
        ("pin", GpioRequest::default()),
        ("line", GpioRequest { pin: Some(1), line: "2".into(), ..Default::default() }),
        ("state", GpioRequest { pin: Some(1), state: 7, ..Default::default() }),
        (
            "state",
            GpioRequest { pin: Some(1), state: 1, operation: Some(Operation::Read(ReadLine {})), ..Default::default() },
        ),
        (
            "write.lines",
            GpioRequest { operation: Some(Operation::Write(WriteLines { lines: many })), ..Default::default() },
        ),
        (
            "configure.config",
            GpioRequest {
                pin: Some(1),
                operation: Some(Operation::Configure(ConfigureLine { config: None })),
                ..Default::default()
            },
        ),
        (
            "config.bias",
            GpioRequest {
                pin: Some(1),
                operation: claim(LineConfig { bias: 9, ..Default::default() }),
                ..Default::default()
            },
        ),
        (
            "config.direction",
            GpioRequest {
                pin: Some(1),
                operation: claim(LineConfig { drive: 2, ..Default::default() }),
                ..Default::default()
            },
        ),
    ] {
        let refused = node.control_gpio(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{request:?}");
        assert_eq!(refused.get_details_error_info().unwrap().metadata["field"], field, "{request:?}");
    }
    let unknown = node.control_gpio(GpioRequest { pin: Some(u32::MAX), ..Default::default() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_is_said_to_be_unreachable() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    assert_eq!(cluster.pictl(&["health", "sim-1"]).await.exit, Exit::Done);
    fleet.stop().await;
    let said = cluster.pictl(&["health", "sim-1"]).await;
    assert_eq!(said.exit, Exit::Unreachable, "{}", said.err);
    assert!(said.err.contains("node/sim-1 cannot be reached at 127.0.0.1:"), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_comes_back_to_a_restarted_controller_with_everything_it_knew() {
    let mut cluster = Cluster::start().await;
    let _fleet = cluster.nodes(2).await;
    cluster.restart().await;
    let list = cluster.pictl(&["node", "list"]).await;
    assert!(list.out.contains("sim-1") && list.out.contains("sim-2"), "{list:?}");
    let said = cluster.pictl(&["gpio", "set", "sim-2", "18", "high"]).await;
    assert_eq!(said.exit, Exit::Done, "{}", said.err);
}
