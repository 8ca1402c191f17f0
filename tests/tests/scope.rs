//! Roles with limits, at real nodes: through the controller, which tells the node, and straight to the node, which has
//! the same words in its own configuration.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use mtls::Expect;
use pi_agent::Config;
use pi_sim::Fleet;
use pictl::Exit;
use proto::agent::v1::command_response::Outcome;
use proto::agent::v1::execute_stream_request::Input;
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::line_name::Name;
use proto::agent::v1::log_entry::Content;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{
    CommandRequest, ExecuteStreamRequest, GpioRequest, GpioState, LineName, LineWrite, ListJobsRequest, ListLines,
    LogFilter, LogSource, OnConflict, PulseLine, PwmLine, ReadLine, ReleaseAllLines, ScanI2cRequest, ToggleLine,
    TransferI2cRequest, TransferSpiRequest, WatchGpioRequest, WriteLines,
};
use tests::{Cluster, Lone, ToNode, claim, client_of, figure, operator, proxied, reason};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status};

type Client = NodeAgentClient<InterceptedService<Channel, ToNode>>;

const NODE: &str = "
[gpio]
aliases = { heater = 5 }
[bus.i2c]
1 = [0x48]
[exec]
mode = 'any'
shell = '/bin/sh'
[exec.templates.hello]
argv = ['echo', 'hello']
[exec.templates.name]
argv = ['hostname']
[[operators]]
name = 'gus'
roles = ['gpio']
lines = [17, 'heater']
[[operators]]
name = 'lea'
roles = ['logs']
units = ['nginx']
[[operators]]
name = 'xan'
roles = ['exec', 'shell']
templates = ['hello']
[[operators]]
name = 'root'
roles = ['admin']
";

/// One node of the lab.
async fn lab(cluster: &Cluster) -> Fleet {
    let path = cluster.folder("agent.toml");
    std::fs::write(&path, NODE).unwrap();
    let fleet = cluster.nodes_with(1, &Config::load(&path).unwrap()).await;
    let labelled = cluster.pictl(&["node", "label", "sim-1", "room=lab"]).await;
    assert_eq!(labelled.exit, Exit::Done, "{}", labelled.err);
    fleet
}

