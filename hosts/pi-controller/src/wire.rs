//! Between messages and the types of `control-lib`, by kind of thing. Nothing of prost goes further in than here.
//! Messages are destructured in full, so that a new field cannot pass unseen.

mod exclusion;
mod operator;

use std::collections::HashMap;
use std::str::FromStr;
use std::time::{Instant, SystemTime};

use control_lib::{
    Caller, Control, Denied, Endpoint, Excluded, Identity, Inventory, Kind, Labels, Name, Node, Presence,
    RegisterRefusal, Registered, Registration, Report, State, Text, TrustBundle,
};
use mtls::{Peer, PeerIdentity};
use proto::control::v1 as control_pb;
use proto::fleet::v1 as pb;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub(crate) use operator::*;

use crate::ledger::LedgerError;

pub(crate) use exclusion::{excluded_node, exclusion, exclusion_refusal, not_stored, reason, subject};

const DOMAIN: &str = "pi-controller";

/// A status with a reason for programs beside the sentence for people.
pub(crate) fn status<const N: usize>(code: Code, reason: &str, why: &str, facts: [(&str, String); N]) -> Status {
    let facts = facts.map(|(key, value)| (key.to_owned(), value));
    Status::with_error_details(code, why, ErrorDetails::with_error_info(reason, DOMAIN, facts))
}

/// A field that does not make sense.
pub(crate) fn invalid(field: &str, why: &str) -> Status {
    status(Code::InvalidArgument, "INVALID_FIELD", &format!("{field} {why}"), [("field", field.to_owned())])
}

/// No node of that name.
pub(crate) fn unknown_node(name: &str) -> Status {
    let why = format!("no node is called {name:?}; list the nodes to see their names");
    status(Code::NotFound, "UNKNOWN_NODE", &why, [("node", name.to_owned())])
}

/// The caller behind a connection.
pub(crate) fn caller(peer: &Peer) -> Result<Caller, Status> {
    match peer {
        Peer::Token(..) => Ok(Caller::Token),
        Peer::Certified(identity, _) => Ok(Caller::Identity(self::identity(identity)?)),
    }
}

/// Whom a certificate names.
pub(crate) fn identity(peer: &PeerIdentity) -> Result<Identity, Status> {
    let PeerIdentity { cluster: _, kind, name } = peer; // the verifier has compared the cluster
    let kind = match kind {
        mtls::Kind::Node => Kind::Node,
        mtls::Kind::Operator => Kind::Operator,
        mtls::Kind::Controller => Kind::Controller,
    };
    let name = name.parse().map_err(|_| Status::unauthenticated("the certificate's name is not one"))?;
    Ok(Identity { kind, name })
}

/// A call that is not allowed.
pub(crate) fn denied(denied: &Denied) -> Status {
    let reason = match denied {
        Denied::Excluded(excluded) => excluded_reason(excluded),
        _ => "ACCESS_DENIED",
    };
    status(Code::PermissionDenied, reason, &denied.to_string(), [])
}

/// What a node makes its conclusions from, when it is itself that is kept out.
fn excluded_reason(excluded: &Excluded) -> &'static str {
    if excluded.is_for_good() { "REVOKED" } else { "LOCKED" }
}

/// Something that only admins may ask about others.
pub(crate) fn not_your_own() -> Status {
    status(Code::PermissionDenied, "ACCESS_DENIED", "ask about yourself, or ask an admin", [])
}

/// A decision that could not be made durable.
pub(crate) fn ledger(error: LedgerError) -> Status {
    let why = startup::one_line(&error);
    tracing::error!(%why, "nothing was committed");
    if matches!(&error, LedgerError::Commit(error) if error.is_disk_full()) {
        let why = "nothing was changed: the controller's disk is full, make room there";
        return status(Code::ResourceExhausted, "DISK_FULL", why, [("retryable", "true".to_owned())]);
    }
    status(Code::Unavailable, "NOT_COMMITTED", "nothing was changed: the store failed, see the controller's log", [])
}

pub(crate) fn parse<T: FromStr>(field: &str, text: &str) -> Result<T, Status>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|wrong: T::Err| invalid(field, &format!("is wrong: {wrong}")))
}

