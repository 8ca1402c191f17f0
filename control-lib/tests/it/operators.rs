//! Who gives what to whom: nobody more than their own. S14.

use std::time::Duration;

use control_lib::{
    AddOperatorRefusal, Admitted, Caller, Change, ChangeRolesRefusal, Control, CreateTokenRefusal, Denied, Grants,
    Identity, Labels, Lifetime, Name, Names, Operator, OperatorSpec, Outcome, Permission, PublicKey,
    RenewOperatorRefusal, Role, Scope, TokenSpec,
};
use rcgen::KeyPair;

use crate::{HOUR, audit, commit, control, control_with_token, csr, join, key, name, refused, start, token_spec};

const GPIO: &str = "/pi.agent.v1.NodeAgent/ControlGPIO";

pub(crate) fn add_operator(
    control: &mut Control,
    who: &Identity,
    operator: &str,
    grants: &[(Role, Scope)],
) -> Result<Admitted, AddOperatorRefusal> {
    let decision = control.add_operator(start(), who, spec(operator, grants));
    commit(control, decision)
}

fn spec(operator: &str, grants: &[(Role, Scope)]) -> OperatorSpec {
    let grants = Grants::new(grants.iter().cloned()).unwrap();
    OperatorSpec { name: name(operator), grants, lifetime: Lifetime::OPERATOR, key: None }
}

fn nodes(selector: &str) -> Scope {
    Scope { nodes: Some(selector.parse().unwrap()), ..Scope::UNLIMITED }
}

fn lines(selector: &str, lines: &[&str]) -> Scope {
    Scope { lines: Some(Names::lines(lines).unwrap()), ..nodes(selector) }
}

fn operator(operator: &str) -> Identity {
    Identity::operator(name(operator))
}

fn c1() -> Identity {
    Identity::controller(name("c1"))
}

fn public(key: &KeyPair) -> PublicKey {
    PublicKey::from_csr(&csr(key)).unwrap()
}

/// An admin of everything, one of the lab, and `bob`, who has two lines of the lab.
fn populated() -> Control {
    let mut control = control();
    add_operator(&mut control, &c1(), "root", &[(Role::Admin, Scope::UNLIMITED)]).unwrap();
    add_operator(&mut control, &operator("root"), "lab", &[(Role::Admin, nodes("room=lab"))]).unwrap();
    let bobs = [(Role::Viewer, nodes("room=lab")), (Role::Gpio, lines("room=lab", &["17", "27"]))];
    add_operator(&mut control, &operator("lab"), "bob", &bobs).unwrap();
    control
}

fn grants(control: &Control, operator: &str) -> String {
    control.operator(&name(operator)).unwrap().grants.to_string()
}

fn change(
    control: &mut Control,
    who: &str,
    name: &Name,
    give: &[(Role, Scope)],
    take: &[Role],
) -> Result<Operator, ChangeRolesRefusal> {
    let give = Grants::new(give.iter().cloned()).unwrap();
    let decision = control.change_roles(start(), &operator(who), name, &give, take);
    assert_eq!(audit(&decision.changes).action, "operator.roles");
    commit(control, decision)
}

#[test]
fn an_operator_is_recorded_and_audited() {
    let mut control = control();
    let decision = control.add_operator(start(), &c1(), spec("anna", &[(Role::Admin, Scope::UNLIMITED)]));
    let operator = decision.answer.as_ref().unwrap().operator.clone();
    assert_eq!((&operator.name, operator.created_at, operator.expires), (&name("anna"), start(), None));
    assert_eq!(decision.changes[0], Change::PutOperator(operator));
    let row = audit(&decision.changes);
    assert_eq!((row.who.as_str(), row.subject.as_str()), ("controller/c1", "operator/anna"));
    assert_eq!((row.action.as_str(), row.detail.as_str()), ("operator.add", "roles admin"));
    commit(&mut control, decision).unwrap();
    let again = control.add_operator(start(), &c1(), spec("anna", &[(Role::Viewer, Scope::UNLIMITED)]));
    assert!(matches!(refused(again, Outcome::Denied), AddOperatorRefusal::Exists(_)));
}

