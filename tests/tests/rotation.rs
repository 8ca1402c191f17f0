//! S22: from one root to the next and back under load, step by step; who is waited for, and who is refused after.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use mtls::{Context, Credentials, Dialer, Expect, JoinToken, OwnCertificate, Trust};
use pi_agent::JoinError;
use pictl::Exit;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use serde_json::Value;
use tests::{Cluster, Said, Sorted, eventually, figure, size};
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::transport::Channel;
use tonic::{Request, Status};

const CALLS_PER_SECOND: u64 = 200;
/// Every so many calls, one over a connection of its own: its handshake meets the roots of the moment.
const NEW_CONNECTION: u64 = 10;
/// Calls under way: a busy machine makes fewer calls, not late ones.
const AT_ONCE: usize = 32;

async fn rotate(cluster: &Cluster, step: &str) -> Said {
    cluster.pictl(&["ca", "rotate", step]).await
}

async fn step(cluster: &Cluster, step: &str) {
    let said = rotate(cluster, step).await;
    assert_eq!(said.exit, Exit::Done, "{step}: {said:?}");
}

async fn status(cluster: &Cluster) -> Value {
    serde_json::from_str(&cluster.pictl(&["ca", "status", "-o", "json"]).await.out).unwrap()
}

async fn nobody_lags(cluster: &Cluster) {
    eventually(async || status(cluster).await["lagging_count"] == 0).await;
}

/// The first operator gets a certificate of the root that signs now, as `pictl operator renew` would.
fn renew_admin(cluster: &Cluster) {
    let credentials = cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now());
    Context::store(&cluster.admin(), &cluster.address.to_string(), &credentials).unwrap();
}

/// Asks the node whether it is there, through the controller.
async fn ask(channel: Channel, node: &str) -> Result<(), Status> {
    let mut request = Request::new(());
    request.set_timeout(Duration::from_secs(10));
    request.metadata_mut().insert("pi-node", node.parse().unwrap());
    NodeAgentClient::new(channel).health_check(request).await.map(drop)
}

/// Joins a machine whose agent does not run.
async fn join(cluster: &Cluster, token: &JoinToken, name: &str) -> Result<(), JoinError> {
    let (controller, state) = (cluster.address.to_string(), cluster.folder(name));
    pi_agent::join(token, &controller, name, Default::default(), &state).await.map(drop)
}

/// Calls that run while everything else happens; none may fail.
struct Load {
    own: Arc<OwnCertificate>,
    trust: Arc<Trust>,
    /// Rises with each certificate.
    renewals: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    running: JoinSet<(u64, Vec<Duration>, Vec<String>)>,
}

impl Load {
    fn start(cluster: &Cluster, nodes: usize) -> Self {
        let credentials = cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now());
        let own = OwnCertificate::new(&credentials).unwrap();
        let trust = Trust::new("lab", &credentials.roots).unwrap();
        let (stop, mut running) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let renewals = Arc::new(AtomicU32::new(0));
        let dialer = Dialer::new(own.clone(), trust.clone());
        running.spawn(calls(dialer, cluster.address.to_string(), nodes, renewals.clone(), stop.clone()));
        Self { own, trust, renewals, stop, running }
    }

    /// As an operator's context is renewed: the next command has the new certificate.
    fn renew(&self, cluster: &Cluster) {
        let credentials = cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now());
        self.trust.replace(&credentials.roots).unwrap();
        self.own.replace(&credentials).unwrap();
        self.renewals.fetch_add(1, Ordering::Relaxed);
    }

    async fn end(mut self) -> (u64, Vec<Duration>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join_next().await.unwrap().unwrap()
    }
}

