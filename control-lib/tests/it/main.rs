//! What a control plane is promised, seen from outside.
// Clippy's own exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod approval;
mod audit;
mod authorize;
mod clones;
mod csr;
mod issuer;
mod join;
mod labels;
mod names;
mod operators;
mod presence;
mod renew;
mod revocation;
mod scopes;
mod tokens;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control_lib::{
    AuditRow, Change, ClusterId, Control, Decision, Identity, Inventory, Issuer, Name, Outcome, Presented,
    RegisterRefusal, Registered, Registration, TokenRecord, TokenSpec,
};
use rcgen::{CertificateParams, KeyPair};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The public keys of two tokens; nothing here proves possession of them, the TLS host does.
const TOKEN: [u8; 32] = [1; 32];
const OTHER_TOKEN: [u8; 32] = [2; 32];

/// 1 June 2026, with a fraction of a second that no certificate can express.
fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(1_780_272_000_123_456_789)
}

fn cluster() -> ClusterId {
    "greenhouse".parse().unwrap()
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

fn anna() -> Identity {
    Identity::operator(name("anna"))
}

fn control() -> Control {
    Control::new(Issuer::create(&cluster(), start()).unwrap())
}

/// A control plane on which `anna` made a token of `uses` uses for a day.
fn control_with_token(uses: u32) -> Control {
    let mut control = control();
    make_token(&mut control, TokenSpec { uses, ..token_spec(TOKEN) });
    control
}

/// A token for one node, for a day.
fn token_spec(public_key: [u8; 32]) -> TokenSpec {
    TokenSpec {
        public_key,
        ttl: DAY,
        uses: 1,
        bound_name: None,
        bound_serial: None,
        labels: Default::default(),
        own_labels: false,
        approval: false,
    }
}

fn make_token(control: &mut Control, spec: TokenSpec) -> TokenRecord {
    commit(control, control.create_token(start(), &anna(), spec)).unwrap()
}

/// What a host does with a decision, without the disk.
fn commit<T>(control: &mut Control, decision: Decision<T>) -> T {
    control.apply(decision.changes);
    decision.answer
}

fn csr(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn request(node: &str, key: &KeyPair) -> Registration {
    Registration {
        name: name(node),
        csr: Some(csr(key)),
        inventory: Default::default(),
        labels: Default::default(),
        endpoints: Vec::new(),
        roots_version: None,
    }
}

/// What the board with this serial number asks for.
fn request_of(node: &str, key: &KeyPair, serial: &str) -> Registration {
    let inventory = Inventory { serial: serial.parse().unwrap(), ..Default::default() };
    Registration { inventory, ..request(node, key) }
}

/// Joins with [`TOKEN`], an hour after the token was made.
fn join(control: &mut Control, node: &str, key: &KeyPair) -> Result<Registered, RegisterRefusal> {
    let presented = Presented::Token { public_key: &TOKEN };
    commit(control, control.register(start() + HOUR, presented, request(node, key)))
}

/// The one audit row among `changes`.
fn audit(changes: &[Change]) -> &AuditRow {
    let rows: Vec<_> =
        changes.iter().filter_map(|change| if let Change::Audit(row) = change { Some(row) } else { None }).collect();
    assert_eq!(rows.len(), 1, "one audit row in {changes:?}");
    rows[0]
}

/// Asserts that `decision` stores nothing but one audit row with `outcome`, and gives the refusal.
fn refused<T: std::fmt::Debug, E>(decision: Decision<Result<T, E>>, outcome: Outcome) -> E {
    assert_eq!(decision.changes.len(), 1, "{:?}", decision.changes);
    assert_eq!(audit(&decision.changes).outcome, outcome);
    decision.answer.expect_err("a refusal")
}