#[test]
fn nobody_adds_an_operator_above_their_own() {
    let control = populated();
    let add = |who: &Identity, grants: &[(Role, Scope)]| {
        refused(control.add_operator(start(), who, spec("eve", grants)), Outcome::Denied).to_string()
    };
    let gpio = "ask somebody who has the role gpio as far as it is to reach: nobody gives more than their own";
    let lab = operator("lab");
    assert_eq!(add(&lab, &[(Role::Gpio, Scope::UNLIMITED)]), gpio);
    assert_eq!(add(&lab, &[(Role::Gpio, nodes("room=barn"))]), gpio);
    assert_eq!(add(&lab, &[(Role::Viewer, nodes("room=lab")), (Role::Gpio, lines("rack=1", &["17"]))]), gpio);
    assert!(add(&lab, &[(Role::Admin, Scope::UNLIMITED)]).contains("the role admin"));
    for who in [operator("bob"), operator("nobody"), Identity::node(name("pi-7"))] {
        assert_eq!(add(&who, &[(Role::Viewer, nodes("room=lab"))]), "ask an admin: only admins add operators", "{who}");
    }
    assert_eq!(add(&operator("root"), &[]), "give the operator at least one role");
    // control: what is their own can be given
    for grant in [(Role::Admin, nodes("room=lab")), (Role::Exec, nodes("rack=1,room=lab"))] {
        assert!(control.add_operator(start(), &lab, spec("eve", &[grant])).answer.is_ok());
    }
}

#[test]
fn nobody_changes_what_is_above_their_own() {
    let mut control = populated();
    let bob = name("bob");
    let refusal = change(&mut control, "lab", &bob, &[(Role::Logs, Scope::UNLIMITED)], &[]).unwrap_err();
    assert_eq!(refusal, ChangeRolesRefusal::AboveOwn(Role::Logs));
    // neither may a lab's admin take from somebody who has more than the lab
    assert_eq!(
        change(&mut control, "lab", &name("root"), &[], &[Role::Admin]).unwrap_err(),
        ChangeRolesRefusal::AboveOwn(Role::Admin)
    );
    assert_eq!(change(&mut control, "bob", &bob, &[], &[Role::Viewer]).unwrap_err(), ChangeRolesRefusal::NotAdmin);
    assert_eq!(grants(&control, "bob"), "viewer (nodes room=lab), gpio (nodes room=lab, lines 17,27)");

    change(&mut control, "lab", &bob, &[(Role::Gpio, lines("room=lab", &["17"]))], &[Role::Viewer]).unwrap();
    assert_eq!(grants(&control, "bob"), "gpio (nodes room=lab, lines 17)");
    assert_eq!(
        change(&mut control, "lab", &bob, &[], &[Role::Exec]).unwrap_err(),
        ChangeRolesRefusal::NotHeld(bob.clone(), Role::Exec)
    );
    let nobody = change(&mut control, "root", &name("nobody"), &[], &[]).unwrap_err();
    assert_eq!(nobody, ChangeRolesRefusal::Unknown(name("nobody")));
}

#[test]
fn the_last_admin_stays_one() {
    let mut control = populated();
    let root = name("root");
    let last = ChangeRolesRefusal::LastAdmin(root.clone());
    assert_eq!(change(&mut control, "root", &root, &[], &[Role::Admin]).unwrap_err(), last);
    assert_eq!(change(&mut control, "root", &root, &[(Role::Admin, nodes("room=lab"))], &[]).unwrap_err(), last);
    add_operator(&mut control, &operator("root"), "anna", &[(Role::Admin, Scope::UNLIMITED)]).unwrap();
    change(&mut control, "root", &root, &[], &[Role::Admin]).unwrap();
    assert_eq!(grants(&control, "root"), "none");
}

