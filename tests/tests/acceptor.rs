//! The acceptor's limits, and what can be replaced while it serves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_lib::Issuer;
use mtls::{Acceptor, Cause, CertificateDer, Credentials, Dialer, Expect, Limits, OwnCertificate, Trust};
use proto::fleet::v1::ListNodesRequest;
use proto::fleet::v1::fleet_client::FleetClient;
use tests::{ATTACKER, Cluster, eventually};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_stream::StreamExt;
use tonic::Code;

/// A server with an identity, on a free port.
struct Server {
    address: SocketAddr,
    own: Arc<OwnCertificate>,
    trust: Arc<Trust>,
    acceptor: Acceptor,
    listener: TcpListener,
}

async fn listen(credentials: &Credentials, limits: Limits) -> Server {
    let own = OwnCertificate::new(credentials).unwrap();
    let trust = Trust::new("lab", &credentials.roots).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor::new(own.clone(), trust.clone(), None, limits).unwrap();
    Server { address, own, trust, acceptor, listener }
}

/// Calls once; there is no service behind, so a call that gets through is unimplemented or cut off, and one that does
/// not is told why.
async fn call(dialer: &Dialer, address: SocketAddr) -> tonic::Status {
    let channel = dialer.channel(&address.to_string(), Expect::Controller).unwrap();
    FleetClient::new(channel).list_nodes(ListNodesRequest::default()).await.unwrap_err()
}

#[tokio::test]
async fn a_silent_connection_is_ended_when_the_handshake_takes_too_long() {
    let cluster = Cluster::start().await;
    let limits = Limits { handshake_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = listen(&cluster.credentials(&cluster.issuer(), "controller/c1", SystemTime::now()), limits).await;
    let _incoming = server.acceptor.incoming(server.listener);
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0, "the server closes");
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_one_to_end() {
    let cluster = Cluster::start().await;
    let own = cluster.credentials(&cluster.issuer(), "controller/c1", SystemTime::now());
    let server = listen(&own, Limits { connections: 1, ..Limits::default() }).await;
    let mut incoming = server.acceptor.incoming(server.listener);
    let dialer = cluster.dialer(&own);
    let calls: Vec<_> = (0..2).map(|_| (dialer.clone(), server.address)).collect();
    for (dialer, address) in calls {
        tokio::spawn(async move { call(&dialer, address).await });
    }
    let first = incoming.next().await.unwrap().unwrap();
    let second = tokio::time::timeout(Duration::from_millis(200), incoming.next()).await;
    assert!(second.is_err(), "the second came in beside the first");
    drop(first);
    incoming.next().await.unwrap().unwrap();
}

#[tokio::test]
async fn certificate_and_trust_are_replaced_while_serving() {
    let cluster = Cluster::start().await;
    let (issuer, now) = (cluster.issuer(), SystemTime::now());
    let of = |issuer: &Issuer, who: &str| {
        let mut credentials = cluster.credentials(issuer, who, now);
        credentials.roots = vec![CertificateDer::from(issuer.certificate_der().to_vec())];
        credentials
    };
    let server = listen(&of(&issuer, "controller/c1"), Limits::default()).await;
    let Server { address, own, trust, acceptor, listener } = server;
    tokio::spawn(mtls::serve(mtls::server(), acceptor, listener, std::future::pending()));
    let client = cluster.dialer(&of(&issuer, "operator/anna"));
    assert_eq!(call(&client, address).await.code(), Code::Unimplemented, "anna gets in");

    // a node's certificate is not what a caller of a controller expects
    own.replace(&of(&issuer, "node/pi-1")).unwrap();
    let said = mtls::explain(&call(&client, address).await).unwrap();
    assert!(said.contains("the other end is node/pi-1"), "{said}");

    // another CA takes over: the old one's operators are out, the new one's are in
    let next = Issuer::create(issuer.cluster(), now).unwrap();
    own.replace(&of(&next, "controller/c1")).unwrap();
    trust.replace(&of(&next, "controller/c1").roots).unwrap();
    let old = Dialer::new(
        OwnCertificate::new(&of(&issuer, "operator/anna")).unwrap(),
        Trust::new("lab", &of(&next, "operator/anna").roots).unwrap(),
    );
    let said = mtls::explain(&call(&old, address).await).unwrap();
    assert!(said.contains("refused our certificate"), "{said}");
    let new = cluster.dialer(&of(&next, "operator/anna"));
    eventually(async || call(&new, address).await.code() == Code::Unimplemented).await;
}

/// How many of 200 connections from one address are reset at once, of those that say nothing.
async fn reset_at_once(address: SocketAddr) -> usize {
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..200 {
        attempts.spawn(async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((ATTACKER, 0).into()).unwrap();
            let Ok(mut connection) = socket.connect(address).await else { return true };
            // who is let in may be silent for five seconds
            tokio::time::timeout(Duration::from_secs(3), connection.read(&mut [0; 1])).await.is_ok()
        });
    }
    attempts.join_all().await.into_iter().filter(|reset| *reset).count()
}

/// The controller's listener, the agent's, and the one that Prometheus asks: each has the same limits.
#[tokio::test(flavor = "multi_thread")]
async fn every_listener_throttles_an_address_that_connects_too_often() {
    let cluster = Cluster::start().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let prometheus = Some(pi_agent::Prometheus { listen: free, tls: true });
    let fleet = cluster.nodes_with(1, &pi_agent::Config { prometheus, ..pi_agent::Config::default() }).await;
    for (name, address) in [("controller", cluster.address), ("agent", fleet.nodes[0].1)] {
        let reset = reset_at_once(address).await;
        // a burst of 50, and ten for each second that the 200 take
        assert!((100..=150).contains(&reset), "{name}: {reset} of 200 were reset");
    }
    // the agent's listeners count together: the burst is spent
    let reset = reset_at_once(free).await;
    assert!(reset >= 100, "prometheus: {reset} of 200 were reset");
}

/// Control: an address that is named is not throttled.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_named_is_not_throttled() {
    let cluster = Cluster::start().await;
    let own = cluster.credentials(&cluster.issuer(), "controller/c1", SystemTime::now());
    let server = listen(&own, Limits { unthrottled: vec![ATTACKER], ..Limits::default() }).await;
    let _incoming = server.acceptor.clone().incoming(server.listener);
    assert_eq!(reset_at_once(server.address).await, 0);
    assert_eq!(server.acceptor.counters().count(Cause::Throttled), 0);
}
