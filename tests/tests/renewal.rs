//! A node's certificate over the years: L9, S21, S16 after a renewal, crashes while it is stored, and nodes that come back
//! after their certificate has expired.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control_lib::{Identity, Lifetime, PublicKey};
use mtls::{CertificateDer, Credentials, Expect, OwnCertificate, OwnKey, Validity};
use pi_agent::{Config, Operator, Right};
use pi_sim::Fleet;
use proto::agent::v1::StreamMetricsRequest;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::control::v1::NodeRegistration;
use proto::control::v1::control_plane_client::ControlPlaneClient;
use proto::fleet::v1::ListNodesRequest;
use proto::fleet::v1::fleet_client::FleetClient;
use tests::{Cluster, Running, direct, eventually, figure, reason, seed, size};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::transport::Channel;
use tonic::{Code, Request};

const DAY: Duration = Duration::from_secs(86_400);
/// Nodes renew after 8 to 12 s.
const SHORT: &str = "[certificates]\nnode = '20s'\ncontroller = '20s'\n";

/// The controller as the first operator calls it.
fn admin(cluster: &Cluster) -> Channel {
    let context = mtls::Context::load(&cluster.admin()).unwrap();
    context.dialer().unwrap().channel(&context.controller, Expect::Controller).unwrap()
}

fn to<T>(node: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("pi-node", node.parse().unwrap());
    request
}

/// Anna may see the nodes without the controller too.
fn seen_by_anna() -> Config {
    let operators =
        vec![Operator { name: "anna".to_owned(), roles: vec![Right::Viewer], scope: pi_agent::Scope::UNLIMITED }];
    Config { operators, ..Config::default() }
}

/// When the certificate of each node ends, as the control plane issued it.
async fn ends(fleet: &mut FleetClient<Channel>) -> BTreeMap<String, SystemTime> {
    let listed = fleet.list_nodes(ListNodesRequest::default()).await.unwrap().into_inner();
    let end = |time: Option<prost_types::Timestamp>| SystemTime::try_from(time.unwrap()).unwrap();
    listed.nodes.into_iter().map(|node| (node.id, end(node.certificate_expires))).collect()
}

