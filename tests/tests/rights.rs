//! What a caller without the right meets, and what a node believes of a controller.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::SystemTime;

use control_lib::{Access, Outcome, Permission};
use mtls::{Context, Expect};
use pi_controller::store::Store;
use proto::agent::v1::GpioRequest;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use tests::{Cluster, UNREADABLE, call_raw, eventually, figure, operator};
use tonic::{Code, Request};

/// S12: exec, writes, tokens, roles, and whatever else is not for viewers. The bodies are no messages: a refusal that comes
/// all the same came before anybody looked at them, and an admin's same call shows what looking says.
#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_is_refused_before_the_body_is_looked_at_and_nothing_happens() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let channel = |context: &std::path::Path| {
        let context = Context::load(context).unwrap();
        context.dialer().unwrap().channel(&context.controller, Expect::Controller).unwrap()
    };
    let vera = channel(&operator(&cluster, "vera", &["--role", "viewer"]).await);
    let admin = channel(&cluster.admin());
    let stored = || Store::open(&cluster.controller_state().join("state.db")).unwrap().load().unwrap().changes;
    let lines = async || cluster.pictl(&["gpio", "list", "sim-1", "-o", "json"]).await.out;
    let (before, lines_before) = (stored(), lines().await);

    let is_for_others = |access: &Access| match access {
        Access::Operator(permission) | Access::Within(permission) => *permission != Permission::View,
        Access::AnyOperator | Access::Member => false,
        _ => true,
    };
    let methods: Vec<&str> =
        control_lib::METHODS.iter().filter(|(_, access)| is_for_others(access)).map(|(method, _)| *method).collect();
    for must in
        ["ExecuteCommand", "ExecuteStream", "ControlGPIO", "StreamGPIO", "CreateToken", "AddOperator", "ChangeRoles"]
    {
        assert!(methods.iter().any(|method| method.ends_with(must)), "{must}");
    }
    let mut looked_at = 0;
    for method in &methods {
        let refused = call_raw(&vera, method, Some("sim-1"), UNREADABLE).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{method}: {refused:?}");
        // control
        let read = call_raw(&admin, method, Some("sim-1"), UNREADABLE).await.unwrap_err();
        match read.code() {
            Code::Internal => looked_at += 1,
            code => assert_eq!(code, Code::PermissionDenied, "{method}: {read:?}"), // nodes' and controllers' methods
        }
    }
    assert!(looked_at >= 10, "{looked_at}");
    // each has its row
    let denied = || {
        let rows = cluster.audit().into_iter();
        let rows = rows.filter(|row| row.who == "operator/vera" && row.outcome == Outcome::Denied);
        rows.map(|row| row.action).collect::<BTreeSet<_>>()
    };
    eventually(async || methods.iter().all(|method| denied().contains(*method))).await;
    assert_eq!(stored(), before);
    assert_eq!(lines().await, lines_before);
    figure(format!(
        "S12: {} methods refused to a viewer, each with its row in the audit, {looked_at} of them looked at for an admin",
        methods.len()
    ));
}

/// Strictly: what a node does not understand of it, or what is missing, allows nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_believes_of_a_controller_only_what_it_understands() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    let (name, address, _) = &fleet.nodes[0];
    let controller = cluster.credentials(&cluster.issuer(), "controller/c2", SystemTime::now());
    let channel = cluster.dialer(&controller).channel(&address.to_string(), Expect::Node(name.clone())).unwrap();
    let read = async |headers: &[(&'static str, &str)]| {
        let mut request = Request::new(GpioRequest { pin: Some(17), ..GpioRequest::default() });
        for (header, value) in headers {
            request.metadata_mut().append(*header, value.parse().unwrap());
        }
        NodeAgentClient::new(channel.clone()).control_gpio(request).await
    };
    let (who, roles, scope) = ("pi-on-behalf-of", "pi-roles", "pi-scope");
    let bob = (who, "operator/bob");
    for good in [
        &[bob, (roles, "gpio"), (scope, "*")][..],
        &[bob, (roles, "viewer,gpio"), (scope, "lines=4,17;templates=x")],
        &[bob, (roles, "admin"), (scope, "lines=4")], // an admin is not limited
        &[],                                          // the controller itself
    ] {
        assert!(read(good).await.is_ok(), "{good:?}");
    }
    let mut refused = 0;
    for bad in [
        &[bob][..],
        &[bob, (roles, "gpio")],
        &[bob, (scope, "*")],
        &[bob, (roles, ""), (scope, "*")],
        &[bob, (roles, "viewer"), (scope, "*")],
        &[bob, (roles, "gpio,king"), (scope, "*")],
        &[bob, (roles, "GPIO"), (scope, "*")],
        &[bob, (roles, "gpio "), (scope, "*")],
        &[bob, (roles, "gpio"), (scope, "")],
        &[bob, (roles, "gpio"), (scope, "lines=4")],
        &[bob, (roles, "gpio"), (scope, "lines=")],
        &[bob, (roles, "gpio"), (scope, "lines=17;lights=2")],
        &[bob, (roles, "gpio"), (scope, "lines=17"), (scope, "*")],
        &[bob, (roles, "viewer"), (roles, "gpio"), (scope, "*")],
        &[(who, ""), (roles, "gpio"), (scope, "*")],
        &[bob, (who, "operator/root"), (roles, "gpio"), (scope, "*")],
    ] {
        let told = read(bad).await.unwrap_err();
        assert_eq!(told.code(), Code::PermissionDenied, "{bad:?}: {told:?}");
        refused += 1;
    }
    let long = format!("lines={}", vec!["17"; 2000].join(","));
    assert_eq!(read(&[bob, (roles, "gpio"), (scope, &long)]).await.unwrap_err().code(), Code::PermissionDenied);
    figure(format!("{} sets of roles and limits that are not understood, all denied", refused + 1));
}