/// The operator `name` through the controller, where they get `options`, and straight to the node, where they stand in the
/// configuration.
async fn both_ways(cluster: &Cluster, fleet: &Fleet, name: &str, options: &[&str]) -> [(&'static str, Client); 2] {
    let context = operator(cluster, name, options).await;
    let credentials = cluster.credentials(&cluster.issuer(), &format!("operator/{name}"), SystemTime::now());
    let (node, address, _) = &fleet.nodes[0];
    let channel = cluster.dialer(&credentials).channel(&address.to_string(), Expect::Node(node.clone())).unwrap();
    [("through the controller", proxied(&context, node)), ("straight to the node", client_of(channel, node))]
}

fn line(text: &str) -> GpioRequest {
    GpioRequest { line: text.to_owned(), ..GpioRequest::default() }
}

fn with(request: GpioRequest, operation: Operation) -> GpioRequest {
    GpioRequest { operation: Some(operation), ..request }
}

fn several(names: &[&str]) -> GpioRequest {
    let write = |name: &&str| LineWrite {
        line: Some(LineName { name: Some(Name::Text((*name).to_owned())) }),
        state: GpioState::High.into(),
        token: None,
    };
    let lines = names.iter().map(write).collect();
    with(GpioRequest::default(), Operation::Write(WriteLines { lines }))
}

fn watch(names: &[&str]) -> WatchGpioRequest {
    let lines = names.iter().map(|name| LineName { name: Some(Name::Text((*name).to_owned())) }).collect();
    WatchGpioRequest { lines, ..WatchGpioRequest::default() }
}

/// Every operation on one line.
fn operations(name: &str) -> Vec<GpioRequest> {
    let output = claim(0, 60_000, OnConflict::Unspecified).operation.unwrap();
    vec![
        with(line(name), output),
        with(line(name), Operation::Read(ReadLine {})),
        line(name),
        GpioRequest { state: GpioState::High.into(), ..line(name) },
        with(line(name), Operation::Toggle(ToggleLine {})),
        with(line(name), Operation::Configure(Default::default())),
        with(line(name), Operation::Pulse(PulseLine::default())),
        with(line(name), Operation::Keepalive(Default::default())),
        with(line(name), Operation::Pwm(PwmLine::default())),
        with(line(name), Operation::Release(Default::default())),
    ]
}

fn beyond(way: &str, what: &str, refused: Status) {
    assert_eq!(refused.code(), Code::PermissionDenied, "{way}: {what}: {refused:?}");
    assert!(refused.message().contains("is beyond the reach of operator/"), "{way}: {what}: {refused:?}");
    assert_eq!(reason(&refused), "ACCESS_DENIED", "{way}: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_beyond_ones_reach_are_as_if_they_were_not_there() {
    let cluster = Cluster::start().await;
    let fleet = lab(&cluster).await;
    let mut root = proxied(&cluster.admin(), "sim-1");
    let options = ["--role", "gpio", "--nodes", "room=lab", "--lines", "GPIO17,heater"];
    let mut refusals = 0;
    for (way, mut gus) in both_ways(&cluster, &fleet, "gus", &options).await {
        // somebody else's line, which nothing of what follows may touch
        root.control_gpio(claim(18, 0, OnConflict::Unspecified)).await.unwrap();
        for name in ["18", "GPIO27", "J8:12", "J8:1"] {
            for request in operations(name) {
                let refused = gus.control_gpio(request.clone()).await.unwrap_err();
                match name {
                    "J8:1" => assert_eq!(refused.code(), Code::NotFound, "a pin without a line"),
                    _ => beyond(way, &format!("{request:?}"), refused),
                }
                refusals += 1;
            }
        }
        beyond(way, "several", gus.control_gpio(several(&["17", "18"])).await.unwrap_err());
        beyond(way, "watch", gus.watch_gpio(watch(&["17", "18"])).await.unwrap_err());
        let mut answers = gus.stream_gpio(tokio_stream::iter(operations("18"))).await.unwrap().into_inner();
        while let Some(answer) = answers.message().await.unwrap() {
            let text = format!("{answer:?}");
            assert!(text.contains("beyond the reach"), "{way}: {text}");
            refusals += 1;
        }
        beyond(way, "scan", gus.scan_i2c(ScanI2cRequest { bus: 1 }).await.unwrap_err());
        beyond(way, "i2c", gus.transfer_i2c(TransferI2cRequest::default()).await.unwrap_err());
        beyond(way, "spi", gus.transfer_spi(TransferSpiRequest::default()).await.unwrap_err());
        refusals += 5;

        // what is theirs, under each of its names
        for name in ["17", "GPIO17", "J8:11", "heater", "5"] {
            gus.control_gpio(GpioRequest { state: GpioState::High.into(), ..line(name) }).await.unwrap();
        }
        gus.control_gpio(several(&["17", "heater"])).await.unwrap();
        gus.watch_gpio(watch(&["heater"])).await.unwrap();
        let list = with(GpioRequest::default(), Operation::List(ListLines {}));
        let seen = gus.control_gpio(list.clone()).await.unwrap().into_inner().lines;
        assert_eq!(seen.iter().map(|line| line.pin).collect::<Vec<_>>(), [5, 17], "{way}");

        // the emergency stop stops what is within reach, and says what that was
        let stop = with(GpioRequest::default(), Operation::ReleaseAll(ReleaseAllLines {}));
        let stopped = gus.control_gpio(stop.clone()).await.unwrap().into_inner().lines;
        assert_eq!(stopped.iter().map(|line| line.pin).collect::<Vec<_>>(), [5, 17], "{way}");
        let all = root.control_gpio(list).await.unwrap().into_inner().lines;
        let held: Vec<u32> = all.iter().filter(|line| !line.holder.is_empty()).map(|line| line.pin).collect();
        assert_eq!(held, [18], "{way}");
        root.control_gpio(stop).await.unwrap();
    }
    figure(format!("{refusals} refusals of lines and buses beyond reach, both ways"));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_narrowed_to_ones_units_and_sources() {
    let cluster = Cluster::start().await;
    let fleet = lab(&cluster).await;
    fleet.logs[0].burst(200);
    for (way, mut lea) in both_ways(&cluster, &fleet, "lea", &["--role", "logs", "--units", "nginx"]).await {
        let journal = || vec![LogSource::Journal.into()];
        // without a choice of their own, and with the one that is left
        for filter in [
            LogFilter::default(),
            LogFilter { sources: journal(), ..LogFilter::default() },
            LogFilter { units: vec!["nginx".to_owned()], ..LogFilter::default() },
        ] {
            let mut entries = lea.stream_logs(filter).await.unwrap().into_inner();
            let mut count = 0;
            while let Some(entry) = entries.message().await.unwrap() {
                if let Some(Content::Message(_)) = entry.content {
                    assert_eq!(entry.unit, "nginx.service", "{way}");
                    count += 1;
                }
            }
            assert!(count > 10, "{way}: {count}");
        }
        for filter in [
            LogFilter { units: vec!["ssh".to_owned()], ..LogFilter::default() },
            LogFilter { units: vec!["nginx".to_owned(), "ssh".to_owned()], ..LogFilter::default() },
            LogFilter { sources: vec![LogSource::Kernel.into()], ..LogFilter::default() },
            LogFilter { sources: vec![LogSource::Journal.into(), LogSource::Agent.into()], ..LogFilter::default() },
            LogFilter { files: vec!["nginx".to_owned()], ..LogFilter::default() },
        ] {
            beyond(way, &format!("{filter:?}"), lea.stream_logs(filter).await.unwrap_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_templates_runs_those_and_nothing_else() {
    let cluster = Cluster::start().await;
    let fleet = lab(&cluster).await;
    let template = |name: &str| CommandRequest { template: name.to_owned(), ..CommandRequest::default() };
    let argv = |shell| CommandRequest { argv: vec!["echo".to_owned()], shell, ..CommandRequest::default() };
    let live = |request| tokio_stream::once(ExecuteStreamRequest { input: Some(Input::Start(request)) });
    let mut root = proxied(&cluster.admin(), "sim-1");
    root.execute_command(CommandRequest { detach: true, ..argv(false) }).await.unwrap();
    let options = ["--role", "exec,shell", "--templates", "hello"];
    for (way, mut xan) in both_ways(&cluster, &fleet, "xan", &options).await {
        let said = xan.execute_command(template("hello")).await.unwrap().into_inner();
        assert!(matches!(said.outcome, Some(Outcome::Exited(how)) if how.code == 0), "{way}");
        assert_eq!(said.stdout.unwrap().head, b"hello\n", "{way}");
        for request in [template("name"), template("none"), argv(false), argv(true)] {
            beyond(way, &format!("{request:?}"), xan.execute_command(request.clone()).await.unwrap_err());
            beyond(way, "live", xan.execute_stream(live(request)).await.unwrap_err());
        }
        // what others have started is theirs
        assert!(xan.list_jobs(ListJobsRequest {}).await.unwrap().into_inner().jobs.is_empty(), "{way}");
    }
    // an admin is not limited, and sees the jobs of others
    for (way, mut root) in both_ways(&cluster, &fleet, "root", &["--role", "admin"]).await {
        root.execute_command(argv(true)).await.unwrap();
        assert_eq!(root.list_jobs(ListJobsRequest {}).await.unwrap().into_inner().jobs.len(), 1, "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_beyond_ones_reach_are_not_told_from_none() {
    let cluster = Cluster::start().await;
    let _lab = lab(&cluster).await;
    // what a node says of itself opens nothing
    let other = Config { labels: BTreeMap::from([("room".to_owned(), "lab".to_owned())]), ..Config::default() };
    let other = Lone::start(&cluster, &other, &pi_sim::hardware("lone").0.board).await;
    let bob = operator(&cluster, "bob", &["--role", "viewer,gpio", "--nodes", "room=lab"]).await;
    tests::eventually(async || cluster.pictl(&["node", "show", "lone"]).await.out.contains("ready")).await;
    let says =
        async |context: &PathBuf, line: &str| cluster.pictl_as(context, &line.split(' ').collect::<Vec<_>>()).await;

    let seen = says(&bob, "node list").await;
    assert!(seen.out.contains("sim-1") && !seen.out.contains("lone"), "{}", seen.out);
    assert!(says(&cluster.admin(), "node list").await.out.contains("lone"));
    let mut texts = Vec::new();
    for node in ["lone", "none"] {
        let show = says(&bob, &format!("node show {node}")).await;
        assert_eq!(show.exit, Exit::NotFound, "{}", show.err);
        let call = says(&bob, &format!("gpio get {node} 17")).await;
        assert_eq!(call.exit, Exit::Denied, "{}", call.err);
        texts.push((show.err + &call.err).replace(node, "NODE"));
    }
    assert_eq!(texts[0], texts[1]);
    assert!(texts[0].contains("operator/bob lacks the role gpio for node/NODE; ask an admin"), "{}", texts[0]);
    assert_eq!(says(&bob, "gpio get sim-1 17").await.exit, Exit::Done);
    // roles with different reaches: what one reaches, the other does not
    cluster.pictl(&["operator", "role", "bob", "add", "viewer"]).await;
    assert_eq!(says(&bob, "metrics lone").await.exit, Exit::Done);
    assert_eq!(says(&bob, "gpio get lone 17").await.exit, Exit::Denied);
    other.stop().await;
}