async fn calls(
    dialer: Dialer,
    controller: String,
    nodes: usize,
    renewals: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
) -> (u64, Vec<Duration>, Vec<String>) {
    let connect = || dialer.channel(&controller, Expect::Controller).unwrap();
    let (mut kept, mut seen) = (connect(), 0);
    let (took, failed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (mut ticks, mut sent, mut running) =
        (interval(Duration::from_millis(1000 / CALLS_PER_SECOND)), 0, JoinSet::new());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        if renewals.load(Ordering::Relaxed) != seen {
            (kept, seen) = (connect(), renewals.load(Ordering::Relaxed));
        }
        let channel = if sent % NEW_CONNECTION == 0 { connect() } else { kept.clone() };
        while running.try_join_next().is_some() {}
        let (took, failed, node) = (took.clone(), failed.clone(), format!("sim-{}", sent as usize % nodes + 1));
        running.spawn(async move {
            let began = Instant::now();
            match ask(channel, &node).await {
                Ok(()) => took.lock().await.push(began.elapsed()),
                Err(status) => failed.lock().await.push(format!("{node}: {status:?}")),
            }
        });
        sent += 1;
        while running.len() >= AT_ONCE {
            running.join_next().await;
        }
    }
    while running.join_next().await.is_some() {}
    let (took, failed) = (std::mem::take(&mut *took.lock().await), std::mem::take(&mut *failed.lock().await));
    (sent, took, failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_there_and_back_under_load_fails_no_call() {
    let cluster = Cluster::start().await;
    let count = size(10, 100);
    let fleet = cluster.nodes(count).await;
    let old = cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now());
    let load = Load::start(&cluster, count);
    let began = Instant::now();

    // three steps on and three back
    for to in ["prepare", "activate", "taint"] {
        step(&cluster, to).await;
    }
    nobody_lags(&cluster).await;
    for to in ["back", "back"] {
        step(&cluster, to).await;
    }
    nobody_lags(&cluster).await;
    step(&cluster, "back").await;

    // all the way to another root, and then to a third: there is no other way back from the last step
    for round in ["there", "back"] {
        for to in ["prepare", "activate", "taint"] {
            step(&cluster, to).await;
        }
        nobody_lags(&cluster).await;
        let said = rotate(&cluster, "revoke").await;
        assert_eq!(said.exit, Exit::Conflict, "{round}: {said:?}");
        assert!(said.err.contains("your own certificate is from the root that would go"), "{said:?}");
        renew_admin(&cluster);
        load.renew(&cluster);
        step(&cluster, "revoke").await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await; // calls on what is left
    let lasted = began.elapsed();
    let (sent, took, failed) = load.end().await;
    assert!(failed.is_empty(), "{} of {sent} calls failed, such as {}", failed.len(), failed[0]);
    figure(format!(
        "{count} nodes, 12 steps and 2 revocations in {:.1} s; {sent} calls ({:.0}/s), 0 failed; {}",
        lasted.as_secs_f64(),
        sent as f64 / lasted.as_secs_f64(),
        Sorted::new(took),
    ));

    // who shows the first root's certificate is not let in any more
    let context = cluster.context("old.toml", &old);
    let said = cluster.pictl_as(&context, &["node", "list"]).await;
    assert_eq!(said.exit, Exit::Unreachable);
    assert!(said.err.contains("not of this cluster") || said.err.contains("another CA issued it"), "{said:?}");
    let mut with_new_roots = old;
    with_new_roots.roots = cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now()).roots;
    let context = cluster.context("old.toml", &with_new_roots);
    let said = cluster.pictl_as(&context, &["node", "list"]).await;
    assert!(said.err.contains("another CA issued it"), "{said:?}");
    fleet.stop().await;
}

/// Also the control for the above: a node that does not follow is seen, waited for, and shut out if force is used.
#[tokio::test(flavor = "multi_thread")]
async fn revoke_waits_for_a_node_that_lags_unless_forced() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    join(&cluster, &cluster.token(1).await, "slow").await.unwrap();
    for to in ["prepare", "activate", "taint"] {
        step(&cluster, to).await;
    }
    eventually(async || status(&cluster).await["lagging_count"] == 1).await;
    let lagging = status(&cluster).await["lagging"][0].clone();
    assert_eq!((lagging["id"].as_str(), lagging["is_live"].as_bool()), (Some("slow"), Some(true)));
    renew_admin(&cluster);
    let said = rotate(&cluster, "revoke").await;
    assert_eq!(said.exit, Exit::Conflict);
    assert!(said.err.contains("wait for node/slow, or use force"), "{said:?}");

    // it is let in all the while, by the old certificate
    let slow = Credentials::load(&cluster.folder("slow")).unwrap();
    let connect = async |credentials: Credentials| {
        let dialer = cluster.dialer(&credentials);
        dialer.connect(&cluster.address.to_string(), Expect::Controller).await.map(drop)
    };
    connect(slow).await.unwrap();

    let said = cluster.pictl(&["ca", "rotate", "revoke", "--force"]).await;
    assert_eq!(said.exit, Exit::Done, "{said:?}");
    ask(cluster.admin_channel(), "sim-1").await.unwrap();
    let new_roots = cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now()).roots;
    let slow = Credentials::load(&cluster.folder("slow")).unwrap();
    let refused = connect(Credentials { roots: new_roots, ..slow }).await.unwrap_err();
    assert!(mtls::explain(&refused).unwrap().contains("another CA issued it"), "{refused:?}");
}

