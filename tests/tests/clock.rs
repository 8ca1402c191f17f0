//! F13, F14, S17: what a wrong clock does and does not do. Processes of their own, since a clock belongs to a process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mtls::{Acceptor, Clock, ClockFault, Dialer, Expect, JoinToken, Limits, OwnCertificate, Trust};
use pi_controller::init;
use proto::fleet::v1::ListNodesRequest;
use proto::fleet::v1::fleet_client::FleetClient;
use rustix::process::{Pid, Signal, kill_process};
use tests::{Cluster, Running, binary, clock_at, clock_of, eventually, figure, size};
use tokio::process::Command;

const DAY: Duration = Duration::from_secs(86_400);
const NEVER_SET: &str = "@1970-01-01 00:00:10";

/// A cluster whose parts are processes, each with a clock of its own.
struct Stand {
    folder: tempfile::TempDir,
    address: String,
}

/// What a process said, and whether it ended well.
struct Said {
    ok: bool,
    text: String,
}

impl Stand {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        init(&folder.path().join("c"), Some("lab"), address, &address.to_string()).unwrap();
        Self { folder, address: address.to_string() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A host by this clock; what it logs goes to a file.
    fn start(&self, host: &str, arguments: &[&str], clock: &[(String, String)], log: &str) -> Running {
        let log = File::options().create(true).append(true).open(self.path(log)).unwrap();
        let mut command = Command::new(binary(host));
        command.args(arguments).envs(clock.iter().cloned()).env("PI_LOG", "info").kill_on_drop(true);
        Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn controller(&self, clock: &[(String, String)]) -> Running {
        self.start("pi-controller", &["serve", "--state", &self.path("c").display().to_string()], clock, "c.log")
    }

    fn nodes(&self, count: usize, clock: &[(String, String)]) -> Running {
        let (token, state) = (self.path("token").display().to_string(), self.path("nodes").display().to_string());
        let count = count.to_string();
        let arguments = ["up", "--nodes", &count, "--controller", &self.address, "--token", &token, "--state", &state];
        self.start("pi-sim", &arguments, clock, "nodes.log")
    }

    async fn run(&self, host: &str, arguments: &[&str], clock: &[(String, String)]) -> Said {
        let output = Command::new(binary(host)).args(arguments).envs(clock.iter().cloned()).output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        Said { ok: output.status.success(), text: String::from_utf8(text).unwrap() }
    }

    /// A token in `token`, as soon as the controller is there.
    async fn token(&self, uses: usize, clock: &[(String, String)]) {
        let (uses, out, state) = (uses.to_string(), self.path("token"), self.path("c").display().to_string());
        let out = out.display().to_string();
        let arguments = ["token", "create", "--uses", &uses, "--out", &out, "--context", &state];
        eventually(async || self.run("pi-controller", &arguments, clock).await.ok).await;
    }

    async fn pictl(&self, arguments: &[&str], clock: &[(String, String)]) -> Said {
        let context = self.path("c").join("admin.context.toml").display().to_string();
        self.run("pictl", &[&["--context", &context], arguments].concat(), clock).await
    }

    /// How many nodes the controller, by this clock, has heard of since it started.
    async fn ready(&self, clock: &[(String, String)]) -> usize {
        let said = self.pictl(&["node", "list"], clock).await;
        said.text.lines().filter(|line| line.contains(" ready ")).count()
    }

    fn floor(&self, node: &str) -> SystemTime {
        let text = std::fs::read_to_string(self.path("nodes").join(node).join("clock")).unwrap();
        UNIX_EPOCH + Duration::from_secs(text.trim().parse().unwrap())
    }
}

async fn stop(mut host: Running) {
    let pid = Pid::from_raw(host.0.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    host.0.wait().await.unwrap();
}

/// How far the system's clock and the monotonic one are apart from where they were.
fn drift(start: (SystemTime, Instant)) -> Duration {
    (start.0 + start.1.elapsed()).duration_since(SystemTime::now()).unwrap_or_else(|error| error.duration())
}

/// F13. The control plane is days ahead of when all this was built, so that neither the time of the build nor what a node
/// has stored is enough. In each round all nodes of before boot, and one more joins.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_clock_joins_and_boots() {
    let (stand, clocks) = (Stand::make(), (SystemTime::now(), Instant::now()));
    let built = binary("pi-sim").metadata().unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    let built = format!("@{}", written(built));
    let controller = stand.controller(&[]);
    stand.token(1, &[]).await;
    let nodes = stand.nodes(1, &[]);
    eventually(async || stand.ready(&[]).await == 1).await;
    stop(nodes).await;
    stop(controller).await;
    let mut count = 1;
    for (own, true_time, days) in [(NEVER_SET, "+3d", 3), ("-2y", "+60d", 60), (&built, "+63d", 63)] {
        let (right, wrong) = (clock_at(true_time), clock_at(own));
        let controller = stand.controller(&right);
        stand.token(1, &right).await;
        count += 1;
        let started = Instant::now();
        let nodes = stand.nodes(count, &wrong);
        eventually(async || stand.ready(&right).await == count).await;
        let took = started.elapsed();
        let booted = count - 1;
        figure(format!("clock {own}, control plane {true_time}: {booted} booted and 1 joined within {took:.1?}"));
        assert!(took <= Duration::from_secs(10), "{took:?}");
        for node in 1..=count {
            let node = format!("sim-{node}");
            eventually(async || stand.floor(&node) > SystemTime::now() + DAY * days - DAY / 12).await;
            // and the node's own listener judges the controller by the same time
            let listed = stand.pictl(&["gpio", "list", &node], &right).await;
            assert!(listed.ok, "{}", listed.text);
        }
        stop(nodes).await;
        stop(controller).await;
    }
    assert!(drift(clocks) < Duration::from_secs(1), "the system's clock was set");
}

/// The faketime form of a time.
fn written(since_epoch: Duration) -> String {
    let output = std::process::Command::new("date")
        .args(["-d", &format!("@{}", since_epoch.as_secs()), "+%Y-%m-%d %H:%M:%S"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Without a clock everything but the time is checked all the same; and whoever is no agent is told to set the clock.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_clock_pin_chain_and_identity_are_checked_all_the_same() {
    let stand = Stand::make();
    let (right, wrong) = (clock_at("+3d"), clock_at(NEVER_SET));
    let _controller = stand.controller(&right);
    stand.token(1, &right).await;
    let good = std::fs::read(stand.path("token")).unwrap();
    let token: JoinToken = String::from_utf8(good.clone()).unwrap().parse().unwrap();
    let pinned = JoinToken::new("lab", [7; 32], token.id(), JoinToken::new_seed().unwrap()).unwrap();
    let other = JoinToken::new("home", token.ca_pin(), token.id(), JoinToken::new_seed().unwrap()).unwrap();
    for (token, told) in
        [(pinned, "the CA is not the one that the join token names"), (other, "not of the join token's cluster")]
    {
        mtls::write_private(&stand.path("token"), token.to_text().as_bytes()).unwrap();
        let mut nodes = stand.nodes(1, &wrong);
        assert!(!nodes.0.wait().await.unwrap().success());
        let log = std::fs::read_to_string(stand.path("nodes.log")).unwrap();
        assert!(log.contains(told), "{log}");
        assert!(!stand.path("nodes").join("sim-1").join("clock").exists(), "nothing was proven");
    }

    // an enrolled node without a clock, and somebody else in the control plane's place
    mtls::write_private(&stand.path("token"), &good).unwrap();
    let nodes = stand.nodes(1, &wrong);
    eventually(async || stand.ready(&right).await == 1).await;
    stop(nodes).await;
    let floor = stand.floor("sim-1");
    let impostor = Stand::make();
    std::fs::rename(stand.path("nodes"), impostor.path("nodes")).unwrap();
    std::fs::write(impostor.path("nodes").join("sim-1").join("controller"), &impostor.address).unwrap();
    let _other = impostor.controller(&clock_at("+40d"));
    impostor.token(1, &clock_at("+40d")).await;
    let _nodes = impostor.nodes(1, &wrong);
    let log = || std::fs::read_to_string(impostor.path("nodes.log")).unwrap();
    eventually(async || log().contains("it is not of this cluster")).await;
    assert_eq!(impostor.floor("sim-1"), floor, "a stranger proves no time");

    // a person's machine: it is told, and learns nothing by itself
    for (clock, told) in [
        (NEVER_SET, "this clock is behind the control plane's by at least"),
        ("+10y", "this clock is ahead of the control plane's by at least 9 years"),
    ] {
        let said = stand.pictl(&["node", "list"], &clock_at(clock)).await;
        assert!(!said.ok && said.text.contains(told), "{}", said.text);
    }
    let state = impostor.path("nodes").join("sim-1").display().to_string();
    let reset = impostor.run("pi-agent", &["clock-reset", "--state", &state], &[]).await;
    assert!(reset.ok && reset.text.contains("forgot the proven time"), "{}", reset.text);
    assert!(!impostor.path("nodes").join("sim-1").join("clock").exists());
}

/// F14.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_far_ahead_is_told_and_heals_when_it_is_corrected() {
    let stand = Stand::make();
    let file = stand.path("faketime");
    let set = |clock: &str| std::fs::write(&file, clock).unwrap();
    let controller = stand.controller(&[]);
    stand.token(1, &[]).await;
    let nodes = stand.nodes(1, &[]);
    eventually(async || stand.ready(&[]).await == 1).await;
    stop(nodes).await;
    stop(controller).await;
    let identity = || std::fs::read(stand.path("nodes").join("sim-1").join("identity.pem")).unwrap();
    let (before, floor) = (identity(), stand.floor("sim-1"));

    set("+10y");
    let _controller = stand.controller(&[]);
    eventually(async || stand.ready(&[]).await == 0).await;
    let started = Instant::now();
    let _nodes = stand.nodes(1, &clock_of(&file));
    let log = || std::fs::read_to_string(stand.path("nodes.log")).unwrap();
    eventually(async || log().contains("this clock is ahead of the control plane's by at least 9 years")).await;
    let told = started.elapsed();
    assert!(told <= Duration::from_secs(10), "{told:?}");
    tokio::time::sleep(Duration::from_secs(size(5, 25))).await; // until the pauses between tries have grown
    assert_eq!((stand.ready(&[]).await, identity()), (0, before.clone()), "no key was touched");

    set("+0");
    let corrected = Instant::now();
    let heals = async {
        while stand.ready(&[]).await == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heals).await.expect("healed within 30 s");
    figure(format!("10 years ahead: told after {told:.1?}, well {:.1?} after the correction", corrected.elapsed()));
    assert_eq!(identity(), before, "the same node with the same key");
    assert!(stand.floor("sim-1") < floor + DAY, "nothing of the wrong time is left");
    assert!(!log().contains("renewed the certificate"));

    // and while it is connected: one certificate is fetched too early, and nothing else happens
    set("+10y");
    tokio::time::sleep(Duration::from_secs(size(15, 75))).await; // the clock is looked at once a minute
    assert!(log().matches("renewed the certificate").count() <= 1, "{}", log());
    assert_eq!(stand.ready(&[]).await, 1);
    assert!(stand.floor("sim-1") < floor + DAY);
}

/// S17, with its control: it is the floor that refuses.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_makes_no_expired_certificate_good() {
    let cluster = Cluster::start().await;
    let issuer = cluster.issuer();
    let now = SystemTime::now();
    // valid for 7 days, 100 days from now; what is built today knows nothing of that time
    let server = cluster.credentials(&issuer, "controller/c1", now + DAY * 100);
    let trust = Trust::new("lab", &server.roots).unwrap();
    let acceptor = Acceptor::new(OwnCertificate::new(&server).unwrap(), trust.clone(), None, Limits::default());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let routes = mtls::server().add_routes(tonic::service::Routes::default());
    tokio::spawn(mtls::serve(routes, acceptor.unwrap(), listener, std::future::pending()));
    let node = cluster.credentials(&issuer, "node/sim-1", now);
    let call = async |clock: std::sync::Arc<Clock>| {
        let dialer = Dialer::new(OwnCertificate::new(&node).unwrap(), trust.clone()).with_clock(clock);
        let channel = dialer.channel(&address, Expect::Controller).unwrap();
        FleetClient::new(channel).list_nodes(ListNodesRequest::default()).await.unwrap_err()
    };
    // 200 days from now, and set back by a year
    let clock = |folder: &str| {
        let folder = cluster.folder(folder);
        mtls::create_private_dir(&folder).unwrap();
        Clock::system_of(&folder, move || now + DAY * 200 - DAY * 365).unwrap()
    };
    let with_floor = clock("node");
    with_floor.prove(now + DAY * 200);
    let refused = call(with_floor.clone()).await;
    assert!(matches!(mtls::clock_fault(&refused), Some(ClockFault::Expired { .. })), "{refused:?}");
    figure(format!("set back by a year: {}", mtls::explain(&refused).unwrap()));
    // as after a reboot, from what was stored
    eventually(async || clock("node").floor() >= now + DAY * 199).await;
    let refused = call(clock("node")).await;
    assert!(matches!(mtls::clock_fault(&refused), Some(ClockFault::Expired { .. })), "{refused:?}");

    let without = call(clock("other")).await;
    assert_eq!(mtls::clock_fault(&without), None, "the control: without a floor it would have been believed");
    assert!(clock("other").floor() >= now, "it was");
    assert_eq!(without.code(), tonic::Code::Unimplemented, "{without:?}");
}