/// What a node asks for. An enrolled node's name is that of its certificate, whatever the message says.
pub(crate) fn registration(message: control_pb::NodeRegistration, caller: &Caller) -> Result<Registration, Status> {
    let control_pb::NodeRegistration { csr, name, inventory, labels, endpoints, roots_version } = message;
    let name = match caller {
        Caller::Identity(identity) => identity.name.clone(),
        Caller::Token => parse("name", &name)?,
    };
    Ok(Registration {
        name,
        csr,
        inventory: self::inventory(inventory.unwrap_or_default())?,
        labels: self::labels("labels", labels)?,
        endpoints: endpoints.iter().map(|text| parse("endpoints", text)).collect::<Result<Vec<Endpoint>, _>>()?,
        roots_version,
    })
}

pub(crate) fn labels(field: &str, pairs: HashMap<String, String>) -> Result<Labels, Status> {
    Labels::new(pairs).map_err(|wrong| invalid(field, &format!("are wrong: {}", startup::one_line(&wrong))))
}

fn inventory(message: control_pb::Inventory) -> Result<Inventory, Status> {
    let control_pb::Inventory {
        model,
        serial,
        revision,
        kernel,
        os,
        architecture,
        ram_bytes,
        machine_id,
        boot_id,
        gpio_backend,
        gpio_lines,
    } = message;
    Ok(Inventory {
        model: parse("inventory.model", &model)?,
        serial: parse("inventory.serial", &serial)?,
        revision: parse("inventory.revision", &revision)?,
        kernel: parse("inventory.kernel", &kernel)?,
        os: parse("inventory.os", &os)?,
        architecture: parse("inventory.architecture", &architecture)?,
        ram_bytes,
        machine_id: parse("inventory.machine_id", &machine_id)?,
        boot_id: parse("inventory.boot_id", &boot_id)?,
        backend: parse("inventory.gpio_backend", &gpio_backend)?,
        lines: gpio_lines,
    })
}

/// The answer to a node that was registered; its certificate only where it asked for one.
pub(crate) fn registered(registered: Registered, issued: bool) -> control_pb::RegistrationResponse {
    let Registered { node, certificate, ca_certificate, roots, not_after: _, renew_at, pending, revision } = registered;
    control_pb::RegistrationResponse {
        node_id: node.to_string(),
        certificate_chain: if issued { vec![certificate, ca_certificate] } else { Vec::new() },
        ca_bundle: roots,
        renew_at: Some(renew_at.into()),
        revision,
        pending,
    }
}

/// A call to a node that waits for approval.
pub(crate) fn pending(node: &Name) -> Status {
    let why = Denied::Pending(node.clone()).to_string();
    status(Code::FailedPrecondition, "NOT_APPROVED", &why, [("node", node.to_string())])
}

/// Whom a node is to believe.
pub(crate) fn trust_update(bundle: TrustBundle, now: SystemTime) -> control_pb::TrustUpdate {
    let TrustBundle { roots_version, roots, denied_identities, denied_keys } = bundle;
    control_pb::TrustUpdate {
        roots_version,
        roots,
        denied_identities: denied_identities.iter().map(ToString::to_string).collect(),
        denied_keys: denied_keys.into_iter().map(Vec::from).collect(),
        time: Some(now.into()),
    }
}

