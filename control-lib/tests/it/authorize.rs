//! Who may call what, as one table to read.

use std::collections::BTreeSet;

use control_lib::{Access, Caller, Control, Denied, Identity, METHODS, Outcome, Role, Scope, access};

use crate::operators::add_operator;
use crate::{control_with_token, join, key, name, start};

/// A control plane with the node `pi-7`, an operator named after each role, and `nobody` without any.
fn populated() -> Control {
    let mut control = control_with_token(1);
    join(&mut control, "pi-7", &key()).unwrap();
    let c1 = Identity::controller(name("c1"));
    for role in Role::ALL {
        add_operator(&mut control, &c1, role.as_str(), &[(role, Scope::UNLIMITED)]).unwrap();
    }
    control
}

fn operator(operator: &str) -> Caller {
    Caller::Identity(Identity::operator(name(operator)))
}

fn node(node: &str) -> Caller {
    Caller::Identity(Identity::node(name(node)))
}

fn controller() -> Caller {
    Caller::Identity(Identity::controller(name("c1")))
}

/// One line per method, one column per caller in the order of `callers`; `x`: may call.
const MATRIX: &str = "
    viewer logs gpio exec shell provision admin enroller node controller token
    x      .    .    .    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/GetSystemMetrics
    x      .    .    .    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/HealthCheck
    .      x    .    .    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/StreamLogs
    x      .    .    .    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/StreamMetrics
    .      .    x    .    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/ControlGPIO
    .      .    x    .    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/ScanI2c
    .      .    x    .    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/StreamGPIO
    .      .    x    .    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/TransferI2c
    .      .    x    .    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/TransferSpi
    .      .    x    .    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/WatchGPIO
    .      .    .    x    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/CancelJob
    .      .    .    x    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/ExecuteCommand
    .      .    .    x    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/ExecuteStream
    .      .    .    x    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/GetJob
    .      .    .    x    .     .         x     .        .    .          .     /pi.agent.v1.NodeAgent/ListJobs
    .      .    .    .    .     .         .     .        x    .          x     /pi.control.v1.ControlPlane/RegisterNode
    .      .    .    .    .     .         .     .        x    .          .     /pi.control.v1.ControlPlane/ReportHealth
    .      .    .    .    .     .         .     .        .    x          .     /pi.control.v1.ControlPlane/SyncClusterState
    .      .    .    .    .     .         .     .        x    .          .     /pi.control.v1.ControlPlane/WatchTrust
    .      .    .    .    .     x         x     .        .    .          .     /pi.control.v1.ControlPlane/RequestProvisioning
    .      .    .    .    .     .         x     .        .    .          .     /pi.fleet.v1.Audit/ListRows
    x      .    .    .    .     .         x     .        .    .          .     /pi.fleet.v1.Fleet/ListNodes
    x      .    .    .    .     .         x     .        .    .          .     /pi.fleet.v1.Fleet/GetNode
    .      .    .    .    .     .         x     .        .    .          .     /pi.fleet.v1.Operators/AddOperator
    .      .    .    .    .     .         x     .        .    .          .     /pi.fleet.v1.Operators/ChangeRoles
    .      .    .    .    .     .         x     .        .    .          .     /pi.fleet.v1.Operators/ListOperators
    x      x    x    x    x     x         x     x        .    .          .     /pi.fleet.v1.Operators/GetOperator
    x      x    x    x    x     x         x     x        .    .          .     /pi.fleet.v1.Operators/RenewCertificate
    .      .    .    .    .     .         x     x        .    .          .     /pi.fleet.v1.Tokens/CreateToken
    .      .    .    .    .     .         x     x        .    .          .     /pi.fleet.v1.Tokens/ListTokens
    .      .    .    .    .     .         x     x        .    .          .     /pi.fleet.v1.Tokens/RevokeToken
    .      .    .    .    .     .         x     x        .    .          .     /pi.fleet.v1.Enrolment/ApproveNode
    .      .    .    .    .     .         x     x        .    .          .     /pi.fleet.v1.Enrolment/RejectNode
    .      .    .    .    .     .         x     .        .    .          .     /pi.fleet.v1.Enrolment/LabelNode
    .      .    .    .    .     .         x     .        .    .          .     /pi.fleet.v1.Exclusions/Lock
    .      .    .    .    .     .         x     .        .    .          .     /pi.fleet.v1.Exclusions/Revoke
    .      .    .    .    .     .         x     .        .    .          .     /pi.fleet.v1.Exclusions/Unlock
    x      x    x    x    x     x         x     x        x    x          .     /grpc.health.v1.Health/Check
    x      x    x    x    x     x         x     x        x    x          .     /grpc.health.v1.Health/List
    x      x    x    x    x     x         x     x        x    x          .     /grpc.health.v1.Health/Watch
    x      x    x    x    x     x         x     x        x    x          .     /grpc.reflection.v1.ServerReflection/ServerReflectionInfo
    .      .    .    .    .     .         .     .        .    .          .     /pi.fleet.v1.Fleet/AddOperator
