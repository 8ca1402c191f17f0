//! Nodes that wait for an operator's word, and what they may do until then.

use control_lib::{
    ApprovalRefusal, Caller, Change, Control, Denied, Excluded, Identity, METHODS, Outcome, Presented, RegisterRefusal,
    TokenSpec,
};

use crate::{
    DAY, HOUR, OTHER_TOKEN, TOKEN, anna, audit, commit, control, key, make_token, name, refused, request, start,
    token_spec,
};

const REGISTER: &str = "/pi.control.v1.ControlPlane/RegisterNode";

/// A node that joined with a token that asks for approval.
fn pending() -> Control {
    let mut control = control();
    make_token(&mut control, TokenSpec { approval: true, ..token_spec(TOKEN) });
    crate::join(&mut control, "pi-7", &key()).unwrap();
    control
}

fn pi_7() -> Caller {
    Caller::Identity(Identity::node(name("pi-7")))
}

fn may(control: &Control) -> Vec<&'static str> {
    METHODS.iter().map(|(method, _)| *method).filter(|method| control.authorize(&pi_7(), method).is_ok()).collect()
}

#[test]
fn s6_a_pending_node_may_ask_again_and_renew_and_nothing_else() {
    let mut control = pending();
    assert!(control.node(&name("pi-7")).unwrap().pending);
    assert_eq!(may(&control), [REGISTER]);
    let report = "/pi.control.v1.ControlPlane/ReportHealth";
    let denied = control.authorize(&pi_7(), report).unwrap_err();
    assert_eq!(denied, Denied::Pending(name("pi-7")));
    assert_eq!(denied.to_string(), "node/pi-7 waits for approval: pictl node approve pi-7");

    let pi_7 = name("pi-7");
    let renewed = control.register(start() + DAY * 4, Presented::Node(&pi_7), request("pi-7", &key()));
    let renewed = commit(&mut control, renewed).unwrap();
    assert_eq!((renewed.pending, may(&control).len()), (true, 1));
}

#[test]
fn an_approved_node_takes_part() {
    let mut control = pending();
    let decision = control.approve_node(start() + HOUR * 2, &anna(), &name("pi-7"));
    let row = audit(&decision.changes);
    assert_eq!(
        (row.action.as_str(), row.subject.as_str(), row.who.as_str()),
        ("node.approve", "node/pi-7", "operator/anna")
    );
    let node = commit(&mut control, decision).unwrap();
    assert_eq!((node.pending, node.updated_at), (false, start() + HOUR * 2));
    assert!(may(&control).contains(&"/pi.control.v1.ControlPlane/ReportHealth"));
    assert_eq!(control.approve_node(start() + HOUR * 3, &anna(), &name("pi-7")).changes, [], "once is enough");
    let late = refused(control.reject_node(start() + HOUR * 3, &anna(), &name("pi-7")), Outcome::Denied);
    assert_eq!(late, ApprovalRefusal::TakesPart(name("pi-7")));
}

#[test]
fn a_rejected_node_may_do_nothing_and_its_name_is_free() {
    let (mut control, old_key) = (control(), key());
    make_token(&mut control, TokenSpec { approval: true, ..token_spec(TOKEN) });
    crate::join(&mut control, "pi-7", &old_key).unwrap();
    let decision = control.reject_node(start() + HOUR * 2, &anna(), &name("pi-7"));
    assert!(decision.changes.iter().any(|change| matches!(change, Change::PutRevokedKey(_))), "the key is void");
    commit(&mut control, decision).unwrap();
    assert_eq!(may(&control), [""; 0]);
    let pi_7 = name("pi-7");
    let asked = control.register(start() + HOUR * 3, Presented::Node(&pi_7), request("pi-7", &old_key));
    assert!(matches!(asked.answer, Err(RegisterRefusal::Excluded(Excluded::Revoked(_)))));
    let approved = refused(control.approve_node(start() + HOUR * 3, &anna(), &pi_7), Outcome::Denied);
    assert_eq!(approved, ApprovalRefusal::Revoked(name("pi-7")));

    make_token(&mut control, token_spec(OTHER_TOKEN));
    let by_other = Presented::Token { public_key: &OTHER_TOKEN };
    let same_key = control.register(start() + HOUR * 3, by_other, request("pi-7", &old_key));
    assert!(matches!(same_key.answer, Err(RegisterRefusal::Excluded(Excluded::Key(_)))));
    let anew = control.register(start() + HOUR * 3, by_other, request("pi-7", &key()));
    assert!(!commit(&mut control, anew).unwrap().pending);
}

#[test]
fn nobody_is_approved_who_is_not_there() {
    let control = pending();
    let nobody = name("pi-9");
    let unknown = ApprovalRefusal::Unknown(nobody.clone());
    assert_eq!(refused(control.approve_node(start(), &anna(), &nobody), Outcome::Denied), unknown);
    assert_eq!(refused(control.reject_node(start(), &anna(), &nobody), Outcome::Denied), unknown);
}
