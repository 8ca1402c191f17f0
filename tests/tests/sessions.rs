//! T12: a connection can be ended from outside, whatever it is doing, and no other one with it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use mtls::{Acceptor, Connection, Expect, Limits, OwnCertificate, Refusal, Sessions, Trust};
use tests::{Cluster, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_stream::StreamExt;

const SOON: Duration = Duration::from_secs(5);

/// Connections of anna and bob to a server that lets bob in for as long as `bob_may` is true.
struct Two {
    sessions: Arc<Sessions>,
    bob_may: Arc<AtomicBool>,
    anna: Connection,
    bob: Connection,
    /// The clients' ends, which read nothing.
    _clients: Vec<Box<dyn Send>>,
}

async fn two() -> Two {
    let cluster = Cluster::start().await;
    let credentials = |who: &str| cluster.credentials(&cluster.issuer(), who, SystemTime::now());
    let own = credentials("controller/c2");
    let trust = Trust::new("lab", &own.roots).unwrap();
    let bob_may = Arc::new(AtomicBool::new(true));
    let asked = bob_may.clone();
    trust.admit_by(move |shown| match shown.identity.name == "bob" && !asked.load(Ordering::Relaxed) {
        true => Err(Refusal::Revoked),
        false => Ok(()),
    });
    let acceptor = Acceptor::new(OwnCertificate::new(&own).unwrap(), trust, None, Limits::default()).unwrap();
    let sessions = acceptor.sessions();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut incoming = acceptor.incoming(listener);
    let mut connections = Vec::new();
    let mut clients: Vec<Box<dyn Send>> = Vec::new();
    for who in ["operator/anna", "operator/bob"] {
        let dialer = cluster.dialer(&credentials(who));
        let address = address.clone();
        let client = tokio::spawn(async move { dialer.connect(&address, Expect::Controller).await.unwrap() });
        let mut connection = incoming.next().await.unwrap().unwrap();
        connection.write_all(b"hello").await.unwrap(); // a client waits for the server's first word
        connection.flush().await.unwrap();
        clients.push(Box::new(client.await.unwrap()));
        connections.push(connection);
    }
    let (bob, anna) = (connections.pop().unwrap(), connections.pop().unwrap());
    Two { sessions, bob_may, anna, bob, _clients: clients }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_peer_is_ended_too_and_nobody_else() {
    for is_writing in [false, true] {
        let Two { sessions, bob_may, mut anna, mut bob, _clients } = two().await;
        assert_eq!(sessions.count(), 2);
        assert_eq!(sessions.judge_again(Duration::ZERO), 0, "both are let in");
        let hangs = tokio::spawn(async move {
            match is_writing {
                // more than the kernel takes for a client that does not read
                true => bob.write_all(&vec![0; 64 << 20]).await.unwrap_err(),
                false => bob.read_u8().await.unwrap_err(),
            }
        });
        tokio::task::yield_now().await;
        bob_may.store(false, Ordering::Relaxed);
        assert_eq!(sessions.judge_again(Duration::ZERO), 1);
        let error = timeout(SOON, hangs).await.expect("it is ended").unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
        eventually(async || sessions.count() == 1).await;
        anna.write_all(b"still here").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_lets_what_is_under_way_go_out() {
    let Two { sessions, anna: _anna, mut bob, _clients, .. } = two().await;
    let is_bob = |open: &mtls::Open| open.certificate.as_ref().is_some_and(|shown| shown.identity.name == "bob");
    assert_eq!(sessions.end(is_bob, Duration::from_millis(300)), 1);
    bob.write_all(b"goodbye").await.unwrap();
    bob.flush().await.unwrap();
    let error = timeout(SOON, bob.read_u8()).await.expect("it is ended").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
}