/// Calls all nodes in turn through the controller, for ever; counts what fails.
fn call_all(
    cluster: &Cluster,
    nodes: Vec<String>,
    every: Duration,
    failed: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
) -> JoinSet<()> {
    let mut calling = JoinSet::new();
    let channel = admin(cluster);
    calling.spawn(async move {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for node in nodes.iter().cycle() {
            ticks.tick().await;
            match NodeAgentClient::new(channel.clone()).health_check(to(node, ())).await {
                Ok(_) => done.fetch_add(1, Ordering::Relaxed),
                Err(status) => {
                    eprintln!("{node}: {status:?}");
                    failed.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    });
    calling
}

/// L9. Whole seconds of issue come from the certificates themselves.
#[tokio::test(flavor = "multi_thread")]
async fn short_lived_certificates_are_renewed_in_time_and_spread() {
    let (count, length) = (size(10, 100), Duration::from_secs(size(40, 600)));
    let cluster = Cluster::start_configured(SHORT).await;
    let fleet = cluster.nodes(count).await;
    let names: Vec<String> = fleet.nodes.iter().map(|(name, ..)| name.clone()).collect();
    let (failed, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let calling = call_all(&cluster, names, Duration::from_millis(20), failed.clone(), done.clone());
    let mut list = FleetClient::new(admin(&cluster));
    let (mut last, start) = (ends(&mut list).await, Instant::now());
    let (mut renewals, mut least_left) = (BTreeMap::<u64, usize>::new(), Duration::MAX);
    while start.elapsed() < length {
        sleep(Duration::from_millis(500)).await;
        let (now, next) = (SystemTime::now(), ends(&mut list).await);
        for (node, end) in &next {
            least_left = least_left.min(end.duration_since(now).unwrap_or_default());
            if last[node] != *end {
                let issued = *end - Duration::from_secs(20);
                *renewals.entry(issued.duration_since(UNIX_EPOCH).unwrap().as_secs()).or_default() += 1;
            }
        }
        last = next;
    }
    drop(calling);
    let total: usize = renewals.values().sum();
    // all of them joined at once: the first waves say nothing about a fleet
    let settled = renewals.keys().min().unwrap() + size(0, 60);
    let most = renewals.iter().filter(|(second, _)| **second >= settled).map(|(_, many)| *many).max().unwrap();
    let mean = total as f64 / length.as_secs_f64();
    let (done, failed) = (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    figure(format!("{count} nodes, lifetime 20 s, {length:?}: {total} renewals, {done} calls, {failed} failed"));
    figure(format!(
        "at least {least_left:?} were left on every certificate; mean {mean:.1} renewals a second, most {most}"
    ));
    assert_eq!(failed, 0);
    assert!(least_left > Duration::from_secs(4), "one was nearly over: {least_left:?}");
    assert!(total >= size(30, 5000), "{total}");
    if tests::is_full() {
        assert!(most as f64 <= 3.0 * mean, "not spread");
    }
    fleet.stop().await;
}

/// A stream through `client`; counts its messages, and its end as a failure.
async fn stream(mut client: NodeAgentClient<Channel>, node: &str, messages: Arc<AtomicU64>, failed: Arc<AtomicU64>) {
    let request = StreamMetricsRequest::default();
    let mut stream = client.stream_metrics(to(node, request)).await.unwrap().into_inner();
    while let Ok(Some(_)) = stream.message().await {
        messages.fetch_add(1, Ordering::Relaxed);
    }
    failed.fetch_add(1, Ordering::Relaxed);
}

/// S21: half of the streams and calls go through the controller, whose certificate rotates too, half straight to the node.
#[tokio::test(flavor = "multi_thread")]
async fn streams_and_calls_go_on_while_the_certificate_rotates() {
    const STREAMS: usize = 16;
    let rotations = size(2, 10);
    let cluster = Cluster::start_configured(SHORT).await;
    let fleet = cluster.nodes_with(1, &seen_by_anna()).await;
    let (failed, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let streamed: Vec<_> = (0..STREAMS).map(|_| Arc::new(AtomicU64::new(0))).collect();
    let mut background = JoinSet::new();
    let straight = direct(&cluster, &fleet, 0, "anna");
    let through = NodeAgentClient::new(admin(&cluster));
    for (number, messages) in streamed.iter().enumerate() {
        let client = if number % 2 == 0 { straight.clone() } else { through.clone() };
        background.spawn(stream(client, "sim-1", messages.clone(), ended.clone()));
    }
    let done = Arc::new(AtomicU64::new(0));
    for client in [straight, through] {
        let (failed, done) = (failed.clone(), done.clone());
        background.spawn(async move {
            let (mut ticks, mut calls) = (interval(Duration::from_millis(10)), JoinSet::new());
            loop {
                ticks.tick().await;
                while calls.try_join_next().is_some() {}
                let (mut client, failed, done) = (client.clone(), failed.clone(), done.clone());
                calls.spawn(async move {
                    match client.health_check(to("sim-1", ())).await {
                        Ok(_) => done.fetch_add(1, Ordering::Relaxed),
                        Err(status) => {
                            eprintln!("{status:?}");
                            failed.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                });
            }
        });
    }
    let (start, folder) = (Instant::now(), cluster.folder("nodes").join("sim-1"));
    let shown = || Credentials::load(&folder).unwrap().chain.remove(0);
    for _ in 0..rotations {
        let before = shown();
        eventually(async || shown() != before).await;
    }
    let at_rotation: Vec<u64> = streamed.iter().map(|messages| messages.load(Ordering::Relaxed)).collect();
    eventually(async || streamed.iter().zip(&at_rotation).all(|(now, then)| now.load(Ordering::Relaxed) > *then)).await;
    let (done, failed, ended) =
        (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed), ended.load(Ordering::Relaxed));
    let rate = done as f64 / start.elapsed().as_secs_f64();
    figure(format!(
        "{rotations} rotations in {:.0?}: {done} calls ({rate:.0}/s), {failed} failed; {STREAMS} streams, {ended} ended",
        start.elapsed()
    ));
    assert_eq!((failed, ended), (0, 0));
    // whoever connects now sees the certificate of now
    let mut anew = direct(&cluster, &fleet, 0, "anna");
    anew.health_check(()).await.unwrap();
    modes_hold(&folder);
    background.shutdown().await;
    fleet.stop().await;
}

/// S16: folders 0700, files 0600, nothing left over.
fn modes_hold(folder: &Path) {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(folder), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|it| it.path().is_file()) {
        assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    assert!(["identity.pem", "ca.pem", "clock"].iter().all(|name| names.iter().any(|it| it == name)), "{names:?}");
    assert!(!names.iter().any(|name| name == "join.key" || name.ends_with(".new")), "{names:?}");
}

/// Replaces the certificate in a node's folder by one of the same key, issued then.
fn age(cluster: &Cluster, folder: &Path, issued: SystemTime) -> SystemTime {
    let old = Credentials::load(folder).unwrap();
    let issuer = cluster.issuer();
    let key = PublicKey::from_certificate(&old.chain[0]).unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let leaf = issuer.issue(&key, &Identity::node(name), issued, Lifetime::NODE).unwrap();
    let end = leaf.not_after;
    let chain = vec![CertificateDer::from(leaf.der), old.chain[1].clone()];
    Credentials { chain, ..old }.store_pair(folder).unwrap();
    end
}

/// One node that joined and is stopped.
async fn stopped_node() -> (Cluster, std::path::PathBuf) {
    let cluster = Cluster::start().await;
    cluster.nodes(1).await.stop().await;
    let folder = cluster.folder("nodes").join("sim-1");
    (cluster, folder)
}

/// Starts it again on what its folder holds: there is no token to join with.
async fn start_again(cluster: &Cluster) -> Fleet {
    let used = cluster.token(1).await;
    let state = cluster.folder("nodes");
    pi_sim::up(1, &cluster.address.to_string(), &used, &state, &seen_by_anna()).await.unwrap()
}

fn not_after(folder: &Path) -> SystemTime {
    Validity::of(&Credentials::load(folder).unwrap().chain[0]).unwrap().not_after
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_off_past_its_expiry_comes_back_by_itself() {
    let (cluster, folder) = stopped_node().await;
    for ago in [8, 60, 96] {
        let end = age(&cluster, &folder, SystemTime::now() - DAY * ago);
        assert!(end < SystemTime::now());
        let started = Instant::now();
        let fleet = start_again(&cluster).await;
        eventually(async || not_after(&folder) > SystemTime::now() + DAY * 6).await;
        let agent = direct(&cluster, &fleet, 0, "anna");
        eventually(async || {
            // the certificate is stored a moment before it is shown
            let Ok(health) = agent.clone().health_check(()).await.map(tonic::Response::into_inner) else {
                return false;
            };
            health.conditions.iter().any(|it| it.r#type == "ControlPlane" && it.reason == "Reported")
        })
        .await;
        figure(format!("expired {} days ago: back after {:.1?}", ago - 7, started.elapsed()));
        // conditions are looked at every 10 s
        eventually(async || agent.clone().health_check(()).await.unwrap().into_inner().status == "OK").await;
        fleet.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_good_for_its_renewal_and_nothing_else() {
    let (cluster, folder) = stopped_node().await;
    age(&cluster, &folder, SystemTime::now() - DAY * 30);
    let expired = Credentials::load(&folder).unwrap();
    let channel = |credentials: &Credentials| {
        cluster.dialer(credentials).channel(&cluster.address.to_string(), Expect::Controller).unwrap()
    };
    let mut control = ControlPlaneClient::new(channel(&expired));
    let reported = control.report_health(proto::control::v1::HealthReport::default()).await.unwrap_err();
    let described = control.register_node(NodeRegistration::default()).await.unwrap_err();
    let watched = control.watch_trust(proto::control::v1::WatchTrustRequest::default()).await.unwrap_err();
    for refused in [reported, described, watched] {
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "CERTIFICATE_EXPIRED"));
    }
    let listed = FleetClient::new(channel(&expired)).list_nodes(ListNodesRequest::default()).await.unwrap_err();
    let called = NodeAgentClient::new(channel(&expired)).health_check(to("sim-1", ())).await.unwrap_err();
    for refused in [listed, called] {
        assert_eq!(refused.code(), Code::PermissionDenied);
    }

    // a key that was never the node's, under its name; one that was renewed since; and far too late
    let issuer = cluster.issuer();
    let stranger = cluster.credentials(&issuer, "node/sim-1", SystemTime::now() - DAY * 30);
    let ask = async |credentials: &Credentials| {
        let csr = Some(OwnKey::generate().unwrap().csr().unwrap());
        let asked = NodeRegistration { csr, ..NodeRegistration::default() };
        ControlPlaneClient::new(channel(credentials)).register_node(asked).await
    };
    assert_eq!(reason(&ask(&stranger).await.unwrap_err()), "SUPERSEDED");
    ask(&expired).await.unwrap();
    assert_eq!(reason(&ask(&expired).await.unwrap_err()), "SUPERSEDED", "its key was renewed just now");
    age(&cluster, &folder, SystemTime::now() - DAY * 98);
    let late = ask(&Credentials::load(&folder).unwrap()).await.unwrap_err();
    assert!(mtls::explain(&late).unwrap().contains("expired"), "{late:?}");

    // no other kind comes back at all
    for who in ["operator/admin", "controller/c1"] {
        let other = cluster.credentials(&issuer, who, SystemTime::now() - DAY * 30);
        let refused = ask(&other).await.unwrap_err();
        assert!(mtls::explain(&refused).unwrap().contains("expired"), "{refused:?}");
    }
    // and not as often as it likes
    let stranger = cluster.credentials(&issuer, "node/sim-1", SystemTime::now() - DAY * 30);
    let mut last = String::new();
    for _ in 0..6 {
        last = reason(&ask(&stranger).await.unwrap_err());
    }
    assert!(["TOO_OFTEN", "TOO_MANY_FAILURES"].contains(&last.as_str()), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_fails_shows_in_the_nodes_health() {
    let (cluster, folder) = stopped_node().await;
    age(&cluster, &folder, SystemTime::now() - DAY * 6);
    mtls::write_private(&folder.join("controller"), b"127.0.0.1:1").unwrap();
    let fleet = start_again(&cluster).await;
    let agent = direct(&cluster, &fleet, 0, "anna");
    eventually(async || {
        let health = agent.clone().health_check(()).await.unwrap().into_inner();
        let certificate = health.conditions.iter().find(|it| it.r#type == "Certificate");
        certificate.is_some_and(|it| {
            it.reason == "RenewalFails" && it.message.contains("expires in 23 hours; cannot renew it: ")
        }) && health.status == "DEGRADED"
    })
    .await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_does_not_come_back() {
    let (cluster, folder) = stopped_node().await;
    let said = cluster.pictl(&["node", "revoke", "sim-1", "--yes"]).await;
    assert_eq!(said.exit, pictl::Exit::Done, "{said:?}");
    age(&cluster, &folder, SystemTime::now() - DAY * 30);
    let csr = Some(OwnKey::generate().unwrap().csr().unwrap());
    let dialer = cluster.dialer(&Credentials::load(&folder).unwrap());
    let channel = dialer.channel(&cluster.address.to_string(), Expect::Controller).unwrap();
    let asked = NodeRegistration { csr, ..NodeRegistration::default() };
    let refused = ControlPlaneClient::new(channel).register_node(asked).await.unwrap_err();
    assert!(mtls::was_revoked(&refused), "{refused:?}");
}

/// The states of the folder between which a crash can come, one after the other, on one node.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_of_a_renewal_leaves_a_node_that_goes_on() {
    let (cluster, folder) = stopped_node().await;
    let pending = folder.join("renew.key");
    let halfway = SystemTime::now() - DAY * 5;
    let goes_on = async |step: &str| {
        let before = not_after(&folder);
        let fleet = start_again(&cluster).await;
        eventually(async || not_after(&folder) > before + DAY && !pending.exists()).await;
        let shown = cluster.pictl(&["node", "show", "sim-1"]).await;
        assert!(shown.out.contains("ready"), "{step}: {shown:?}");
        fleet.stop().await;
        let pair = Credentials::load(&folder).unwrap();
        OwnCertificate::new(&pair).unwrap();
        pair
    };

    // the key is stored, nothing was asked
    age(&cluster, &folder, halfway);
    let key = OwnKey::create(&pending).unwrap();
    assert!(key.is_of(&goes_on("asked nothing").await.chain[0]), "the key that was made is used");

    // asked, and the answer was lost
    age(&cluster, &folder, halfway);
    let key = OwnKey::create(&pending).unwrap();
    let old = Credentials::load(&folder).unwrap();
    let channel = cluster.dialer(&old).channel(&cluster.address.to_string(), Expect::Controller).unwrap();
    let asked = NodeRegistration { csr: Some(key.csr().unwrap()), ..NodeRegistration::default() };
    let lost = ControlPlaneClient::new(channel).register_node(asked).await.unwrap().into_inner();
    let found = goes_on("lost the answer").await;
    assert_eq!(found.chain[0].as_ref(), lost.certificate_chain[0], "the same certificate again");

    // while the pair is written, and after that, before the key is removed
    age(&cluster, &folder, halfway);
    OwnKey::create(&pending).unwrap();
    let half = folder.join("identity.new");
    std::fs::write(&half, "-----BEGIN PRIVATE KEY-----\nMIG").unwrap();
    std::fs::set_permissions(&half, Permissions::from_mode(0o600)).unwrap();
    goes_on("half a file").await;
    age(&cluster, &folder, halfway);
    let current = Credentials::load(&folder).unwrap();
    mtls::write_private(&pending, current.key_pem().as_bytes()).unwrap();
    let next = goes_on("stored").await;
    assert_ne!(next.key.secret_der(), current.key.secret_der(), "a new key each time");
}

/// Kills at random moments: no folder is ever without a pair that fits, and no node joins again, since the token has no
/// use left.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_killed_while_they_renew_go_on() {
    const NODES: usize = 20;
    let kills = size(4, 40);
    let mut random = fastrand::Rng::with_seed(seed());
    let cluster = Cluster::start_configured("[certificates]\nnode = '10s'\n").await;
    let token = cluster.folder("token");
    mtls::write_private(&token, cluster.token(u32::try_from(NODES).unwrap()).await.to_text().as_bytes()).unwrap();
    let (address, state) = (cluster.address.to_string(), cluster.folder("nodes").display().to_string());
    let (count, token) = (NODES.to_string(), token.display().to_string());
    let arguments = ["up", "--nodes", &count, "--controller", &address, "--token", &token, "--state", &state];
    let start = || Running::start("pi-sim", &arguments);
    let folders: Vec<_> = (1..=NODES).map(|node| cluster.folder("nodes").join(format!("sim-{node}"))).collect();
    let pairs = || folders.iter().map(|folder| Credentials::load(folder).unwrap()).collect::<Vec<_>>();
    let mut list = FleetClient::new(admin(&cluster));
    let mut nodes = start();
    eventually(async || folders.iter().all(|folder| Credentials::exist(folder))).await;
    let mut renewed = 0;
    for _ in 0..kills {
        let before = ends(&mut list.clone()).await;
        eventually(async || {
            ends(&mut list.clone()).await.iter().filter(|(node, end)| before[*node] != **end).count() >= NODES / 2
        })
        .await;
        sleep(Duration::from_millis(random.u64(0..1000))).await;
        nodes.0.kill().await.unwrap();
        for pair in pairs() {
            OwnCertificate::new(&pair).unwrap();
        }
        renewed += ends(&mut list).await.iter().filter(|(node, end)| before[*node] != **end).count();
        nodes = start();
    }
    eventually(async || {
        ends(&mut list.clone()).await.values().all(|end| *end > SystemTime::now() + Duration::from_secs(4))
    })
    .await;
    figure(format!(
        "{kills} kills of {NODES} nodes that renew every 5 s, {renewed} renewals: every pair fitted, all go on"
    ));
}
