//! S23: the CA key is lost. Everything runs on, the status says for how long, and the recovery key brings issuing back
//! without a visit to any node.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::SystemTime;

use mtls::{Context, Credentials, OwnKey};
use pi_controller::{OpenClusterError, Passphrase, RecoverError, SealError, init, recover};
use pictl::Exit;
use proto::control::v1::NodeRegistration;
use proto::control::v1::control_plane_client::ControlPlaneClient;
use serde_json::Value;
use tests::{Cluster, eventually, figure, size};
use tonic::{Code, Status};

async fn status(cluster: &Cluster) -> Value {
    serde_json::from_str(&cluster.pictl(&["ca", "status", "-o", "json"]).await.out).unwrap()
}

fn lose_the_key(cluster: &Cluster) {
    let folder = cluster.controller_state().join("ca");
    let keys: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(keys.len(), 1);
    std::fs::remove_file(&keys[0]).unwrap();
}

/// The node asks for another certificate.
async fn renew(cluster: &Cluster, node: &str) -> Result<(), Status> {
    let credentials = Credentials::load(&cluster.folder("nodes").join(node)).unwrap();
    let csr = Some(OwnKey::generate().unwrap().csr().unwrap());
    let registration = NodeRegistration { csr, ..Default::default() };
    ControlPlaneClient::new(cluster.channel(&credentials)).register_node(registration).await.map(drop)
}

/// A node that does not run: what it would ask, the test asks.
async fn join_another(cluster: &Cluster) {
    let (token, state) = (cluster.token(1).await, cluster.folder("nodes").join("other"));
    pi_agent::join(&token, &cluster.address.to_string(), "other", Default::default(), &state).await.unwrap();
}

/// Whether each node answers, through the controller.
async fn all_answer(cluster: &Cluster, count: usize) {
    for number in 1..=count {
        let name = format!("sim-{number}");
        eventually(async || cluster.pictl(&["health", &name]).await.exit == Exit::Done).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_ca_key_a_cluster_runs_on_and_the_recovery_key_brings_it_back() {
    let mut cluster = Cluster::start().await;
    let count = size(3, 30);
    let _fleet = cluster.nodes(count).await;
    join_another(&cluster).await;
    lose_the_key(&cluster);
    let said = cluster.pictl(&["ca", "status"]).await.out;
    assert!(
        said.contains("in memory only") && said.contains("a restart of the controller would lose the key"),
        "{said}"
    );

    cluster.restart().await;
    // everybody works, nothing is issued
    all_answer(&cluster, count).await;
    let refused = renew(&cluster, "other").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("restore the CA key from a backup, or make a new one"), "{refused:?}");
    let said = cluster.pictl(&["ca", "status"]).await.out;
    assert!(said.contains("the CA key is gone") && said.contains("pi-controller ca recover"), "{said}");
    let days = said.lines().find_map(|line| line.strip_prefix("first certificate ends").map(str::trim)).unwrap();
    assert!(days.starts_with("in 6d 23h") || days.starts_with("in 7d"), "{days}");
    assert_eq!(cluster.pictl(&["ca", "rotate", "prepare"]).await.exit, Exit::Conflict);

    // the drill: stop, recover, start
    let (sealed, passphrase) = cluster.recovery();
    let (state, passphrase) = (cluster.controller_state(), passphrase.clone());
    let running = recover(&state, &sealed, &passphrase).unwrap_err();
    assert!(matches!(running, RecoverError::Open(OpenClusterError::Running(_))), "{running}");
    cluster.stop().await;
    let wrong = recover(&state, &sealed, &Passphrase::draw().unwrap()).unwrap_err();
    assert!(matches!(wrong, RecoverError::Seal(_, SealError::Passphrase)), "{wrong}");
    assert_eq!(std::fs::read_dir(state.join("ca")).unwrap().count(), 0, "nothing was written");
    let began = std::time::Instant::now();
    recover(&state, &sealed, &passphrase).unwrap();
    cluster.resume().await;

    // nobody was visited: the nodes, and a context, that know the roots of before believe the new one
    all_answer(&cluster, count).await;
    let back = began.elapsed();
    renew(&cluster, "other").await.unwrap();
    let after = status(&cluster).await;
    assert_eq!(after["rotation"], "ROTATION_STATE_ACTIVATED");
    assert_eq!(after["roots"][0]["key"], "KEY_STATE_PRESENT");

    // and the lost root goes, as at the end of any rotation
    assert_eq!(cluster.pictl(&["ca", "rotate", "taint"]).await.exit, Exit::Done);
    // all that run: the other one would be shut out
    eventually(async || status(&cluster).await["lagging_count"] == 1).await;
    let admin = cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now());
    Context::store(&cluster.admin(), &cluster.address.to_string(), &admin).unwrap();
    let said = cluster.pictl(&["ca", "rotate", "revoke", "--force"]).await;
    assert_eq!(said.exit, Exit::Done, "{said:?}");
    all_answer(&cluster, count).await;
    figure(format!("{count} nodes back {:.2} s after recover began, 0 visits", back.as_secs_f64()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recovery_key_of_another_cluster_is_refused() {
    let mut cluster = Cluster::start().await;
    let other = cluster.folder("other");
    let made = init(&other, Some("orchard"), cluster.address, "other:7443").unwrap();
    cluster.stop().await;
    let before = cluster.authority();
    let refused = recover(&cluster.controller_state(), &made.recovery, &made.recovery_passphrase.unwrap());
    let refused = refused.unwrap_err();
    assert!(matches!(refused, RecoverError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("use the recovery key of this cluster"), "{refused}");
    assert_eq!(cluster.authority(), before);
    assert_eq!(std::fs::read_dir(cluster.controller_state().join("ca")).unwrap().count(), 1, "no key was left");
    cluster.resume().await;
}
