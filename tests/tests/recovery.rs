//! S23: the CA key is lost. Everything runs on, the status says for how long, and the recovery key brings issuing back
//! without a visit to any node.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::SystemTime;

use mtls::{Context, Credentials, Expect, OwnKey};
use pi_controller::{OpenClusterError, Passphrase, RecoverError, SealError, init, recover};
use pictl::Exit;
use proto::control::v1::NodeRegistration;
use proto::control::v1::control_plane_client::ControlPlaneClient;
use serde_json::Value;
use tests::{Cluster, Member, eventually, figure, size};
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
async fn renew(cluster: &Cluster, member: &Member) -> Result<(), Status> {
    let credentials = Credentials::load(&cluster.folder(&format!("member-{}", member.name))).unwrap();
    let channel = cluster.dialer(&credentials).channel(&cluster.address.to_string(), Expect::Controller).unwrap();
    let csr = Some(OwnKey::generate().unwrap().csr().unwrap());
    let registration = NodeRegistration { csr, endpoints: vec![member.address.to_string()], ..Default::default() };
    ControlPlaneClient::new(channel).register_node(registration).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_ca_key_a_cluster_runs_on_and_the_recovery_key_brings_it_back() {
    let mut cluster = Cluster::start().await;
    let count = size(3, 30);
    let token = cluster.token(count + 1).await;
    let mut members = Vec::new();
    for number in 1..=count {
        members.push(Member::join(&cluster, &token, &format!("m-{number}")).await);
    }
    lose_the_key(&cluster);
    let said = cluster.pictl(&["ca", "status"]).await.out;
    assert!(
        said.contains("in memory only") && said.contains("a restart of the controller would lose the key"),
        "{said}"
    );

    cluster.restart().await;
    // everybody works, nothing is issued
    let asked = async |cluster: &Cluster, member: &Member| {
        let admin = Context::load(&cluster.admin()).unwrap();
        let controller = admin.dialer().unwrap().channel(&cluster.address.to_string(), Expect::Controller).unwrap();
        member.ask(controller).await
    };
    for member in &members {
        eventually(async || asked(&cluster, member).await.is_ok()).await;
    }
    let refused = renew(&cluster, &members[0]).await.unwrap_err();
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
    for member in &members {
        eventually(async || asked(&cluster, member).await.is_ok()).await;
    }
    let back = began.elapsed();
    renew(&cluster, &members[0]).await.unwrap();
    let after = status(&cluster).await;
    assert_eq!(after["rotation"], "ROTATION_STATE_ACTIVATED");
    assert_eq!(after["roots"][0]["key"], "KEY_STATE_PRESENT");

    // and the lost root goes, as at the end of any rotation
    assert_eq!(cluster.pictl(&["ca", "rotate", "taint"]).await.exit, Exit::Done);
    eventually(async || status(&cluster).await["lagging_count"] == 0).await;
    let admin = cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now());
    Context::store(&cluster.admin(), &cluster.address.to_string(), &admin).unwrap();
    let said = cluster.pictl(&["ca", "rotate", "revoke"]).await;
    assert_eq!(said.exit, Exit::Done, "{said:?}");
    for member in &members {
        eventually(async || asked(&cluster, member).await.is_ok()).await;
    }
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
