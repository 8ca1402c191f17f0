//! Who is let in, who is not, and what both sides are told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use control_lib::Issuer;
use mtls::{Credentials, Expect, JoinToken};
use pi_agent::{JoinError, join};
use pictl::Exit;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::control::v1::control_plane_client::ControlPlaneClient;
use proto::control::v1::{HealthReport, Inventory};
use proto::fleet::v1::ListNodesRequest;
use proto::fleet::v1::fleet_client::FleetClient;
use tests::Cluster;
use tonic::Code;

/// What `pictl node list` says with these credentials.
async fn turned_away(cluster: &Cluster, credentials: &Credentials) -> String {
    let context = cluster.context("other.toml", credentials);
    let said = cluster.pictl_as(&context, &["node", "list"]).await;
    assert_eq!((said.exit, said.out.as_str()), (Exit::Unreachable, ""), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    said.err
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca_is_refused() {
    let cluster = Cluster::start().await;
    let foreign = Issuer::create(cluster.issuer().cluster(), SystemTime::now()).unwrap();
    let admin = cluster.credentials(&foreign, "operator/admin", SystemTime::now());
    let said = turned_away(&cluster, &admin).await;
    assert!(said.contains("another CA issued it"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused() {
    let cluster = Cluster::start().await;
    let long_ago = SystemTime::now() - Duration::from_secs(30 * 24 * 60 * 60);
    let admin = cluster.credentials(&cluster.issuer(), "operator/admin", long_ago);
    let said = turned_away(&cluster, &admin).await;
    assert!(said.contains("it has expired"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_ca_is_not_talked_to() {
    let cluster = Cluster::start().await;
    let foreign = Issuer::create(cluster.issuer().cluster(), SystemTime::now()).unwrap();
    let mut admin = cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now());
    admin.roots = vec![mtls::CertificateDer::from(foreign.certificate_der().to_vec())];
    let said = turned_away(&cluster, &admin).await;
    assert!(said.contains("not of this cluster"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_known_by_its_identity_and_not_by_its_address() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    let admin = cluster.credentials(&cluster.issuer(), "operator/admin", SystemTime::now());
    let address = fleet.nodes[0].1.to_string();
    let channel = cluster.dialer(&admin).channel(&address, Expect::Node("sim-2".to_owned())).unwrap();
    let refused = NodeAgentClient::new(channel).health_check(()).await.unwrap_err();
    assert!(mtls::explain(&refused).unwrap().contains("the other end is node/sim-1"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_certificate_is_good_for_its_own_calls_only() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    let (name, address, _) = &fleet.nodes[0];
    let issuer = cluster.issuer();
    let channel = |who: &str, address: &str, expect| {
        let credentials = cluster.credentials(&issuer, who, SystemTime::now());
        cluster.dialer(&credentials).channel(address, expect).unwrap()
    };
    let controller = cluster.address.to_string();
    let list = ListNodesRequest::default;

    // a node on the fleet API; an operator whom nobody added; an operator who reports as a node
    for who in ["node/sim-1", "operator/mallory"] {
        let mut fleet = FleetClient::new(channel(who, &controller, Expect::Controller));
        assert_eq!(fleet.list_nodes(list()).await.unwrap_err().code(), Code::PermissionDenied, "{who}");
    }
    let mut control = ControlPlaneClient::new(channel("operator/admin", &controller, Expect::Controller));
    let refused = control.report_health(HealthReport::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");

    // straight to an agent: another node, an operator whom it does not list, a controller
    let node = || Expect::Node(name.clone());
    for (who, code) in [("node/sim-2", Code::PermissionDenied), ("operator/admin", Code::PermissionDenied)] {
        let mut agent = NodeAgentClient::new(channel(who, &address.to_string(), node()));
        assert_eq!(agent.health_check(()).await.unwrap_err().code(), code, "{who}");
    }
    let mut agent = NodeAgentClient::new(channel("controller/c2", &address.to_string(), node()));
    assert_eq!(agent.health_check(()).await.unwrap().into_inner().status, "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_cannot_say_for_whom_it_calls() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let admin = mtls::Context::load(&cluster.admin()).unwrap();
    let channel = admin.dialer().unwrap().channel(&admin.controller, Expect::Controller).unwrap();
    let mut write =
        tonic::Request::new(proto::agent::v1::GpioRequest { pin: Some(18), state: 2, ..Default::default() });
    write.metadata_mut().insert("pi-node", "sim-1".parse().unwrap());
    write.metadata_mut().insert("pi-on-behalf-of", "operator/root".parse().unwrap());
    NodeAgentClient::new(channel).control_gpio(write).await.unwrap();
    let list = cluster.pictl(&["gpio", "list", "sim-1"]).await.out;
    assert!(list.contains("operator/admin") && !list.contains("operator/root"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_one_key_in_and_that_key_again() {
    let cluster = Cluster::start().await;
    let token = cluster.token(1).await;
    let address = cluster.address.to_string();
    let ask = async |folder: &str, name: &str| {
        join(&token, &address, name, Inventory::default(), &cluster.folder(folder)).await
    };
    assert_eq!(ask("a", "pi-1").await.unwrap().node, "pi-1");

    // another key is denied, whatever name it wishes for
    for name in ["pi-1", "pi-2"] {
        let refused = ask("b", name).await.unwrap_err();
        let JoinError::Refused(why) = &refused else { panic!("{refused:?}") };
        assert!(why.contains("used up"), "{why}");
    }
    // the same key again, as after a lost answer, is the same node
    let lost = cluster.folder("c");
    mtls::create_private_dir(&lost).unwrap();
    std::fs::copy(cluster.folder("a").join("identity.pem"), lost.join("join.key")).unwrap();
    assert_eq!(ask("c", "pi-1").await.unwrap().node, "pi-1");
    let certificate = |folder: &str| std::fs::read(cluster.folder(folder).join("identity.pem")).unwrap();
    assert_eq!(certificate("a"), certificate("c"));
    assert_eq!(cluster.pictl(&["node", "list"]).await.out.matches("pi-").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_token_stays_used_after_a_restart() {
    let mut cluster = Cluster::start().await;
    let token = cluster.token(1).await;
    let address = cluster.address.to_string();
    join(&token, &address, "pi-1", Inventory::default(), &cluster.folder("a")).await.unwrap();
    cluster.restart().await;
    let refused = join(&token, &address, "pi-2", Inventory::default(), &cluster.folder("b")).await.unwrap_err();
    assert!(refused.to_string().contains("used up"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_or_altered_token_is_refused() {
    let cluster = Cluster::start().await;
    let token = cluster.token(1).await;
    let address = cluster.address.to_string();
    let ask = async |token: &JoinToken| {
        join(token, &address, "pi-1", Inventory::default(), &cluster.folder("a")).await.unwrap_err().to_string()
    };
    // another secret, as if guessed
    let guessed = JoinToken::new("lab", token.ca_pin(), token.id(), JoinToken::new_seed().unwrap()).unwrap();
    let said = ask(&guessed).await;
    assert!(said.contains("cannot join through 127.0.0.1:") && said.contains("refused"), "{said}");
    // another CA: the joining machine is the one that refuses
    let text = token.to_text();
    let seed: Vec<&str> = text.split('.').collect();
    assert_eq!(seed.len(), 6);
    let elsewhere = JoinToken::new("lab", [7; 32], token.id(), JoinToken::new_seed().unwrap()).unwrap();
    let said = ask(&elsewhere).await;
    assert!(said.contains("the CA is not the one that the join token names"), "{said}");
    // the real one still works: nothing was lost
    join(&token, &address, "pi-1", Inventory::default(), &cluster.folder("a")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_joining_and_nothing_else() {
    let cluster = Cluster::start().await;
    let token = cluster.token(1).await;
    let own = mtls::OwnCertificate::new(&token.credentials().unwrap()).unwrap();
    let dialer = mtls::Dialer::joining(own, &token);
    let channel = || dialer.channel(&cluster.address.to_string(), Expect::Controller).unwrap();
    let list = FleetClient::new(channel()).list_nodes(ListNodesRequest::default()).await.unwrap_err();
    let report = ControlPlaneClient::new(channel()).report_health(HealthReport::default()).await.unwrap_err();
    let node = NodeAgentClient::new(channel()).health_check(()).await.unwrap_err();
    for refused in [list, report, node] {
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    }
}