#[test]
fn nobody_certifies_a_key_for_somebody_above_them() {
    let mut control = populated();
    let key = public(&key());
    let mut renew = |who: &Identity, of: &str| {
        let decision = control.renew_operator(start() + HOUR, who, &name(of), &key);
        assert_eq!(audit(&decision.changes).action, "operator.renew");
        commit(&mut control, decision)
    };
    // the lab's admin as root, or bob as the lab's admin, would be root and the lab's admin
    assert!(matches!(renew(&operator("lab"), "root"), Err(RenewOperatorRefusal::AboveOwn(Role::Admin, _))));
    assert!(matches!(renew(&operator("bob"), "lab"), Err(RenewOperatorRefusal::NotAdmin)));
    assert!(matches!(renew(&Identity::node(name("bob")), "bob"), Err(RenewOperatorRefusal::NotAdmin)));
    assert!(matches!(renew(&operator("root"), "nobody"), Err(RenewOperatorRefusal::Unknown(_))));
    for who in ["bob", "lab", "root"] {
        let certificate = renew(&operator(who), "bob").unwrap();
        assert_eq!(certificate.not_after.duration_since(start()).unwrap().as_secs() / 3600, 90 * 24);
    }
    assert!(control.operator(&name("bob")).unwrap().expires > Some(start()));
}

#[test]
fn an_operator_is_certified_for_as_long_as_was_said_and_not_with_a_nodes_key() {
    let mut control = control_with_token(1);
    let nodes_key = key();
    join(&mut control, "pi-7", &nodes_key).unwrap();
    let day = Lifetime::operator(Duration::from_secs(24 * 3600)).unwrap();
    let own = key();
    let with = |key: &KeyPair| OperatorSpec {
        lifetime: day,
        key: Some(public(key)),
        ..spec("bob", &[(Role::Viewer, Scope::UNLIMITED)])
    };
    let refusal = refused(control.add_operator(start(), &c1(), with(&nodes_key)), Outcome::Denied);
    assert!(matches!(refusal, AddOperatorRefusal::KeyTaken(_)), "{refusal}");
    let decision = control.add_operator(start(), &c1(), with(&own));
    let admitted = commit(&mut control, decision).unwrap();
    let certificate = admitted.certificate.unwrap();
    assert_eq!(PublicKey::from_certificate(&certificate.der), Ok(public(&own)));
    assert_eq!(certificate.not_after.duration_since(certificate.not_before).unwrap(), Duration::from_secs(25 * 3600));
    assert_eq!(admitted.operator.expires, Some(certificate.not_after));
    let renewed = control.renew_operator(start() + HOUR, &operator("bob"), &name("bob"), &public(&key()));
    assert_eq!(renewed.answer.unwrap().not_after, certificate.not_after + HOUR);
}

/// A node with a label, another without, and `bob` with lines of the labelled one.
fn with_nodes() -> Control {
    let mut control = control_with_token(2);
    for (node, room) in [("pi-7", "lab"), ("pi-8", "barn")] {
        join(&mut control, node, &key()).unwrap();
        let labels = Labels::new([("room", room)]).unwrap();
        let decision = control.label_node(start() + HOUR, &c1(), &name(node), &labels, &Default::default());
        commit(&mut control, decision).unwrap();
    }
    add_operator(&mut control, &c1(), "root", &[(Role::Admin, Scope::UNLIMITED)]).unwrap();
    let bobs = [
        (Role::Viewer, Scope::UNLIMITED),
        (Role::Gpio, lines("room=lab", &["GPIO17", "heater"])),
        (Role::Enroller, nodes("room=lab")),
        (Role::Provision, nodes("room=lab")),
    ];
    add_operator(&mut control, &c1(), "bob", &bobs).unwrap();
    control
}

