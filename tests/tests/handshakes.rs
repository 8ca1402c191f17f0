//! Who does not get as far as a request: bad handshakes (B1), no handshakes (B2), the wrong ones (S15), too many (S31). The
//! agent is a process of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use control_lib::Issuer;
use mtls::{Cause, CertificateDer, Credentials};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tests::{ATTACKER, Bystander, Cluster, Sorted, Target, figure, size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bench-sim-agent");

/// A client's certificate that the cluster's CA signed, with what no honest CA would put into one.
fn certificate(cluster: &Cluster, uris: &[&str], usage: ExtendedKeyUsagePurpose) -> Credentials {
    let ca = cluster.issuer();
    let key = KeyPair::try_from(ca.key().unwrap().expose()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&ca.certificate_der().into(), key).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "bob");
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.extended_key_usages = vec![usage];
    let own = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&own, &issuer).unwrap();
    Credentials { chain: vec![leaf.der().clone()], key: own.into(), roots: vec![ca.certificate_der().to_vec().into()] }
}

/// A client that believes any server: it is the server that is tested.
fn client(own: Option<Credentials>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    #[derive(Debug)]
    struct Credulous;
    impl ServerCertVerifier for Credulous {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
    let builder =
        ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let builder = builder.unwrap().dangerous().with_custom_certificate_verifier(Arc::new(Credulous));
    let mut config = match own {
        Some(Credentials { chain, key, .. }) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Shakes hands and reads until the server has judged: in TLS 1.3 the client is done before that. Whether it got in.
async fn gets_in(tcp: TcpStream, config: &Arc<ClientConfig>) -> bool {
    let name = ServerName::try_from("target").unwrap();
    let Ok(mut tls) = TlsConnector::from(config.clone()).connect(name, tcp).await else { return false };
    tls.read(&mut [0; 9]).await.is_ok_and(|length| length > 0) // an HTTP/2 server speaks first
}

/// Sends these bytes and waits until the server closes.
async fn says(mut tcp: TcpStream, bytes: &[u8]) {
    let _ = tcp.write_all(bytes).await;
    let _ = timeout(Duration::from_secs(10), tcp.read_to_end(&mut Vec::new())).await.expect("the server closes");
}

/// What a client of TLS 1.1 sends first: no extensions, and suites of its time.
fn old_hello() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]); // random
    body.extend([0, 0, 4, 0x00, 0x2f, 0x00, 0x35, 1, 0]); // no session, two suites, no compression
    let mut message = vec![1, 0, 0, body.len() as u8];
    message.extend(body);
    [&[22, 3, 1, 0, message.len() as u8], &*message].concat()
}