";

fn caller(column: &str) -> Caller {
    match column {
        "node" => node("pi-7"),
        "controller" => controller(),
        "token" => Caller::Token,
        role => operator(role),
    }
}

#[test]
fn the_matrix_holds() {
    let control = populated();
    let mut lines = MATRIX.trim().lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    let mut seen = BTreeSet::new();
    for mut cells in lines {
        let method = cells.pop().unwrap();
        seen.insert(method);
        assert_eq!(cells.len(), columns.len(), "{method}");
        for (cell, column) in cells.iter().zip(&columns) {
            let answer = control.authorize(&caller(column), method);
            assert_eq!(answer.is_ok(), *cell == "x", "{column} calls {method}: {answer:?}");
        }
    }
    for (method, _) in METHODS {
        assert!(seen.contains(method), "{method} is missing in the matrix");
    }
}

#[test]
fn each_method_stands_in_the_table_once() {
    let paths: BTreeSet<_> = METHODS.iter().map(|(path, _)| path).collect();
    assert_eq!(paths.len(), METHODS.len());
    assert_eq!(access("/pi.control.v1.ControlPlane/SyncClusterState"), Some(Access::Controller));
    for absent in ["", "/", "ControlGPIO", "/pi.agent.v1.NodeAgent/controlgpio", "/pi.agent.v1.NodeAgent/ControlGPIO/"]
    {
        assert_eq!(access(absent), None);
    }
}

#[test]
fn a_denial_says_what_is_missing() {
    let control = populated();
    let denial = |who, method| control.authorize(&who, method).unwrap_err().to_string();
    let gpio = "/pi.agent.v1.NodeAgent/ControlGPIO";
    assert_eq!(denial(operator("viewer"), gpio), "operator/viewer lacks the role gpio; ask an admin");
    assert_eq!(denial(operator("eve"), gpio), "operator/eve is not known here; ask an admin to add it");
    assert_eq!(denial(node("pi-9"), gpio), "node/pi-9 is not enrolled; join again with a new token");
    assert_eq!(denial(node("pi-7"), gpio), "node/pi-7 may not call this; use a certificate of kind operator");
    assert_eq!(denial(Caller::Token, gpio), "a join token may only call RegisterNode; join first");
    assert_eq!(denial(operator("admin"), "/x/Y"), "call another method: nobody may call /x/Y");
    let sync = "/pi.control.v1.ControlPlane/SyncClusterState";
    assert_eq!(
        denial(operator("admin"), sync),
        "operator/admin may not call this; use a certificate of kind controller"
    );
}

#[test]
fn a_certificate_whose_holder_is_gone_opens_nothing() {
    let control = populated();
    for (method, _) in METHODS {
        let denied = control.authorize(&operator("eve"), method).unwrap_err();
        assert_eq!(denied, Denied::UnknownOperator(name("eve")), "{method}");
        let denied = control.authorize(&node("pi-9"), method).unwrap_err();
        assert_eq!(denied, Denied::UnknownNode(name("pi-9")), "{method}");
    }
}

#[test]
fn several_roles_add_up() {
    let mut control = populated();
    let both = [(Role::Viewer, Scope::UNLIMITED), (Role::Logs, Scope::UNLIMITED)];
    add_operator(&mut control, &Identity::controller(name("c1")), "ben", &both).unwrap();
    let may = |method| control.authorize(&operator("ben"), method).is_ok();
    assert!(may("/pi.agent.v1.NodeAgent/HealthCheck") && may("/pi.agent.v1.NodeAgent/StreamLogs"));
    assert!(!may("/pi.agent.v1.NodeAgent/ControlGPIO"));
}

#[test]
fn a_denial_makes_an_audit_row() {
    let (control, method) = (populated(), "/pi.agent.v1.NodeAgent/ExecuteCommand");
    let who = operator("viewer");
    let row = control.authorize(&who, method).unwrap_err().audit(start(), &who, method);
    assert_eq!((row.who.as_str(), row.action.as_str(), row.outcome), ("operator/viewer", method, Outcome::Denied));
    assert_eq!(row.detail, "operator/viewer lacks the role exec; ask an admin");
    let made_up = control.authorize(&who, "/x/Y1").unwrap_err().audit(start(), &who, "/x/Y1");
    assert_eq!((made_up.action.as_str(), made_up.detail.contains("/x/Y1")), ("unknown method", true));
}

#[test]
fn roles_are_written_and_read_as_words() {
    for role in Role::ALL {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    assert!("Admin".parse::<Role>().is_err());
}
