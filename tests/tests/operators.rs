//! Operators: added, shown, changed, renewed by `pictl`; nobody more than whoever does it (S14); at once (S8b, for calls).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use mtls::{Context, Expect};
use pictl::Exit;
use proto::agent::v1::line_name::Name;
use proto::agent::v1::{GpioRequest, LineName, WatchGpioRequest};
use proto::fleet::v1::operators_client::OperatorsClient;
use proto::fleet::v1::{AddOperatorRequest, ChangeRolesRequest, Grant, Names, RenewCertificateRequest, Role, Scope};
use tests::{Cluster, Said, Sorted, figure, operator, proxied, reason, size};
use tonic::Code;
use tonic::transport::Channel;

async fn says(cluster: &Cluster, context: &Path, line: &str) -> Said {
    cluster.pictl_as(context, &line.split(' ').collect::<Vec<_>>()).await
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn client(context: &Path) -> OperatorsClient<Channel> {
    let context = Context::load(context).unwrap();
    let channel = context.dialer().unwrap().channel(&context.controller, Expect::Controller).unwrap();
    OperatorsClient::new(channel)
}

fn csr() -> Vec<u8> {
    mtls::OwnKey::generate().unwrap().csr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_added_shown_changed_and_renewed() {
    let mut cluster = Cluster::start().await;
    let bob =
        operator(&cluster, "bob", &["--role", "viewer,gpio", "--nodes", "room=lab", "--lines", "17,GPIO27"]).await;
    assert_eq!(std::fs::metadata(&bob).unwrap().permissions().mode() & 0o777, 0o600);

    let shown = says(&cluster, &bob, "operator show").await.out;
    assert!(shown.contains("viewer: nodes room=lab\n"), "{shown}");
    assert!(shown.contains("gpio: nodes room=lab, lines 17,27\n") && shown.contains("operator/admin"), "{shown}");
    let admin = cluster.admin();
    let changed = says(&cluster, &admin, "operator role bob add exec --templates backup").await;
    assert!(changed.out.contains("exec: templates backup"), "{}{}", changed.out, changed.err);
    says(&cluster, &admin, "operator role bob add gpio --lines 4").await;
    says(&cluster, &admin, "operator role bob remove viewer").await;
    cluster.restart().await;
    let list = says(&cluster, &admin, "operator list").await.out;
    assert!(list.contains("gpio: lines 4; exec: templates backup"), "{list}");
    let json: serde_json::Value =
        serde_json::from_str(&says(&cluster, &admin, "operator list -o json").await.out).unwrap();
    assert_eq!(json["operators"][1]["grants"][0]["role"], "ROLE_GPIO");
    assert_eq!(json["operators"][1]["grants"][0]["scope"]["lines"]["names"][0], "4");

    // a new key and a new certificate in the same file; the old one goes on until it ends
    let (old, before) = (cluster.folder("old.toml"), text(&bob));
    std::fs::copy(&bob, &old).unwrap();
    let renewed = says(&cluster, &bob, "operator renew").await;
    assert!(renewed.out.starts_with("renewed until 20"), "{}{}", renewed.out, renewed.err);
    let after = text(&bob);
    let key = |text: &str| text.split("PRIVATE KEY").nth(1).unwrap().to_owned();
    assert_ne!(key(&before), key(&after));
    for context in [&bob, &old] {
        assert_eq!(says(&cluster, context, "operator show").await.exit, Exit::Done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stays_with_whoever_made_it() {
    let cluster = Cluster::start().await;
    let path = |name: &str| cluster.folder(name).display().to_string();
    let (key, csr, answer, context) = (path("bob.key"), path("bob.csr"), path("answer.toml"), path("bob.toml"));
    let admin = cluster.admin();
    // with a context that does not exist: who asks has none yet
    let nowhere = cluster.folder("no.context.toml");
    let asked = says(&cluster, &nowhere, &format!("operator request --key {key} --out {csr}")).await;
    assert_eq!(asked.exit, Exit::Done, "{}", asked.err);
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let add = format!("operator add bob --role viewer --lifetime 12h --csr {csr} --out {answer}");
    let added = says(&cluster, &admin, &add).await;
    assert!(added.out.contains("it is not secret"), "{}{}", added.out, added.err);
    assert!(text(Path::new(&key)).contains("PRIVATE KEY"));
    assert!(!text(Path::new(&csr)).contains("PRIVATE") && !text(Path::new(&answer)).contains("PRIVATE"));

    // another key is refused, and nothing is written
    let other = path("other.key");
    says(&cluster, &nowhere, &format!("operator request --key {other} --out {}", path("x"))).await;
    let refused = says(&cluster, &nowhere, &format!("operator accept {answer} --key {other} --out {context}")).await;
    assert_eq!(refused.exit, Exit::Usage);
    assert!(refused.err.contains("holds no certificate for this key"), "{}", refused.err);
    assert!(!Path::new(&context).exists());
    let accepted = says(&cluster, &nowhere, &format!("operator accept {answer} --key {key} --out {context}")).await;
    assert!(accepted.out.starts_with("you are operator/bob"), "{}{}", accepted.out, accepted.err);
    assert_eq!(says(&cluster, Path::new(&context), "operator show").await.exit, Exit::Done);
    // a context is not overwritten
    let again = says(&cluster, &nowhere, &format!("operator accept {answer} --key {key} --out {context}")).await;
    assert!(again.err.contains("exists: choose another file"), "{}", again.err);

    // 12 hours, and at renewal again
    let ends = async || {
        let bob = client(Path::new(&context)).get_operator(proto::fleet::v1::GetOperatorRequest::default()).await;
        bob.unwrap().into_inner().operator.unwrap().certificate_expires.unwrap().seconds
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    assert!((12 * 3600 - 60..=12 * 3600).contains(&(ends().await - now)));
    // an admin answers another request for bob
    let renew = format!("operator renew bob --csr {csr} --out {}", path("second.toml"));
    assert_eq!(says(&cluster, &admin, &renew).await.exit, Exit::Done);
    assert!((12 * 3600 - 60..=12 * 3600 + 60).contains(&(ends().await - now)));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_with_what_to_do() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let told = async |line: &str| {
        let said = says(&cluster, &admin, line).await;
        assert_eq!(said.out, "", "{line}");
        (said.exit, said.err)
    };
    let out = cluster.folder("x.toml").display().to_string();
    let (exit, why) = told(&format!("operator add bob --role viewer --lines 17 --out {out}")).await;
    assert_eq!((exit, why.as_str()), (Exit::Usage, "pictl: --lines limits the role gpio: give it as well\n"));
    let (exit, why) = told(&format!("operator add bob --role king --out {out}")).await;
    assert!(exit == Exit::Usage && why.contains("choose viewer, logs, gpio"), "{why}");
    let (exit, why) = told(&format!("operator add bob --role gpio --lines 99999 --out {out}")).await;
    assert!(exit == Exit::Usage && why.contains("a line is a number (17)"), "{why}");
    let (exit, why) = told(&format!("operator add bob --role gpio --lifetime 1h --out {out}")).await;
    assert!(exit == Exit::Usage && why.contains("certificate_lifetime must be 12 hours to 90 days"), "{why}");
    let (exit, why) = told(&format!("operator add Bob --role gpio --out {out}")).await;
    assert!(exit == Exit::Usage && why.contains("use only a-z"), "{why}");
    let (exit, why) = told(&format!("operator add admin --role gpio --out {out}")).await;
    assert!(exit == Exit::Conflict && why.contains("operator/admin exists"), "{why}");
    let (exit, why) = told("operator show nobody").await;
    assert!(exit == Exit::NotFound && why.contains("there is no operator/nobody"), "{why}");
    let (exit, why) = told("operator role admin remove admin").await;
    assert!(exit == Exit::Conflict && why.contains("add another admin first"), "{why}");
    let (exit, why) = told(&format!("operator add bob --role gpio --csr {out} --out {out}")).await;
    assert!(exit == Exit::Usage && why.contains("cannot read"), "{why}");
    assert!(!Path::new(&out).exists(), "nothing is written where nobody was added");
    assert_eq!(says(&cluster, &admin, "operator list").await.out.lines().count(), 2);
}

/// S14.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_mints_above_their_own() {
    let cluster = Cluster::start().await;
    let lab = operator(&cluster, "lab", &["--role", "admin", "--nodes", "room=lab"]).await;
    let enroller = operator(&cluster, "enroller", &["--role", "enroller"]).await;
    let limited = operator(&cluster, "limited", &["--role", "enroller", "--nodes", "room=lab"]).await;
    let gpio = operator(&cluster, "gpio", &["--role", "gpio,viewer"]).await;
    let names = |names: &[&str]| Some(Names { names: names.iter().map(|name| (*name).to_owned()).collect() });
    let room = |room: &str| proto::fleet::v1::NodeSelector { labels: [("room".to_owned(), room.to_owned())].into() };
    let grant = |role: Role, scope: Scope| Grant { role: role.into(), scope: Some(scope) };
    let everywhere = Scope::default();
    let in_lab = Scope { nodes: Some(room("lab")), ..Scope::default() };
    let in_barn = Scope { nodes: Some(room("barn")), ..Scope::default() };
    let lines = Scope { lines: names(&["17"]), ..Scope::default() };

    // roles, and how far they reach
    let above = [
        grant(Role::Admin, everywhere.clone()),
        grant(Role::Viewer, everywhere.clone()),
        grant(Role::Gpio, in_barn),
        grant(Role::Gpio, lines),
    ];
    let mut denied = 0;
    for who in [&lab, &enroller, &limited, &gpio] {
        for grant in &above {
            let (grants, name) = (vec![grant.clone()], "eve".to_owned());
            let add = AddOperatorRequest { name, grants: grants.clone(), csr: csr(), certificate_lifetime: None };
            let refused = client(who).add_operator(add).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
            for name in ["gpio", "lab", "enroller"] {
                let change = ChangeRolesRequest { name: name.to_owned(), give: grants.clone(), take: Vec::new() };
                let refused = client(who).change_roles(change).await.unwrap_err();
                assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
                denied += 1;
            }
            denied += 1;
        }
        // a certificate of somebody who may do more, or of anybody else
        for name in ["admin", "gpio", "enroller"].into_iter().filter(|name| !who.to_string_lossy().contains(*name)) {
            let renew = RenewCertificateRequest { name: name.to_owned(), csr: csr() };
            let refused = client(who).renew_certificate(renew).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{name}: {refused:?}");
            denied += 1;
        }
    }
    // tokens: only enrollers, and only those without limits, as a token lets in any node
    for (who, exit) in [(&lab, Exit::Failed), (&limited, Exit::Failed), (&gpio, Exit::Failed), (&enroller, Exit::Done)]
    {
        let wish = pi_controller::TokenWish { lifetime: std::time::Duration::from_secs(600), uses: 1, name: None };
        let made = pi_controller::create_token(who, wish).await;
        assert_eq!(made.is_ok(), exit == Exit::Done, "{who:?}");
        denied += usize::from(made.is_err());
    }
    // control: of the labels that the limited one enrols
    let out = cluster.folder("lab.token").display().to_string();
    let made = says(&cluster, &limited, &format!("token create --label room=lab --out {out}")).await;
    assert_eq!(made.exit, Exit::Done, "{}", made.err);
    let made = says(&cluster, &limited, &format!("token create --label room=barn --out {out}")).await;
    assert_eq!(made.exit, Exit::Denied, "{}", made.err);
    // an enroller makes tokens and nothing else
    for line in ["node list", "operator list", "gpio get sim-1 17", "operator show admin"] {
        assert_eq!(says(&cluster, &enroller, line).await.exit, Exit::Denied, "{line}");
        denied += 1;
    }
    assert_eq!(says(&cluster, &cluster.admin(), "operator list").await.out.lines().count(), 6, "nobody was added");
    // control: what is their own can be given
    let add = AddOperatorRequest {
        name: "eve".to_owned(),
        grants: vec![grant(Role::Gpio, Scope { lines: names(&["17"]), ..in_lab })],
        csr: csr(),
        certificate_lifetime: None,
    };
    client(&lab).add_operator(add).await.unwrap();
    let renew = RenewCertificateRequest { name: "eve".to_owned(), csr: csr() };
    client(&lab).renew_certificate(renew).await.unwrap();
    figure(format!("S14: {denied} attempts above one's own, all denied; nobody added"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_its_field() {
    let cluster = Cluster::start().await;
    let mut admin = client(&cluster.admin());
    let names = |names: Vec<String>| Some(Names { names });
    let scoped = |role: Role, scope: Scope| vec![Grant { role: role.into(), scope: Some(scope) }];
    let empty = Scope { lines: names(vec![]), ..Scope::default() };
    let many = Scope { lines: names((0..65).map(|n| n.to_string()).collect()), ..Scope::default() };
    let nowhere = Scope { nodes: Some(Default::default()), ..Scope::default() };
    let other = Scope { units: names(vec!["a.service".to_owned()]), ..Scope::default() };
    for (grants, field, why) in [
        (vec![], "", "at least one role"),
        (vec![Grant { role: 0, scope: None }], "grants.role", "is required"),
        (vec![Grant { role: 99, scope: None }], "grants.role", "is not known to this controller"),
        (vec![Grant { role: 1, scope: None }, Grant { role: 1, scope: None }], "grants.role", "names viewer twice"),
        (scoped(Role::Gpio, empty), "grants.scope.lines", "name at least one of the lines"),
        (scoped(Role::Gpio, many), "grants.scope.lines", "at most 64"),
        (scoped(Role::Gpio, nowhere), "grants.scope.nodes", "name at least one label"),
        (scoped(Role::Gpio, other), "grants.scope", "leave units out"),
    ] {
        let add = AddOperatorRequest { name: "bob".to_owned(), grants, csr: csr(), certificate_lifetime: None };
        let refused = admin.add_operator(add).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().contains(why), "{why}: {refused:?}");
        assert!(field.is_empty() || refused.message().starts_with(field), "{field}: {refused:?}");
        assert!(field.is_empty() || reason(&refused) == "INVALID_FIELD", "{refused:?}");
    }
    let grants = vec![Grant { role: 1, scope: None }];
    for csr in [vec![], b"x".to_vec(), [csr(), vec![0]].concat()] {
        let add =
            AddOperatorRequest { name: "bob".to_owned(), grants: grants.clone(), csr, certificate_lifetime: None };
        let refused = admin.add_operator(add).await.unwrap_err();
        assert!(refused.code() == Code::InvalidArgument && refused.message().starts_with("csr"), "{refused:?}");
    }
}

/// S8b, for calls: from the answer to a change of roles on, no call is allowed by the roles of before.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_roles_acts_at_once() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let bob = operator(&cluster, "bob", &["--role", "gpio"]).await;
    let (mut calls, mut admin) = (proxied(&bob, "sim-1"), client(&cluster.admin()));
    let read = |pin| GpioRequest { pin: Some(pin), ..GpioRequest::default() };
    let give = |lines: Option<&str>| {
        let lines = lines.map(|line| Names { names: vec![line.to_owned()] });
        vec![Grant { role: Role::Gpio.into(), scope: Some(Scope { lines, ..Scope::default() }) }]
    };
    let change = |give: Vec<Grant>, take: Vec<i32>| ChangeRolesRequest { name: "bob".to_owned(), give, take };
    let mut until_denied = Vec::new();
    for _ in 0..size(10, 100) {
        calls.control_gpio(read(17)).await.unwrap();
        // less reach, and then no role at all
        admin.change_roles(change(give(Some("4")), vec![])).await.unwrap();
        let changed = Instant::now();
        assert_eq!(calls.control_gpio(read(17)).await.unwrap_err().code(), Code::PermissionDenied);
        until_denied.push(changed.elapsed());
        calls.control_gpio(read(4)).await.unwrap();
        admin.change_roles(change(vec![], vec![Role::Gpio.into()])).await.unwrap();
        let changed = Instant::now();
        assert_eq!(calls.control_gpio(read(4)).await.unwrap_err().code(), Code::PermissionDenied);
        until_denied.push(changed.elapsed());
        admin.change_roles(change(give(None), vec![])).await.unwrap();
    }
    let (count, until_denied) = (until_denied.len(), Sorted::new(until_denied));
    figure(format!("S8b, calls: {count} changes, the next call denied each time; its round trip {until_denied}"));
}

/// S8b, for streams: whose reach shrinks, or whose role goes, or whose node is labelled away, has no stream a second later.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_reach_shrinks() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let admin = cluster.admin();
    let run = async |line: &str| {
        let said = says(&cluster, &admin, line).await;
        assert_eq!(said.exit, Exit::Done, "{line}: {}", said.err);
    };
    run("node label sim-1 room=lab").await;
    let bob = operator(&cluster, "bob", &["--role", "gpio"]).await;
    let mut calls = proxied(&bob, "sim-1");
    let line = LineName { name: Some(Name::Pin(17)) };
    let watch = WatchGpioRequest { lines: vec![line], ..WatchGpioRequest::default() };
    let mut ended = Vec::new();
    for (before, change) in [
        ("operator role bob add gpio", "operator role bob add gpio --lines 4"),
        ("operator role bob add gpio --lines 4,17", "operator role bob add gpio --lines 17"),
        ("operator role bob add gpio", "operator role bob remove gpio"),
        ("operator role bob add gpio --nodes room=lab", "node label sim-1 room=barn"),
    ]
    .repeat(size(1, 10))
    {
        run("node label sim-1 room=lab").await;
        run(before).await;
        let mut records = calls.watch_gpio(watch.clone()).await.unwrap().into_inner();
        records.message().await.unwrap().unwrap();
        let began = Instant::now();
        run(change).await;
        let end = async {
            loop {
                match records.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{change}: ended without a reason"),
                    Err(status) => break status,
                }
            }
        };
        let status = tokio::time::timeout(Duration::from_secs(1), end).await.expect("within a second");
        assert_eq!(status.code(), Code::PermissionDenied, "{change}: {status:?}");
        ended.push(began.elapsed());
    }
    // control: what widens ends nothing
    run("node label sim-1 room=lab").await;
    run("operator role bob add gpio --lines 17 --nodes room=lab").await;
    let mut records = calls.watch_gpio(watch).await.unwrap().into_inner();
    records.message().await.unwrap().unwrap();
    run("operator role bob add gpio --lines 4,17").await;
    run("operator role bob add viewer").await;
    let more = tokio::time::timeout(Duration::from_millis(1500), records.message()).await;
    assert!(more.is_err(), "{more:?}");
    let (count, ended) = (ended.len(), Sorted::new(ended));
    figure(format!("S8b, streams: {count} ended after the command that took the right: {ended}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_locked_unlocked_and_revoked() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let bob = operator(&cluster, "bob", &["--role", "viewer"]).await;
    assert_eq!(says(&cluster, &bob, "node list").await.exit, Exit::Done);
    assert_eq!(says(&cluster, &admin, "operator lock bob --reason holiday").await.exit, Exit::Done);
    assert_ne!(says(&cluster, &bob, "node list").await.exit, Exit::Done);
    let shown = says(&cluster, &admin, "operator show bob").await.out;
    assert!(shown.contains("locked since") && shown.contains("by operator/admin: holiday"), "{shown}");
    assert_eq!(says(&cluster, &admin, "operator unlock bob").await.exit, Exit::Done);
    assert_eq!(says(&cluster, &bob, "node list").await.exit, Exit::Done);
    let asked = says(&cluster, &admin, "operator revoke bob").await;
    assert!(asked.exit == Exit::Usage && asked.err.contains("--yes"), "{}", asked.err);
    assert_eq!(says(&cluster, &admin, "operator revoke bob --yes").await.exit, Exit::Done);
    assert_ne!(says(&cluster, &bob, "node list").await.exit, Exit::Done);
    let list = says(&cluster, &admin, "operator list").await.out;
    assert!(list.contains("revoked"), "{list}");
    let out = cluster.folder("again.toml").display().to_string();
    let again = says(&cluster, &admin, &format!("operator renew bob --out {out}")).await;
    assert!(again.exit == Exit::Conflict && again.err.contains("was revoked"), "{}", again.err);
}