/// The first bytes of a TLS 1.3 client.
fn hello() -> Vec<u8> {
    let name = ServerName::try_from("target").unwrap();
    let mut connection = rustls::ClientConnection::new(client(None, &[b"h2"]), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

/// Bad handshakes, each with the cause that it is to be counted under.
enum Bad {
    Bytes(Vec<u8>),
    /// Cut off by the client.
    Cut(Vec<u8>),
    Tls(Arc<ClientConfig>),
}

fn kinds(cluster: &Cluster) -> Vec<(&'static str, Cause, Bad)> {
    let (issuer, now) = (cluster.issuer(), SystemTime::now());
    let of = |issuer: &Issuer, at| Bad::Tls(client(Some(cluster.credentials(issuer, "operator/bob", at)), &[b"h2"]));
    let foreign = Issuer::create(issuer.cluster(), now).unwrap();
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    let bob = format!("{}/operator/bob", issuer.cluster().uri());
    let eve = format!("{}/operator/eve", issuer.cluster().uri());
    let own = |uris: &[&str], usage| Bad::Tls(client(Some(certificate(cluster, uris, usage)), &[b"h2"]));
    let (for_clients, for_servers) = (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth);
    let http11 = client(Some(cluster.credentials(&issuer, "operator/bob", now)), &[b"http/1.1"]);
    let silent = client(Some(cluster.credentials(&issuer, "operator/bob", now)), &[]);
    let hello = hello();
    vec![
        ("noise", Cause::NotTls, Bad::Bytes(b"\x9d\x01random as can be\xff\x00\xfe".to_vec())),
        ("plain HTTP", Cause::NotTls, Bad::Bytes(b"GET / HTTP/1.1\r\nHost: pi\r\n\r\n".to_vec())),
        ("HTTP/2 without TLS", Cause::NotTls, Bad::Bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec())),
        ("a cut hello", Cause::Disconnected, Bad::Cut(hello[..hello.len() / 2].to_vec())),
        ("TLS 1.1", Cause::Incompatible, Bad::Bytes(old_hello())),
        ("another protocol", Cause::Protocol, Bad::Tls(http11)),
        ("no protocol", Cause::Protocol, Bad::Tls(silent)),
        ("no certificate", Cause::NoCertificate, Bad::Tls(client(None, &[b"h2"]))),
        ("expired", Cause::Expired, of(&issuer, now - month)),
        ("not valid yet", Cause::NotYetValid, of(&issuer, now + month)),
        ("another CA", Cause::UnknownIssuer, of(&foreign, now)),
        ("a server's certificate", Cause::Purpose, own(&[&bob], for_servers)),
        ("no URI", Cause::Identity, own(&[], for_clients.clone())),
        ("two URIs", Cause::Identity, own(&[&bob, &eve], for_clients.clone())),
        ("a URI of another cluster", Cause::Identity, own(&["spiffe://other/operator/bob"], for_clients)),
    ]
}

async fn attempt(target: &Target, bad: &Bad) {
    let tcp = target.connect_from(ATTACKER).await.unwrap();
    match bad {
        Bad::Bytes(bytes) => says(tcp, bytes).await,
        Bad::Cut(bytes) => {
            let mut tcp = tcp;
            tcp.write_all(bytes).await.unwrap();
        }
        Bad::Tls(config) => assert!(!gets_in(tcp, config).await, "it got in"),
    }
}

/// B1, S15: each kind of bad handshake is refused, counted once and under its own cause, and costs next to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn bad_handshakes_are_refused_and_counted_by_their_cause() {
    let each = size(100, 1000);
    let cluster = Cluster::start().await;
    // here every one is to be looked at
    let target = Target::start(&cluster, PROGRAM, "[limits]\nconnections_per_second = 0\n").await;
    // control: the certificates below are refused for what is wrong with them, and for nothing else
    let uri = format!("{}/operator/bob", cluster.issuer().cluster().uri());
    let good = client(Some(certificate(&cluster, &[&uri], ExtendedKeyUsagePurpose::ClientAuth)), &[b"h2"]);
    assert!(gets_in(target.connect_from(ATTACKER).await.unwrap(), &good).await);

    let kinds = kinds(&cluster);
    for (_, _, bad) in &kinds {
        for _ in 0..10 {
            attempt(&target, bad).await; // what is allocated once
        }
    }
    let quiet = Bystander::undisturbed(target.client(&cluster)).await;
    let (rss, began) = (target.rss(), Instant::now());
    let beside = Bystander::start(target.client(&cluster));
    for (name, cause, bad) in &kinds {
        let before = target.counts();
        for _ in 0..each {
            attempt(&target, bad).await;
        }
        tests::eventually(async || target.count(*cause) >= before[*cause as usize] + each).await;
        for (other, before) in Cause::ALL.into_iter().zip(before) {
            let expected = if other == *cause { before + each } else { before };
            assert_eq!(target.count(other), expected, "{name}: {other:?}");
        }
    }
    let (loud, seconds) = (beside.end().await, began.elapsed().as_secs_f64());
    let growth = target.rss().saturating_sub(rss);
    let told = target.log().lines().filter(|line| line.contains("refused a connection")).count();
    figure(format!(
        "{} kinds, {each} of each in {seconds:.1} s: memory +{} KiB, {told} lines",
        kinds.len(),
        growth / 1024
    ));
    figure(format!("calls of others: {quiet} before; {loud} during"));
    assert!(growth < 4 << 20, "grew by {growth} bytes");
    assert!((told as f64) < 10.0 * seconds.max(1.0), "{told} lines in {seconds} s");
    loud.is_calm_beside(&quiet);
}

/// S15: what rustls' clients cannot send, another library can.
#[tokio::test(flavor = "multi_thread")]
async fn old_protocols_and_weak_suites_are_refused() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now()).store(folder.path()).unwrap();
    let path = |file: &str| folder.path().join(file).display().to_string();
    let own = ["-cert", &path("identity.pem"), "-key", &path("identity.pem")].map(str::to_owned);
    let connect = async |arguments: &[&str]| {
        let mut openssl = tokio::process::Command::new("openssl");
        openssl.args(["s_client", "-alpn", "h2", "-connect", &cluster.address.to_string()]).args(&own).args(arguments);
        let said = openssl.stdin(std::process::Stdio::null()).output().await.expect("openssl");
        let said = [said.stdout, said.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    };
    let all = "ALL:@SECLEVEL=0";
    for refused in [
        &["-tls1_2"][..],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
        &["-tls1_1", "-cipher", all],
        &["-tls1", "-cipher", all],
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"],
        &["-tls1_3", "-groups", "P-521"],
    ] {
        let said = connect(refused).await;
        assert!(said.contains("alert") && said.contains("Cipher is (NONE)"), "{refused:?}: {said}");
    }
    // control: so does the same client get in
    let said = connect(&["-tls1_3"]).await;
    assert!(said.contains("New, TLSv1.3, Cipher is TLS_"), "{said}");
}