/// A token pins the root that signed when it was made. It is good until that root is revoked; a new one after.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_before_work_until_the_old_root_is_revoked() {
    let cluster = Cluster::start().await;
    let token = cluster.token(10).await;
    join(&cluster, &token, "m-0").await.unwrap();
    for (number, to) in ["prepare", "activate", "taint"].into_iter().enumerate() {
        step(&cluster, to).await;
        join(&cluster, &token, &format!("m-{}", number + 1)).await.unwrap();
    }
    let new_token = cluster.token(10).await;
    join(&cluster, &new_token, "m-4").await.unwrap();
    // a token of the new root survives stepping back to the old one
    for to in ["back", "back"] {
        step(&cluster, to).await;
    }
    join(&cluster, &new_token, "m-5").await.unwrap();
    for to in ["activate", "taint"] {
        step(&cluster, to).await;
    }
    renew_admin(&cluster);
    let said = cluster.pictl(&["ca", "rotate", "revoke", "--force"]).await;
    assert_eq!(said.exit, Exit::Done, "{said:?}");
    let refused = join(&cluster, &token, "m-6").await.unwrap_err().to_string();
    assert!(refused.contains("the CA is not the one that the join token names"), "{refused}");
    join(&cluster, &new_token, "m-7").await.unwrap();
}

/// Who is connected with a certificate of the old root does not stay so when that is revoked; calls may end before.
#[tokio::test(flavor = "multi_thread")]
async fn revoke_ends_what_is_connected_by_the_old_root() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    let old = cluster.dialer(&cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now()));
    let mut connection = old.connect(&cluster.address.to_string(), Expect::Controller).await.unwrap();
    // a controller's connection to the node, by the old root too
    let controller = cluster.credentials(&cluster.issuer(), "controller/c2", SystemTime::now());
    let node = Expect::Node("sim-1".to_owned());
    let mut to_node = cluster.dialer(&controller).connect(&fleet.nodes[0].1.to_string(), node).await.unwrap();
    for to in ["prepare", "activate", "taint"] {
        step(&cluster, to).await;
    }
    nobody_lags(&cluster).await;
    renew_admin(&cluster);
    step(&cluster, "revoke").await;
    let began = Instant::now();
    let ended = async |connection: &mut (dyn tokio::io::AsyncRead + Send + Unpin)| {
        let mut rest = Vec::new();
        // however it ends: the server's settings come first
        drop(connection.read_to_end(&mut rest).await);
    };
    let both = async {
        ended(&mut connection).await;
        ended(&mut to_node).await;
    };
    tokio::time::timeout(Duration::from_secs(5), both).await.expect("both were ended");
    figure(format!("connections by the old root ended {:.2} s after its revocation", began.elapsed().as_secs_f64()));
}

/// An operator's context that slept through the rotation finds its way while the old root is believed, and is brought up to
/// date by its first command.
#[tokio::test(flavor = "multi_thread")]
async fn a_context_of_before_is_brought_up_to_date() {
    let cluster = Cluster::start().await;
    let bob = cluster.context("bob.toml", &cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now()));
    for to in ["prepare", "activate"] {
        step(&cluster, to).await;
    }
    assert_eq!(Context::load(&bob).unwrap().credentials.roots.len(), 2);
    // younger than an hour: nobody is asked
    assert_eq!(cluster.pictl_as(&bob, &["node", "list"]).await.exit, Exit::Done);
    assert_eq!(Context::load(&bob).unwrap().credentials.roots.len(), 2);
    let long_ago = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    std::fs::File::options().append(true).open(&bob).unwrap().set_modified(long_ago).unwrap();
    let said = cluster.pictl_as(&bob, &["node", "list"]).await;
    assert_eq!((said.exit, said.err.as_str()), (Exit::Done, ""));
    assert_eq!(Context::load(&bob).unwrap().credentials.roots.len(), 3);

    step(&cluster, "taint").await;
    let said = cluster.pictl_as(&bob, &["ca", "status"]).await;
    assert!(said.err.contains("your certificate is from a root on its way out"), "{said:?}");
}

/// A crash between the key's file and the commit leaves a key of no root, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_its_root_harms_nobody() {
    let mut cluster = Cluster::start().await;
    cluster.stop().await;
    let stray = cluster.controller_state().join("ca").join("0123456789abcdef.key.pem");
    mtls::write_private(&stray, b"half a key").unwrap();
    cluster.resume().await;
    step(&cluster, "prepare").await;
    cluster.restart().await;
    assert_eq!(status(&cluster).await["rotation"], "ROTATION_STATE_PREPARED");
    step(&cluster, "back").await;
    assert_eq!(status(&cluster).await["rotation"], "ROTATION_STATE_STEADY");
    let keys = std::fs::read_dir(cluster.controller_state().join("ca")).unwrap().count();
    assert_eq!(keys, 2, "the signing one and the stray one: that of the step taken back is gone");
}

/// The controller is stopped after each step: what was answered is what it starts with, and it goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_goes_on_after_a_restart_at_each_step() {
    let mut cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    for to in ["prepare", "activate", "taint", "revoke"] {
        if to == "revoke" {
            nobody_lags(&cluster).await;
            renew_admin(&cluster);
        }
        step(&cluster, to).await;
        let before = status(&cluster).await["roots"].clone();
        cluster.restart().await;
        assert_eq!(status(&cluster).await["roots"], before, "{to}");
    }
    eventually(async || ask(cluster.admin_channel(), "sim-1").await.is_ok()).await;
}
