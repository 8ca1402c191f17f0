//! Labels are what rights can depend on: who gives them, and that a node cannot choose its own unless it may.

use std::collections::BTreeSet;

use control_lib::{ApprovalRefusal, Control, Labels, LabelsError, Outcome, Presented, Registration, TokenSpec};
use rcgen::KeyPair;

use crate::{HOUR, TOKEN, anna, audit, commit, control, key, make_token, name, refused, request, start, token_spec};

const BY_TOKEN: Presented<'static> = Presented::Token { public_key: &TOKEN };

fn labels(text: &str) -> Labels {
    Labels::new(text.split_whitespace().filter_map(|pair| pair.split_once('='))).unwrap()
}

fn said(text: &str, key: &KeyPair) -> Registration {
    Registration { labels: labels(text), ..request("pi-7", key) }
}

/// `pi-7`, joined with a token of these labels, saying `room=vault floor=1` of itself.
fn joined(token: &str, own_labels: bool) -> (Control, KeyPair) {
    let (mut control, key) = (control(), key());
    make_token(&mut control, TokenSpec { labels: labels(token), own_labels, ..token_spec(TOKEN) });
    let decision = control.register(start(), BY_TOKEN, said("room=vault floor=1", &key));
    commit(&mut control, decision).unwrap();
    (control, key)
}

fn of_pi_7(control: &Control) -> String {
    control.node(&name("pi-7")).unwrap().labels.to_string()
}

fn says(control: &mut Control, key: &KeyPair, text: &str) {
    let pi_7 = name("pi-7");
    let decision =
        control.register(start() + HOUR, Presented::Node(&pi_7), Registration { csr: None, ..said(text, key) });
    commit(control, decision).unwrap();
}

fn label(control: &mut Control, set: &str, remove: &[&str]) -> Result<(), ApprovalRefusal> {
    let remove = remove.iter().map(|key| key.parse().unwrap()).collect();
    let decision = control.label_node(start() + HOUR, &anna(), &name("pi-7"), &labels(set), &remove);
    commit(control, decision).map(drop)
}

#[test]
fn a_node_does_not_choose_its_labels() {
    let (mut control, key) = joined("room=lab", false);
    assert_eq!(of_pi_7(&control), "room=lab");
    says(&mut control, &key, "room=vault owner=eve");
    assert_eq!(of_pi_7(&control), "room=lab");
    let (control, _) = joined("", false);
    assert_eq!(of_pi_7(&control), "none");
}

#[test]
fn where_the_token_allows_it_a_nodes_labels_stand_below_those_assigned() {
    let (mut control, key) = joined("room=lab", true);
    assert_eq!(of_pi_7(&control), "floor=1, room=lab");
    says(&mut control, &key, "room=vault shelf=3");
    assert_eq!(of_pi_7(&control), "room=lab, shelf=3");
    label(&mut control, "shelf=9", &["room"]).unwrap();
    assert_eq!(of_pi_7(&control), "shelf=9");
    says(&mut control, &key, "shelf=3");
    assert_eq!(of_pi_7(&control), "shelf=9");
}

#[test]
fn operators_assign_and_take_away() {
    let (mut control, key) = joined("room=lab", false);
    let (set, remove) = (labels("room=hall floor=2"), BTreeSet::from(["owner".parse().unwrap()]));
    let decision = control.label_node(start() + HOUR, &anna(), &name("pi-7"), &set, &remove);
    let row = audit(&decision.changes);
    assert_eq!((row.action.as_str(), row.detail.as_str()), ("node.label", "labels floor=2, room=hall"));
    commit(&mut control, decision).unwrap();
    assert_eq!(of_pi_7(&control), "floor=2, room=hall");
    says(&mut control, &key, "");
    label(&mut control, "", &["floor"]).unwrap();
    assert_eq!(of_pi_7(&control), "room=hall");
    let same = control.label_node(start() + HOUR, &anna(), &name("pi-7"), &labels("room=hall"), &BTreeSet::new());
    assert_eq!(same.changes, []);
}

#[test]
fn there_are_64_at_most() {
    let many = |prefix: &str| (0..40).map(|n| format!("{prefix}{n}=x")).collect::<Vec<_>>().join(" ");
    let (mut control, key) = joined(&many("a"), true);
    says(&mut control, &key, &many("b"));
    assert_eq!(control.node(&name("pi-7")).unwrap().labels.iter().count(), 64);
    let decision = control.label_node(start(), &anna(), &name("pi-7"), &labels(&many("c")), &BTreeSet::new());
    assert_eq!(refused(decision, Outcome::Denied), ApprovalRefusal::Labels(LabelsError::TooMany(80)));
}
