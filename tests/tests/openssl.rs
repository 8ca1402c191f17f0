//! The acceptor as somebody else's TLS library sees it. S8: no session is resumed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mtls::Credentials;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tests::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

/// What `openssl s_client` prints until the server has sent something or closed.
async fn s_client(address: SocketAddr, arguments: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-tls1_3", "-alpn", "h2", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl");
    let (mut stdin, mut stdout) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
    let mut said = Vec::new();
    let server_spoke = async {
        // after the handshake's report comes a ticket, if there is one, then what the server writes
        while !is_in(&said, SPOKE) && stdout.read_buf(&mut said).await.unwrap() > 0 {}
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), server_spoke).await;
    let _ = stdin.write_all(b"Q\n").await; // closed already if the server closed
    drop(stdin);
    let rest = client.wait_with_output().await.unwrap();
    said.extend(rest.stderr);
    let said = String::from_utf8_lossy(&said).into_owned();
    waited.unwrap_or_else(|_| panic!("the server neither spoke nor closed:\n{said}"));
    said
}

/// The type and flags of the SETTINGS frame with which an HTTP/2 server greets, and the greeting of the control.
const SPOKE: &[&[u8]] = &[b"\x04\x00\x00\x00\x00\x00", b"hello from the control"];

fn is_in(said: &[u8], marks: &[&[u8]]) -> bool {
    marks.iter().any(|mark| said.windows(mark.len()).any(|window| window == *mark))
}

/// Connects twice, the second time with the session of the first if there was one.
async fn twice(address: SocketAddr, folder: &Path) -> [String; 2] {
    [once(address, folder).await, once(address, folder).await]
}

/// Connects with the session of the time before, if there was one.
async fn once(address: SocketAddr, folder: &Path) -> String {
    let path = |file: &str| folder.join(file).display().to_string();
    let (pair, ca, session) = (path("identity.pem"), path("ca.pem"), path("session"));
    let own = ["-cert", &pair, "-key", &pair, "-CAfile", &ca];
    let resume: [&str; 2] =
        if folder.join("session").exists() { ["-sess_in", &session] } else { ["-sess_out", &session] };
    s_client(address, &[&own[..], &resume].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_nobody_gets_in() {
    let cluster = Cluster::start().await;
    let said = s_client(cluster.address, &[]).await;
    assert!(said.contains("certificate required"), "{said}");
    // nor with TLS 1.2
    let mut old = Command::new("openssl");
    old.args(["s_client", "-tls1_2", "-connect", &cluster.address.to_string()]).stdin(Stdio::null());
    let old = old.output().await.unwrap();
    assert!(String::from_utf8_lossy(&old.stderr).contains("alert protocol version"), "{old:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_never_resumed() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    credentials(&cluster).store(folder.path()).unwrap();
    for said in twice(cluster.address, folder.path()).await {
        assert!(said.contains("New, TLSv1.3") && !said.contains("Reused"), "{said}");
        assert!(!said.contains("New Session Ticket"), "{said}");
    }
    assert!(!folder.path().join("session").exists(), "the server gave something to resume with");
}

/// The control: the same client does resume with a server of rustls' defaults, so that the test above tests something.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_server_does_resume() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let own = credentials(&cluster);
    own.store(folder.path()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(stock_server(listener, own));
    let [first, second] = twice(address, folder.path()).await;
    assert!(first.contains("New, TLSv1.3"), "{first}");
    assert!(second.contains("Reused, TLSv1.3"), "{second}");
}

/// S8: whoever was let in once comes back with whatever the first session left, and is judged again.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_client_does_not_come_back_by_its_old_session() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let bob = cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now());
    bob.store(folder.path()).unwrap();
    let first = once(cluster.address, folder.path()).await;
    assert!(first.contains("New, TLSv1.3") && is_in(first.as_bytes(), SPOKE), "{first}");
    assert_eq!(first.matches("New Session Ticket").count(), 0, "{first}");
    cluster.revoke("operator/bob").await.unwrap();
    let second = once(cluster.address, folder.path()).await;
    assert!(second.contains("certificate revoked") && !is_in(second.as_bytes(), SPOKE), "{second}");
    tests::figure("0 session tickets; a revoked client is refused when it comes back");
}

/// S8: the same of a certificate that expires between the two.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_client_does_not_come_back_by_its_old_session() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let until = store_short_lived(&cluster, folder.path());
    let first = once(cluster.address, folder.path()).await;
    assert!(is_in(first.as_bytes(), SPOKE) && first.matches("New Session Ticket").count() == 0, "{first}");
    wait_for(until).await;
    let second = once(cluster.address, folder.path()).await;
    assert!(second.contains("certificate expired") && !is_in(second.as_bytes(), SPOKE), "{second}");
    tests::figure("0 session tickets; an expired client is refused when it comes back");
}

/// The control: at a server of rustls' defaults the same client comes back after its certificate's end.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_server_lets_an_expired_client_back_in() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let until = store_short_lived(&cluster, folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(stock_server(listener, credentials(&cluster)));
    let first = once(address, folder.path()).await;
    assert!(first.contains("New, TLSv1.3"), "{first}");
    wait_for(until).await;
    let second = once(address, folder.path()).await;
    assert!(second.contains("Reused, TLSv1.3") && second.contains("hello from the control"), "{second}");
    tests::figure("control: a stock server resumes the session of an expired client");
}

/// An operator's certificate that is good for a few seconds more, and its end.
fn store_short_lived(cluster: &Cluster, folder: &Path) -> SystemTime {
    let lifetime = control_lib::Lifetime::NODE.duration();
    let left = Duration::from_secs(4);
    let issued = SystemTime::now() - lifetime + left;
    cluster.credentials(&cluster.issuer(), "operator/bob", issued).store(folder).unwrap();
    issued + lifetime
}

async fn wait_for(end: SystemTime) {
    // a certificate is good through the whole of its last second
    let left = end.duration_since(SystemTime::now()).unwrap_or_default() + Duration::from_secs(2);
    tokio::time::sleep(left).await;
}

/// Good as a server's and as a client's.
fn credentials(cluster: &Cluster) -> Credentials {
    cluster.credentials(&cluster.issuer(), "controller/c2", SystemTime::now())
}

async fn stock_server(listener: TcpListener, own: Credentials) {
    let mut roots = RootCertStore::empty();
    roots.add(own.roots[0].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.chain, own.key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = acceptor.accept(tcp).await.unwrap();
        tls.write_all(b"hello from the control\n").await.unwrap();
        let _ = tls.read(&mut [0; 16]).await; // until the client goes
    }
}