/// Says nothing on a connection, if it was not reset at once; after how long the server closed.
async fn silent(tcp: std::io::Result<TcpStream>) -> Duration {
    let began = Instant::now();
    if let Ok(mut tcp) = tcp {
        let _ = tcp.read(&mut [0; 1]).await;
    }
    began.elapsed()
}

/// B2. Silent peers of one address, and then of forty, which no throttle stops.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed_and_keep_nobody_out() {
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "").await;
    target.client(&cluster).health_check(()).await.unwrap();
    for addresses in [1, 40] {
        let (rss, throttled) = (target.rss(), target.count(Cause::Throttled));
        let mut silents = JoinSet::new();
        for number in 0..2000_u32 {
            let from = IpAddr::V4(Ipv4Addr::from_bits(0x7f00_0100 + addresses * 256 + number % addresses));
            let tcp = target.connect_from(from).await;
            silents.spawn(silent(tcp));
        }
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            target.client(&cluster).health_check(()).await.unwrap(); // a new connection
            longest = longest.max(began.elapsed());
            sleep(Duration::from_millis(100)).await;
        }
        let growth = target.rss().saturating_sub(rss);
        let closed = Sorted::new(timeout(Duration::from_secs(20), silents.join_all()).await.unwrap());
        let throttled = target.count(Cause::Throttled) - throttled;
        figure(format!(
            "2,000 silent connections of {addresses} addresses: {throttled} throttled, closed after {closed}; memory +{} KiB; \
             the longest that a new client waited: {longest:?}",
            growth / 1024
        ));
        assert!(closed.quantile(1.0) <= Duration::from_secs(6), "{closed}");
        assert!(growth < 16 << 20, "grew by {growth} bytes");
        assert!(longest <= Duration::from_secs(1), "{longest:?}");
        assert!(if addresses == 1 { throttled >= 1900 } else { throttled < 400 }, "{throttled}");
    }
}

/// Those who begin a handshake and stop take the places of others for a second, not for five.
#[tokio::test(flavor = "multi_thread")]
async fn begun_handshakes_give_way() {
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "").await;
    let hello = hello();
    let mut begun = Vec::new();
    for number in 0..400_u32 {
        let from = IpAddr::V4(Ipv4Addr::from_bits(0x7f00_0500 + number % 20));
        let mut tcp = target.connect_from(from).await.unwrap();
        tcp.write_all(&hello[..10]).await.unwrap();
        begun.push(tcp);
    }
    let began = Instant::now();
    target.client(&cluster).health_check(()).await.unwrap();
    let waited = began.elapsed();
    let crowded = target.count(Cause::Crowded);
    figure(format!("beside 400 begun handshakes a client waited {waited:?}; {crowded} gave way"));
    assert!(waited < Duration::from_secs(3) && crowded > 0, "{waited:?}, {crowded}");
}

/// S31.
#[tokio::test(flavor = "multi_thread")]
async fn an_attacker_is_throttled_and_others_are_not_slowed_down() {
    let time = Duration::from_secs(size(3, 20));
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "").await;
    let bare = client(None, &[b"h2"]);
    let quiet = Bystander::undisturbed(target.client(&cluster)).await;
    let beside = Bystander::start(target.client(&cluster));
    let (began, cpu) = (Instant::now(), target.cpu());
    let mut attempts = 0_u32;
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    let mut tries = JoinSet::new();
    while began.elapsed() < time {
        pace.tick().await;
        attempts += 1;
        let Ok(tcp) = target.connect_from(ATTACKER).await else { continue }; // reset
        let bare = bare.clone();
        tries.spawn(async move { gets_in(tcp, &bare).await });
        while let Some(done) = tries.try_join_next() {
            assert!(!done.unwrap(), "it got in");
        }
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), target.cpu() - cpu);
    let loud = beside.end().await;
    let (throttled, judged) = (target.count(Cause::Throttled), target.count(Cause::NoCertificate));
    figure(format!(
        "{attempts} handshakes without a certificate in {seconds:.1} s: {throttled} throttled, {judged} judged; the agent took \
         {:.0} % of a core, bystander included; calls of others: {quiet} before; {loud} during",
        cpu.as_secs_f64() / seconds * 100.0
    ));
    // a burst of 50 and ten a second, of which each failure pays for two
    let allowed = 50.0 + 10.0 * (seconds + 1.0);
    assert!(f64::from(attempts) > 2.0 * allowed, "too few attempts to be throttled: {attempts}");
    assert!((judged as f64) <= allowed, "{judged} judged in {seconds} s");
    loud.is_calm_beside(&quiet);
}
