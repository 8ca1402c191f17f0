//! What cannot be done to a part of one's own process: kill it, signal it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mtls::JoinToken;
use pi_agent::{JoinError, join};
use pi_controller::{TokenWish, create_token, init};
use proto::control::v1::Inventory;
use rustix::process::{Pid, Signal, kill_process};
use tests::{Running, Sorted, eventually, figure, seed, size};
use tokio::task::JoinSet;

const NODES: usize = 200;

/// A cluster in a folder, to be served by processes.
struct Cluster {
    state: tempfile::TempDir,
    address: String,
}

impl Cluster {
    fn make() -> Self {
        let state = tempfile::tempdir().unwrap();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        init(&state.path().join("c"), Some("lab"), address, &address.to_string()).unwrap();
        Self { state, address: address.to_string() }
    }

    fn serve(&self) -> Running {
        Running::start("pi-controller", &["serve", "--state", &self.folder("c").display().to_string()])
    }

    fn folder(&self, name: &str) -> std::path::PathBuf {
        self.state.path().join(name)
    }

    fn admin(&self) -> std::path::PathBuf {
        self.folder("c").join("admin.context.toml")
    }

    /// Asks until the controller is there.
    async fn token(&self, uses: u32) -> JoinToken {
        let wish = TokenWish { lifetime: Duration::from_secs(600), uses, name: None };
        let token = Mutex::new(None);
        eventually(async || {
            *token.lock().unwrap() = create_token(&self.admin(), wish.clone()).await.ok();
            token.lock().unwrap().is_some()
        })
        .await;
        token.into_inner().unwrap().unwrap()
    }