#[test]
fn a_role_reaches_the_nodes_that_it_is_limited_to() {
    let control = with_nodes();
    let bob = Caller::Identity(operator("bob"));
    let on = |node: &str| control.rights_on(&bob, GPIO, &name(node));
    let rights = on("pi-7").unwrap();
    assert_eq!((rights.roles_text().as_str(), rights.limits.to_string().as_str()), ("viewer,gpio", "lines=17,heater"));
    for node in ["pi-8", "no-such-node"] {
        let denied = on(node).unwrap_err();
        assert_eq!(denied.to_string(), format!("operator/bob lacks the role gpio for node/{node}; ask an admin"));
    }
    let rights = control.rights_on(&bob, "/pi.agent.v1.NodeAgent/HealthCheck", &name("pi-8")).unwrap();
    assert_eq!((rights.roles_text().as_str(), rights.limits.to_string().as_str()), ("viewer", "*"));
    let rights = control.rights_on(&Caller::Identity(operator("root")), GPIO, &name("pi-8")).unwrap();
    assert_eq!((rights.roles_text().as_str(), rights.limits.to_string().as_str()), ("admin", "*"));

    let seen = |who: &Caller, permission| {
        control
            .nodes()
            .filter(|node| control.reaches(who, permission, node))
            .map(|node| node.name.to_string())
            .collect()
    };
    let seen = |who: &Caller, permission| -> Vec<String> { seen(who, permission) };
    assert_eq!(seen(&bob, Permission::View), ["pi-7", "pi-8"]);
    assert_eq!(seen(&bob, Permission::Gpio), ["pi-7"]);
    assert!(seen(&bob, Permission::Exec).is_empty() && seen(&Caller::Token, Permission::View).is_empty());
}

#[test]
fn what_concerns_the_whole_fleet_asks_for_a_role_without_limits() {
    let control = with_nodes();
    let bob = Caller::Identity(operator("bob"));
    let list = "/pi.fleet.v1.Tokens/ListTokens";
    let denied = control.authorize(&bob, list).unwrap_err();
    assert_eq!(denied, Denied::Limited { operator: name("bob"), role: Role::Enroller });
    assert!(control.authorize(&bob, "/pi.control.v1.ControlPlane/RequestProvisioning").is_err());
    assert!(control.authorize(&Caller::Identity(operator("root")), list).is_ok());
}

#[test]
fn whoever_enrols_nodes_of_some_labels_makes_tokens_for_those() {
    let control = with_nodes();
    let make = |who: &str, labels: &[(&str, &str)], own_labels| {
        let labels = Labels::new(labels.iter().copied()).unwrap();
        let spec = TokenSpec { labels, own_labels, ..token_spec([7; 32]) };
        control.create_token(start(), &operator(who), spec)
    };
    for (labels, own_labels) in [(&[][..], false), (&[("room", "barn")], false), (&[("room", "lab")], true)] {
        assert_eq!(refused(make("bob", labels, own_labels), Outcome::Denied), CreateTokenRefusal::AboveOwn);
        assert!(make("root", labels, own_labels).answer.is_ok());
    }
    assert!(make("bob", &[("room", "lab"), ("rack", "2")], false).answer.is_ok());
}

#[test]
fn a_revoked_name_is_used_up() {
    let mut control = populated();
    let decision = control.revoke(start(), &operator("root"), &operator("bob"), Default::default());
    commit(&mut control, decision).unwrap();
    let again = control.add_operator(start(), &c1(), spec("bob", &[(Role::Viewer, Scope::UNLIMITED)]));
    assert!(matches!(refused(again, Outcome::Denied), AddOperatorRefusal::Exists(_)));
    let renewed = control.renew_operator(start(), &operator("root"), &name("bob"), &public(&key()));
    assert!(matches!(refused(renewed, Outcome::Denied), RenewOperatorRefusal::Revoked(_)));
    // of an operator who was never added here, but listed on some node
    let decision = control.revoke(start(), &operator("root"), &operator("eve"), Default::default());
    commit(&mut control, decision).unwrap();
    let eve = control.add_operator(start(), &c1(), spec("eve", &[(Role::Viewer, Scope::UNLIMITED)]));
    assert!(matches!(refused(eve, Outcome::Denied), AddOperatorRefusal::Revoked(_)));
    // who is kept out does not count as an admin who is left
    add_operator(&mut control, &c1(), "anna", &[(Role::Admin, Scope::UNLIMITED)]).unwrap();
    let decision = control.lock(start(), &operator("root"), &operator("anna"), Default::default());
    commit(&mut control, decision).unwrap();
    let last = change(&mut control, "root", &name("root"), &[], &[Role::Admin]).unwrap_err();
    assert_eq!(last, ChangeRolesRefusal::LastAdmin(name("root")));
}