/// Why a node was not registered.
pub(crate) fn register_refusal(refusal: RegisterRefusal) -> Status {
    let why = startup::one_line(&refusal);
    if refusal.is_alarm() {
        tracing::warn!(%why, "alarm: a registration was refused");
    } else {
        tracing::info!(%why, "refused a registration");
    }
    let (code, reason) = match refusal {
        RegisterRefusal::TokenUnknown => (Code::PermissionDenied, "TOKEN_UNKNOWN"),
        RegisterRefusal::TokenExpired(_) => (Code::PermissionDenied, "TOKEN_EXPIRED"),
        RegisterRefusal::TokenUsed(_) => (Code::PermissionDenied, "TOKEN_USED"),
        RegisterRefusal::TokenRevoked(_) => (Code::PermissionDenied, "TOKEN_REVOKED"),
        RegisterRefusal::TokenBoard => (Code::PermissionDenied, "TOKEN_BOUND"),
        RegisterRefusal::BoardTaken(_) => (Code::AlreadyExists, "BOARD_TAKEN"),
        RegisterRefusal::Clone(_) => (Code::PermissionDenied, "CLONE"),
        RegisterRefusal::TokenBound { .. } => (Code::PermissionDenied, "TOKEN_BOUND"),
        RegisterRefusal::NameTaken(_) => (Code::AlreadyExists, "NAME_TAKEN"),
        RegisterRefusal::KeyTaken(_) => (Code::PermissionDenied, "KEY_TAKEN"),
        RegisterRefusal::NodeUnknown(_) => (Code::PermissionDenied, "NODE_UNKNOWN"),
        RegisterRefusal::OtherName(_) => (Code::PermissionDenied, "OTHER_NAME"),
        RegisterRefusal::Excluded(ref excluded) => (Code::PermissionDenied, excluded_reason(excluded)),
        RegisterRefusal::CsrMissing => (Code::InvalidArgument, "CSR_MISSING"),
        RegisterRefusal::Csr(_) => (Code::InvalidArgument, "CSR"),
        RegisterRefusal::Endpoints(_) => (Code::InvalidArgument, "ENDPOINTS"),
        RegisterRefusal::Issue(_) => (Code::Unavailable, "NOT_ISSUED"),
    };
    status(code, reason, &why, [])
}

/// The longest name of a process; agents draw 32 characters.
const LONGEST_INSTANCE: usize = 64;

/// Which process of a node it is.
pub(crate) fn instance(text: &str) -> Result<&str, Status> {
    match text.len() {
        0..=LONGEST_INSTANCE => Ok(text),
        _ => Err(invalid("instance", "must have at most 64 bytes")),
    }
}

/// A node spoke of another one.
pub(crate) fn other_node(who: &Name, other: &str) -> Status {
    let why = format!("report as {who}: a node speaks for itself only, not for {other:?}");
    status(Code::PermissionDenied, "OTHER_NODE", &why, [])
}

/// A heartbeat.
pub(crate) fn report(message: control_pb::HealthReport) -> Result<Report, Status> {
    // the receiver's clock counts, and the interval is the cluster's
    let control_pb::HealthReport { boot_id, sequence, interval: _, health, time: _ } = message;
    let status = health.map(|health| health.status).unwrap_or_default();
    Ok(Report { boot_id: parse("boot_id", &boot_id)?, sequence, status: parse("health.status", &status)? })
}

/// Where a page begins: after this node.
pub(crate) fn page_start(token: &str) -> Result<Option<Name>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    parse("page_token", token).map(Some)
}

/// A node for people.
pub(crate) fn node(node: &Node, control: &Control, presence: &Presence, now: Instant) -> pb::Node {
    let state = match presence.state(&node.name, now) {
        State::Ready => pb::NodeState::Ready,
        State::Suspect => pb::NodeState::Suspect,
        State::Offline => pb::NodeState::Offline,
        State::Unknown => pb::NodeState::Unknown,
    };
    let age = presence.heard_at(&node.name).map(|at| now.saturating_duration_since(at));
    pb::Node {
        id: node.name.to_string(),
        state: state.into(),
        labels: node.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        endpoints: node.endpoints.iter().map(ToString::to_string).collect(),
        inventory: Some(inventory_message(&node.inventory)),
        registered_at: Some(node.registered_at.into()),
        certificate_expires: Some(node.certificate.not_after.into()),
        last_report_age: age.and_then(|age| prost_types::Duration::try_from(age).ok()),
        pending: node.pending,
        exclusion: control.exclusion(&Identity::node(node.name.clone())).map(exclusion::exclusion),
        denied_calls: presence.denied(&node.name),
        health: presence.last(&node.name).map(|report| report.status.to_string()).unwrap_or_default(),
    }
}

fn inventory_message(inventory: &Inventory) -> control_pb::Inventory {
    let Inventory { model, serial, revision, kernel, os, architecture, ram_bytes, machine_id, boot_id, backend, lines } =
        inventory;
    let text = |text: &Text| text.to_string();
    control_pb::Inventory {
        model: text(model),
        serial: text(serial),
        revision: text(revision),
        kernel: text(kernel),
        os: text(os),
        architecture: text(architecture),
        ram_bytes: *ram_bytes,
        machine_id: text(machine_id),
        boot_id: text(boot_id),
        gpio_backend: text(backend),
        gpio_lines: *lines,
    }
}
