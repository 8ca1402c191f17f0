//! S11: every method there is, by everybody there is, at the real servers over real TLS. The rows come from the
//! descriptors, so that a new method is a new row; the tables are checked in (`tests/tests/snapshots/matrix__*.snap`), so
//! that a change of who may call what is a change that somebody looks at. A method without a row in the servers' own tables
//! does not build.
//!
//! Each call has a body that is no message: whoever may call is told so, and whoever may not is refused before anybody
//! looks at it. `x`: may call, `.`: PERMISSION_DENIED, `-`: no connection.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error;
use std::time::{Duration, SystemTime};

use control_lib::Issuer;
use insta::assert_snapshot;
use mtls::{Context, Credentials, Dialer, Expect, OwnCertificate};
use pi_agent::{Config, Operator, Right, Scope};
use rustls::pki_types::ServerName;
use tests::{Cluster, UNREADABLE, call_raw, figure, operator};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Channel;

const ROLES: [&str; 8] = ["viewer", "logs", "gpio", "exec", "shell", "provision", "admin", "enroller"];
const STANDARD: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];
/// Nobody has decided who may call these.
const UNDECIDED: [&str; 3] = [
    "/pi.agent.v1.NodeAgent/NoSuchMethod",
    "/pi.control.v1.ControlPlane/NoSuchMethod",
    "/pi.fleet.v1.Fleet/NoSuchMethod",
];

/// A column of the table.
struct Caller {
    name: String,
    /// `None`: there is no way to call without a certificate, but to connect.
    channel: Option<Channel>,
}

/// How one call ended, as a cell.
async fn cell(channel: &Channel, method: &str, node: Option<&str>) -> (char, String) {
    match call_raw(channel, method, node, UNREADABLE).await {
        // reflection ends its stream at what it cannot read, and says no more
        Ok(_) => ('x', String::new()),
        Err(status) if status.source().is_some() => ('-', mtls::explain(&status).unwrap_or_default()),
        Err(status) if status.code() == Code::PermissionDenied => ('.', status.message().to_owned()),
        // the library's health service does not serve its newest method: allowed, and not there
        Err(status) if status.code() == Code::Unimplemented && status.message().is_empty() => ('x', String::new()),
        // the body was looked at
        Err(status) if status.code() == Code::Internal && status.message().contains("decode") => ('x', String::new()),
        Err(status) => ('?', format!("{status:?}")),
    }
}

/// The table, one row a method. A caller that cannot connect is not made to try for each.
async fn table(methods: &[&str], callers: &[Caller], node: Option<&str>) -> String {
    let mut columns = Vec::new();
    for Caller { name, channel } in callers {
        let mut cells = Vec::new();
        for method in methods {
            let refused = cells.last() == Some(&'-') || channel.is_none();
            let (cell, why) = match channel {
                Some(channel) if !refused => cell(channel, method, node).await,
                _ => ('-', String::new()),
            };
            assert_ne!(cell, '?', "{name} calls {method}: {why}");
            cells.push(cell);
        }
        assert!(cells.iter().all(|cell| (*cell == '-') == (cells[0] == '-')), "{name} can connect now and then");
        columns.push((name, cells));
    }
    let header: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let mut text = header.join("  ") + "\n";
    for (row, method) in methods.iter().enumerate() {
        let cells = columns.iter().map(|(name, cells)| format!("{:<1$}", cells[row], name.len() + 2));
        text += &format!("{}{method}\n", cells.collect::<String>());
    }
    let cells = columns.iter().flat_map(|(_, cells)| cells).count();
    figure(format!("{cells} cells: {} methods, {} callers", methods.len(), columns.len()));
    text
}

/// Whether a server lets somebody in who shows no certificate: it closes the connection before it says anything.
async fn lets_in_without_a_certificate(cluster: &Cluster, address: &str, name: &str) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(mtls::CertificateDer::from(cluster.issuer().certificate_der().to_vec())).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut config = config;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    let mut tls = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await.unwrap();
    // a server of HTTP/2 that took us in would begin with its settings
    let refused = tls.read(&mut [0; 1]).await.unwrap_err();
    assert!(refused.to_string().contains("CertificateRequired"), "{refused}");
    false
}

fn dialer(credentials: &Credentials) -> Dialer {
    Dialer::new(OwnCertificate::new(credentials).unwrap(), mtls::Trust::new("lab", &credentials.roots).unwrap())
}

