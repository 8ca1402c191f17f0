//! Joining: S1 (somebody in the middle), S3 (a race for one token), S4 (a token again), S6 (a node that waits for
//! approval), B13 (how often one may fail), and boards that were copied or got a new image.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use control_lib::{Issuer, METHODS, Outcome};
use mtls::{CertificateDer, Credentials, Expect, JoinToken};
use pi_agent::{JoinError, Joined, join};
use pictl::Exit;
use proto::control::v1::control_plane_client::ControlPlaneClient;
use proto::control::v1::{Inventory, NodeRegistration};
use proto::fleet::v1::CreateTokenRequest;
use tests::{Cluster, Impostor, Proxy, eventually, figure, refusal, size};
use tokio::task::JoinSet;
use tonic::{Code, Status};

const NAME: &str = "pi-in-the-middle";

fn board(serial: &str) -> Inventory {
    Inventory { serial: serial.to_owned(), ..Inventory::default() }
}

async fn ask(token: &JoinToken, address: &str, name: &str, serial: &str, state: &Path) -> Result<Joined, JoinError> {
    join(token, address, name, board(serial), state).await
}

/// Every piece of 8 bytes of the secret, in each way of writing it that somebody might have chosen.
fn pieces(token: &JoinToken, secret: &[u8]) -> Vec<Vec<u8>> {
    let text = token.to_text();
    let base32 = text.split('.').nth(4).unwrap().to_owned();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let ways = [secret.to_vec(), base32.to_uppercase().into(), base32.into(), hex.to_uppercase().into(), hex.into()];
    ways.iter().flat_map(|way: &Vec<u8>| way.windows(8).map(<[u8]>::to_vec)).collect()
}