    /// The names of all enrolled nodes.
    async fn enrolled(&self) -> BTreeSet<String> {
        let names = Mutex::new(BTreeSet::new());
        eventually(async || {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let context = self.admin().display().to_string();
            pictl::run(["pictl", "--context", &context, "-o", "json", "node", "list"], &mut out, &mut err).await;
            let Ok(list) = serde_json::from_slice::<serde_json::Value>(&out) else {
                return false;
            };
            let ids = list["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap().to_owned());
            *names.lock().unwrap() = ids.collect();
            true
        })
        .await;
        names.into_inner().unwrap()
    }
}

/// Joins `name`, asking again for as long as the controller is away.
async fn join_through_kills(token: &JoinToken, address: &str, name: &str, state: &Path) {
    loop {
        match join(token, address, name, Inventory::default(), state).await {
            Ok(joined) => return assert_eq!(joined.node, name),
            Err(JoinError::Unreachable { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(other) => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_controller_forgets_no_acknowledged_registration() {
    let cluster = Arc::new(Cluster::make());
    let mut controller = cluster.serve();
    let token = Arc::new(cluster.token(u32::try_from(NODES).unwrap()).await);
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let queue = Arc::new(Mutex::new((0..NODES).map(|number| format!("pi-{number}")).collect::<Vec<_>>()));
    let mut workers = JoinSet::new();
    for _ in 0..16 {
        let (cluster, token, acknowledged, queue) =
            (cluster.clone(), token.clone(), acknowledged.clone(), queue.clone());
        workers.spawn(async move {
            loop {
                let Some(name) = queue.lock().unwrap().pop() else {
                    return;
                };
                join_through_kills(&token, &cluster.address, &name, &cluster.folder(&name)).await;
                acknowledged.lock().unwrap().insert(name);
            }
        });
    }
    // killed at the moment when so many are acknowledged, with sixteen in flight
    for at in [1, 17, 60, 101, 150, 183] {
        eventually(async || acknowledged.lock().unwrap().len() >= at).await;
        controller.0.kill().await.unwrap();
        let (known, left) = (acknowledged.lock().unwrap().clone(), queue.lock().unwrap().len());
        println!("killed with {} of {NODES} acknowledged, {left} not begun", known.len());
        assert!(known.len() < NODES, "killed too late to be in the middle");
        controller = cluster.serve();
        let enrolled = cluster.enrolled().await;
        let lost: Vec<_> = known.difference(&enrolled).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    assert_eq!(cluster.enrolled().await.len(), NODES);
    let one_more = join(&token, &cluster.address, "one-more", Inventory::default(), &cluster.folder("one-more")).await;
    assert!(matches!(one_more, Err(JoinError::Refused(_))), "each of the {NODES} used the token once: {one_more:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_a_host_end_within_five_seconds() {
    for signal in [Signal::TERM, Signal::INT] {
        let cluster = Cluster::make();
        let mut controller = cluster.serve();
        let token = cluster.token(1).await;
        let mut sim = Running::start(
            "pi-sim",
            &[
                "up",
                "--controller",
                &cluster.address,
                "--token",
                &{
                    let file = cluster.folder("token");
                    mtls::write_private(&file, token.to_text().as_bytes()).unwrap();
                    file.display().to_string()
                },
                "--state",
                &cluster.folder("nodes").display().to_string(),
            ],
        );
        eventually(async || cluster.enrolled().await.contains("sim-1")).await;
        // both have a connection open: the agent's to the controller
        for host in [&mut sim, &mut controller] {
            let asked = Instant::now();
            self::signal(host, signal);
            let ended = tokio::time::timeout(Duration::from_secs(6), host.0.wait()).await;
            assert!(ended.expect("it did not end").unwrap().success());
            println!("ended {:?} after {signal:?}", asked.elapsed());
        }
    }
}

/// Whether this word comes within the time, on a simulated service manager's socket.
fn told(socket: &UnixDatagram, word: &str, within: Duration) -> bool {
    let until = Instant::now() + within;
    let mut buffer = [0; 256];
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left)).unwrap();
        if socket.recv(&mut buffer).is_ok_and(|length| buffer[..length].starts_with(word.as_bytes())) {
            return true;
        }
    }
    false
}

/// After how long without a word of it the service manager takes an agent for dead.
const GRANTED: Duration = Duration::from_millis(500);

/// A simulated node under a simulated service manager, once it has said that it serves.
async fn watched(cluster: &Cluster, manager: &UnixDatagram) -> Running {
    let file = cluster.folder("token");
    if !file.exists() {
        mtls::write_private(&file, cluster.token(1).await.to_text().as_bytes()).unwrap();
    }
    let (file, nodes) = (file.display().to_string(), cluster.folder("nodes").display().to_string());
    let socket = manager.local_addr().unwrap().as_pathname().unwrap().display().to_string();
    let sim = Running::start_with(
        "pi-sim",
        &["up", "--controller", &cluster.address, "--token", &file, "--state", &nodes],
        &[("NOTIFY_SOCKET", &socket), ("WATCHDOG_USEC", &GRANTED.as_micros().to_string())],
    );
    assert!(told(manager, "READY=1", Duration::from_secs(20)));
    sim
}

fn signal(process: &Running, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process.0.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// F9, the half that is ours: an agent that stands still stops telling the watchdog that it is alive.
#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_hears_of_a_living_agent_and_not_of_one_that_stands_still() {
    let cluster = Cluster::make();
    let _controller = cluster.serve();
    let manager = UnixDatagram::bind(cluster.folder("notify")).unwrap();
    let sim = watched(&cluster, &manager).await;
    for _ in 0..4 {
        assert!(told(&manager, "WATCHDOG=1", Duration::from_secs(20)));
    }
    signal(&sim, Signal::STOP);
    while told(&manager, "WATCHDOG=1", Duration::from_millis(1)) {} // what was under way
    assert!(!told(&manager, "WATCHDOG=1", GRANTED * 2), "it stands still and says that it lives");
    signal(&sim, Signal::CONT);
    assert!(told(&manager, "WATCHDOG=1", Duration::from_secs(20)));
}

/// F9 with the service manager's half played by the test: it hears nothing for as long as it has granted, kills, and
/// starts a successor. (Its board is simulated and ends with the process: that the successor's first act is to make the
/// lines safe, is shown on kernel GPIO.)
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stands_still_is_found_in_time_and_has_a_successor() {
    let rounds = size(3, 30);
    let mut random = fastrand::Rng::with_seed(seed());
    let cluster = Cluster::make();
    let _controller = cluster.serve();
    let manager = UnixDatagram::bind(cluster.folder("notify")).unwrap();
    let (mut fired, mut back) = (Vec::new(), Vec::new());
    let mut sim = watched(&cluster, &manager).await;
    for _ in 0..rounds {
        let until = Instant::now() + Duration::from_millis(random.u64(0..1500));
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            // a watchdog that fires for a living agent is worse than none
            assert!(left < GRANTED || told(&manager, "WATCHDOG=1", GRANTED), "it lives and is not heard of");
            std::thread::sleep(left.min(Duration::from_millis(10)));
        }
        signal(&sim, Signal::STOP);
        let stopped = Instant::now();
        while told(&manager, "WATCHDOG=1", GRANTED) {}
        fired.push(stopped.elapsed());
        sim.0.kill().await.unwrap();
        let killed = Instant::now();
        sim = watched(&cluster, &manager).await;
        back.push(killed.elapsed());
    }
    let (fired, back) = (Sorted::new(fired), Sorted::new(back));
    figure(format!("{rounds} times stopped, {GRANTED:?} granted; the watchdog fired after {fired}"));
    figure(format!("from the kill until the successor said that it is ready: {back}"));
    assert!(fired.quantile(1.0) <= GRANTED * 6 / 5, "{fired}");
}