/// Who can show a certificate, and who cannot, beside the operators with a role.
async fn strangers(cluster: &Cluster, address: &str, expect: Expect, server_name: &str) -> Vec<Caller> {
    let (issuer, now) = (cluster.issuer(), SystemTime::now());
    let foreign = Issuer::create(issuer.cluster(), now).unwrap();
    let long_ago = now - Duration::from_secs(30 * 24 * 60 * 60);
    let of = |issuer: &Issuer, who: &str, at| dialer(&cluster.credentials(issuer, who, at));
    let node = Credentials::load(&cluster.folder("nodes").join("sim-1")).unwrap();
    let token = cluster.token(1).await;
    let joining = Dialer::joining(OwnCertificate::new(&token.credentials().unwrap()).unwrap(), &token);
    let callers = [
        ("unknown-operator", of(&issuer, "operator/mallory", now)),
        ("node", dialer(&node)),
        ("controller", of(&issuer, "controller/c2", now)),
        ("token", joining),
        ("expired-admin", of(&issuer, "operator/admin", long_ago)),
        ("foreign-admin", of(&foreign, "operator/admin", now)),
    ];
    let caller = |(name, dialer): (&str, Dialer)| Caller {
        name: name.to_owned(),
        channel: Some(dialer.channel(address, expect.clone()).unwrap()),
    };
    let mut callers: Vec<Caller> = callers.into_iter().map(caller).collect();
    assert!(!lets_in_without_a_certificate(cluster, address, server_name).await);
    callers.push(Caller { name: "no-certificate".to_owned(), channel: None });
    callers
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_of_the_controller_by_everybody() {
    let mut cluster = Cluster::start().await;
    let config = cluster.controller_state().join("controller.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("reflection = false", "reflection = true");
    std::fs::write(&config, text).unwrap();
    cluster.restart().await;
    let _fleet = cluster.nodes(1).await;
    let address = cluster.address.to_string();

    let mut callers = Vec::new();
    for role in ROLES {
        let context = match role {
            "admin" => cluster.admin(),
            role => operator(&cluster, role, &["--role", role]).await,
        };
        let context = Context::load(&context).unwrap();
        let channel = context.dialer().unwrap().channel(&address, Expect::Controller).unwrap();
        callers.push(Caller { name: role.to_owned(), channel: Some(channel) });
    }
    let context = Context::load(&operator(&cluster, "nobody", &["--role", "viewer"]).await).unwrap();
    cluster.pictl(&["operator", "role", "nobody", "remove", "viewer"]).await;
    let channel = context.dialer().unwrap().channel(&address, Expect::Controller).unwrap();
    callers.push(Caller { name: "no-role".to_owned(), channel: Some(channel) });
    callers.extend(strangers(&cluster, &address, Expect::Controller, "c1.controller.lab").await);

    let methods: Vec<&str> = proto::METHODS.iter().copied().chain(STANDARD).chain(UNDECIDED).collect();
    let table = table(&methods, &callers, Some("sim-1")).await;
    let decided = table.lines().filter(|line| UNDECIDED.iter().any(|method| line.ends_with(method)));
    assert!(decided.into_iter().all(|line| !line.contains('x')), "{table}");
    assert_snapshot!("controller", table);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_of_an_agent_by_everybody() {
    let cluster = Cluster::start().await;
    let rights = [Right::Viewer, Right::Logs, Right::Gpio, Right::Exec, Right::Shell, Right::Admin];
    let names = ["viewer", "logs", "gpio", "exec", "shell", "admin"];
    let listed =
        |(right, name): (Right, &str)| Operator { name: name.to_owned(), roles: vec![right], scope: Scope::UNLIMITED };
    let operators = rights.into_iter().zip(names).map(listed).collect();
    let fleet = cluster.nodes_with(1, &Config { operators, reflection: true, ..Config::default() }).await;
    let (name, address, _) = &fleet.nodes[0];
    let (address, node) = (address.to_string(), Expect::Node(name.clone()));

    let mut callers: Vec<Caller> = Vec::new();
    for name in names {
        let credentials = cluster.credentials(&cluster.issuer(), &format!("operator/{name}"), SystemTime::now());
        let channel = dialer(&credentials).channel(&address, node.clone()).unwrap();
        callers.push(Caller { name: name.to_owned(), channel: Some(channel) });
    }
    callers.extend(strangers(&cluster, &address, node, &format!("{name}.node.lab")).await);

    let ours = proto::METHODS.iter().copied().filter(|method| method.starts_with("/pi.agent."));
    let methods: Vec<&str> = ours.chain(STANDARD).chain([UNDECIDED[0]]).collect();
    assert_snapshot!("agent", table(&methods, &callers, None).await);
}