fn found(pieces: &[Vec<u8>], bytes: &[u8]) -> usize {
    bytes.windows(8).filter(|window| pieces.iter().any(|piece| piece == window)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_who_is_in_the_middle_gets_neither_the_node_nor_a_byte_of_the_secret() {
    let cluster = Cluster::start().await;
    let (token, secret) = cluster.token_with(CreateTokenRequest::default()).await;
    let pieces = pieces(&token, &secret);
    assert!(found(&pieces, token.to_text().as_bytes()) > 0 && found(&pieces, &secret) > 0, "the search finds it");

    // an own CA of the same name; and the same with the real CA's certificate, which is public, in the chain
    let foreign = Issuer::create(cluster.issuer().cluster(), SystemTime::now()).unwrap();
    let own_ca = CertificateDer::from(foreign.certificate_der().to_vec());
    let real_ca = CertificateDer::from(cluster.issuer().certificate_der().to_vec());
    let mut impostor = cluster.credentials(&foreign, "controller/c1", SystemTime::now());
    for (ca, why) in [(own_ca.clone(), "not the one that the join token names"), (real_ca, "from another CA")] {
        impostor.chain.truncate(1);
        impostor.chain.push(ca);
        let middle = Impostor::start(&impostor, NAME.as_bytes()).await;
        let wire = Proxy::listening(middle.address).await;
        let folder = cluster.folder("victim");
        let failed = ask(&token, &wire.address.to_string(), NAME, "1", &folder).await.unwrap_err();
        assert!(matches!(&failed, JoinError::Unreachable { for_good: true, .. }), "{failed:?}");
        assert!(failed.to_string().contains(why), "{failed}");
        assert!(!Credentials::exist(&folder) && middle.heard().is_empty(), "it hangs up before it says a word");
        assert!(wire.bytes().len() > 500 && found(&pieces, &wire.bytes()) == 0);
    }

    // the control: it does listen, to one whose token names its CA; and even then the secret is not said
    impostor.chain.truncate(1);
    impostor.chain.push(own_ca.clone());
    let middle = Impostor::start(&impostor, NAME.as_bytes()).await;
    let fooled = JoinToken::new("lab", mtls::public_key_pin(&own_ca).unwrap(), token.id(), seed(&secret)).unwrap();
    let failed = ask(&fooled, &middle.address.to_string(), NAME, "1", &cluster.folder("fooled")).await;
    assert!(failed.is_err());
    let heard = middle.heard();
    assert!(heard.windows(NAME.len()).any(|window| window == NAME.as_bytes()), "it heard the registration");
    let of_fooled = found(&pieces, &heard);

    // who only listens on the real way
    let wire = Proxy::listening(cluster.address).await;
    ask(&token, &wire.address.to_string(), NAME, "1", &cluster.folder("victim")).await.unwrap();
    let of_wire = found(&pieces, &wire.bytes());
    assert_eq!((of_fooled, of_wire), (0, 0));
    figure(format!("{} bytes heard in plain, {} on the wire, 0 of the secret", heard.len(), wire.bytes().len()));
}

fn seed(secret: &[u8]) -> zeroize::Zeroizing<[u8; 32]> {
    zeroize::Zeroizing::new(secret.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_of_100_machines_with_one_token_one_joins() {
    const MACHINES: u8 = 100;
    let cluster = Cluster::start().await;
    let token = cluster.token(1).await;
    let (mut machines, mut ways) = (JoinSet::new(), Vec::new());
    for machine in 1..=MACHINES {
        // each from an address of its own, as machines are
        let way = Proxy::from(Ipv4Addr::new(127, 0, 1, machine), cluster.address).await;
        let (token, folder) = (token.clone(), cluster.folder(&format!("machine-{machine}")));
        let address = way.address.to_string();
        ways.push(way);
        machines
            .spawn(async move { ask(&token, &address, &format!("pi-{machine}"), &machine.to_string(), &folder).await });
    }
    let ended = machines.join_all().await;
    let joined = ended.iter().filter(|ended| ended.is_ok()).count();
    let denied = |ended: &&Result<_, _>| matches!(ended, Err(JoinError::Refused(why)) if why.contains("used up"));
    let denied = ended.iter().filter(denied).count();
    let rows = cluster.audit();
    let of_token = rows.iter().filter(|row| row.who == format!("token/{}", token.id()));
    let (alarms, others): (Vec<_>, Vec<_>) = of_token.partition(|row| row.outcome == Outcome::Alarm);
    figure(format!("{MACHINES} machines: {joined} joined, {denied} denied, {} rows of alarm", alarms.len()));
    assert_eq!((joined, denied, alarms.len()), (1, 99, 99), "{ended:?}");
    assert!(others.len() == 1 && others[0].action == "join" && others[0].outcome == Outcome::Allowed, "{others:?}");
    assert_eq!(cluster.pictl(&["node", "list", "-o", "json"]).await.out.matches("\"id\"").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_a_token_is_good_once_and_for_a_time_whatever_happens() {
    let mut cluster = Cluster::start().await;
    let address = cluster.address.to_string();
    let refused = async |cluster: &Cluster, token: &JoinToken, name: &str| {
        let folder = cluster.folder(name);
        let error = ask(token, &address, name, name, &folder).await.unwrap_err();
        assert!(!Credentials::exist(&folder));
        error.to_string()
    };
    let used = cluster.token(1).await;
    ask(&used, &address, "pi-1", "1", &cluster.folder("pi-1")).await.unwrap();
    assert!(refused(&cluster, &used, "pi-2").await.contains("used up"));

    let brief = prost_types::Duration { seconds: 0, nanos: 200_000_000 };
    let brief = CreateTokenRequest { lifetime: Some(brief), ..CreateTokenRequest::default() };
    let (brief, _) = cluster.token_with(brief).await;
    eventually(async || cluster.pictl(&["token", "list"]).await.out.contains("no tokens")).await;
    let said = refused(&cluster, &brief, "pi-3").await;
    assert!(said.contains("refused the handshake") || said.contains("another CA"), "{said}");

    let taken_back = cluster.token(1).await;
    let said = cluster.pictl(&["token", "revoke", taken_back.id()]).await;
    assert_eq!((said.exit, said.out.contains("0 had joined")), (Exit::Done, true), "{said:?}");
    refused(&cluster, &taken_back, "pi-4").await;

    let unused = cluster.token(1).await;
    cluster.crash().await;
    assert!(refused(&cluster, &used, "pi-5").await.contains("used up"));
    refused(&cluster, &brief, "pi-6").await;
    refused(&cluster, &taken_back, "pi-7").await;
    ask(&unused, &address, "pi-8", "8", &cluster.folder("pi-8")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn s6_a_node_that_waits_for_approval_may_ask_again_and_nothing_else() {
    let cluster = Cluster::start().await;
    let wish = CreateTokenRequest { approval: true, uses: 2, ..CreateTokenRequest::default() };
    let (token, _) = cluster.token_with(wish).await;
    let state = cluster.folder("nodes");
    let folder = |name: &str| state.join(name);
    let (controller, config) = (cluster.address.to_string(), pi_agent::Config::default());
    let _fleet = pi_sim::up(2, &controller, &token, &state, &config).await.unwrap();
    let list = cluster.pictl(&["node", "list"]).await.out;
    assert_eq!(list.matches("pending").count(), 2, "{list}");

    let credentials = Credentials::load(&folder("sim-1")).unwrap();
    let (dialer, address) = (cluster.dialer(&credentials), cluster.address.to_string());
    // reflection is not served unless it is configured
    let methods = METHODS.iter().map(|(method, _)| *method).filter(|method| !method.starts_with("/grpc.reflection."));
    let methods: Vec<_> = methods.collect();
    let mut denied = 0;
    for method in methods.iter().filter(|method| !method.ends_with("/RegisterNode")) {
        let how = (Duration::from_secs(5), Some("sim-2"));
        let status = refusal((&dialer, &address, Expect::Controller), method, how, &NodeRegistration::default()).await;
        assert_eq!(status.code(), Code::PermissionDenied, "{method}: {status:?}");
        denied += 1;
    }
    figure(format!("{denied} of {} methods denied; the other is RegisterNode", methods.len()));
    assert_eq!(denied, methods.len() - 1);
    let mut control = ControlPlaneClient::new(dialer.channel(&address, Expect::Controller).unwrap());
    let csr = Some(mtls::OwnKey::generate().unwrap().csr().unwrap());
    let renewed = control.register_node(NodeRegistration { csr, ..NodeRegistration::default() }).await.unwrap();
    assert!(renewed.get_ref().pending && !renewed.get_ref().certificate_chain.is_empty(), "it may renew");

    // nor is it sent anything
    let called = cluster.pictl(&["health", "sim-2"]).await;
    assert_eq!(called.exit, Exit::Conflict, "{called:?}");
    assert!(called.err.contains("waits for approval: pictl node approve sim-2"), "{}", called.err);

    assert_eq!(cluster.pictl(&["node", "reject", "sim-1"]).await.exit, Exit::Done);
    assert_eq!(cluster.pictl(&["node", "approve", "sim-2"]).await.out, "sim-2 takes part\n");
    let late = cluster.pictl(&["node", "reject", "sim-2"]).await;
    assert!(late.exit == Exit::Conflict && late.err.contains("revoke node/sim-2 instead"), "{late:?}");
    // the agent asks again by itself
    let well = async || cluster.pictl(&["health", "sim-2"]).await.exit == Exit::Done;
    tokio::time::timeout(Duration::from_secs(60), async { while !well().await {} }).await.unwrap();
    let register = control.register_node(NodeRegistration::default()).await;
    assert!(register.is_err(), "the rejected one may not even ask: {register:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_who_asks_in_vain_again_and_again_has_to_wait() {
    let cluster = Cluster::start().await;
    let token = cluster.token(1).await;
    let address = cluster.address.to_string();
    ask(&token, &address, "pi-1", "1", &cluster.folder("pi-1")).await.unwrap();
    let own = mtls::OwnCertificate::new(&token.credentials().unwrap()).unwrap();
    let channel = mtls::Dialer::joining(own, &token).channel(&address, Expect::Controller).unwrap();
    let attempts = size(60, 600);
    let mut codes = Vec::new();
    let start = std::time::Instant::now();
    for _ in 0..attempts {
        let csr = Some(mtls::OwnKey::generate().unwrap().csr().unwrap());
        let wish = NodeRegistration { csr, name: "pi-2".to_owned(), ..NodeRegistration::default() };
        codes.push(ControlPlaneClient::new(channel.clone()).register_node(wish).await.unwrap_err().code());
    }
    let answered = codes.iter().filter(|code| **code == Code::PermissionDenied).count();
    let seconds = start.elapsed().as_secs_f64();
    let rows = cluster.audit().iter().filter(|row| row.outcome == Outcome::Alarm).count();
    figure(format!("{attempts} attempts in {seconds:.1} s: {answered} judged, the others told to wait; {rows} rows"));
    // five at once, then one after 1 s, 2 s, 4 s …: never more than five within a second
    let pauses = (seconds + 1.0).log2().floor() as usize;
    assert!((5..=5 + pauses).contains(&answered) && rows == answered, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Code::ResourceExhausted).count(), attempts - answered);

    // another token, or another address, is nobody's fault
    let good = cluster.token(1).await;
    ask(&good, &address, "pi-3", "3", &cluster.folder("pi-3")).await.unwrap();
    let elsewhere = Proxy::from(Ipv4Addr::new(127, 0, 2, 1), cluster.address).await;
    let refused = ask(&token, &elsewhere.address.to_string(), "pi-4", "4", &cluster.folder("pi-4")).await;
    assert!(matches!(&refused, Err(JoinError::Refused(why)) if why.contains("used up")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_card_is_noticed_and_a_new_image_takes_the_name_back() {
    let cluster = Cluster::start().await;
    let address = cluster.address.to_string();
    let token = cluster.token(1).await;
    ask(&token, &address, "pi-1", "1000f00d", &cluster.folder("pi-1")).await.unwrap();
    let as_pi_1 = || cluster.dialer(&Credentials::load(&cluster.folder("pi-1")).unwrap());
    let say = async |serial: &str| -> Result<(), Status> {
        let channel = as_pi_1().channel(&address, Expect::Controller).unwrap();
        let said = NodeRegistration { inventory: Some(board(serial)), ..NodeRegistration::default() };
        ControlPlaneClient::new(channel).register_node(said).await.map(drop)
    };
    say("1000f00d").await.unwrap();

    // a new image: no certificate any more, a new key, a fresh token
    let fresh = cluster.token(1).await;
    let anew = cluster.folder("anew");
    ask(&fresh, &address, "pi-1", "1000f00d", &anew).await.unwrap();
    assert_eq!(cluster.pictl(&["node", "list", "-o", "json"]).await.out.matches("\"id\"").count(), 1);
    let keys: Vec<_> = cluster.audit().iter().filter(|row| row.action == "join").map(|row| row.who.clone()).collect();
    assert_eq!(keys, [format!("token/{}", token.id()), format!("token/{}", fresh.id())]);

    let old = say("1000f00d").await.unwrap_err();
    assert!(mtls::was_revoked(&old), "the certificate of before is void: {old:?}");

    // the card in another board
    std::fs::rename(&anew, cluster.folder("pi-1-copied")).unwrap();
    let copied = cluster.dialer(&Credentials::load(&cluster.folder("pi-1-copied")).unwrap());
    let channel = copied.channel(&address, Expect::Controller).unwrap();
    let said = NodeRegistration { inventory: Some(board("2000beef")), ..NodeRegistration::default() };
    let clone = ControlPlaneClient::new(channel).register_node(said).await.unwrap_err();
    assert_eq!(clone.code(), Code::PermissionDenied, "{clone:?}");
    assert!(clone.message().contains("make a new key: this one is that of node/pi-1"), "{clone:?}");
    let alarm = cluster.audit().pop().unwrap();
    assert_eq!((alarm.outcome, alarm.subject.as_str()), (Outcome::Alarm, "node/pi-1"), "{alarm:?}");
    assert!(alarm.detail.contains("2000beef") && alarm.detail.contains("1000f00d"), "{alarm:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_given_by_token_and_by_admins() {
    let cluster = Cluster::start().await;
    let out = cluster.folder("lab.token").display().to_string();
    let made = cluster.pictl(&["token", "create", "--label", "room=lab", "--uses", "2", "--out", &out]).await;
    assert!(made.exit == Exit::Done && made.out.contains("next, on the machine: pi-agent join"), "{made:?}");
    let token: JoinToken = std::fs::read_to_string(&out).unwrap().parse().unwrap();
    let list = cluster.pictl(&["token", "list"]).await.out;
    assert!(list.contains("room=lab") && list.contains("0/2") && list.contains("operator/admin"), "{list}");
    let config = pi_agent::Config { labels: [("room".into(), "vault".into())].into(), ..pi_agent::Config::default() };
    let state = cluster.folder("nodes");
    let _fleet = pi_sim::up(1, &cluster.address.to_string(), &token, &state, &config).await.unwrap();
    let shown = async || cluster.pictl(&["node", "show", "sim-1"]).await.out;
    eventually(async || shown().await.contains("ready")).await;
    assert!(shown().await.contains("room=lab") && !shown().await.contains("vault"), "{}", shown().await);
    let said = cluster.pictl(&["node", "label", "sim-1", "room-", "floor=2"]).await;
    assert_eq!(said.out, "sim-1 has the labels floor=2\n", "{said:?}");
    let wrong = cluster.pictl(&["node", "label", "nobody", "a=b"]).await;
    assert_eq!(wrong.exit, Exit::NotFound, "{wrong:?}");
    let secret = cluster.pictl(&["token", "create", "-o", "json"]).await;
    assert_eq!((secret.exit, secret.out.as_str()), (Exit::Usage, ""), "{secret:?}");
}
