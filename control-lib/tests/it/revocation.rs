//! Who is kept out, for how long, and what brings them back.

use std::time::SystemTime;

use control_lib::{
    Caller, Change, Control, Decision, Denied, Excluded, Exclusion, ExclusionKind, ExclusionRefusal, Identity, Outcome,
    Presented, PublicKey, RegisterRefusal, Role, Scope, Shown, Text,
};
use rcgen::{KeyPair, PublicKeyData};

use crate::operators::add_operator;
use crate::{
    DAY, HOUR, OTHER_TOKEN, TOKEN, anna, audit, commit, control_with_token, join, key, make_token, name, refused,
    request, start, token_spec,
};

const REPORT: &str = "/pi.control.v1.ControlPlane/ReportHealth";
const REGISTER: &str = "/pi.control.v1.ControlPlane/RegisterNode";
const LIST: &str = "/pi.fleet.v1.Fleet/ListNodes";

fn pi_7() -> Identity {
    Identity::node(name("pi-7"))
}

fn why() -> Text {
    "stolen".parse().unwrap()
}

/// The node `pi-7` with this key, and the admin `anna`.
fn populated(key: &KeyPair) -> Control {
    let mut control = control_with_token(2);
    join(&mut control, "pi-7", key).unwrap();
    add(&mut control, "anna", Role::Admin);
    control
}

fn add(control: &mut Control, operator: &str, role: Role) {
    add_operator(control, &Identity::controller(name("c1")), operator, &[(role, Scope::UNLIMITED)]).unwrap();
}

/// Decides and does what a host does with the decision.
fn apply<T>(control: &mut Control, decide: impl FnOnce(&Control) -> Decision<T>) -> T {
    let decision = decide(control);
    commit(control, decision)
}

fn fingerprint(key: &KeyPair) -> [u8; 32] {
    PublicKey::from_spki(&key.subject_public_key_info()).unwrap().fingerprint()
}

fn admit(control: &Control, who: &Identity, key: &KeyPair, issued: SystemTime) -> Result<(), Excluded> {
    control.admit(Shown { subject: who, fingerprint: &fingerprint(key), not_before: issued - HOUR })
}

fn revoke(control: &mut Control, who: &Identity) -> Result<Option<Exclusion>, ExclusionRefusal> {
    apply(control, |control| control.revoke(start() + HOUR * 2, &anna(), who, why()))
}

#[test]
fn a_revoked_node_is_out_with_its_name_and_its_key() {
    let own = key();
    let mut control = populated(&own);
    let node = Caller::Identity(pi_7());
    assert_eq!(admit(&control, &pi_7(), &own, start() + HOUR), Ok(()));
    assert_eq!(control.authorize(&node, REPORT), Ok(()));

    let decision = control.revoke(start() + HOUR * 2, &anna(), &pi_7(), why());
    let row = audit(&decision.changes).clone();
    assert_eq!((row.who.as_str(), row.action.as_str(), row.subject.as_str()), ("operator/anna", "revoke", "node/pi-7"));
    assert_eq!((row.outcome, row.detail.as_str()), (Outcome::Allowed, "stolen"));
    let excluded = commit(&mut control, decision).unwrap().unwrap();
    assert_eq!((excluded.kind, excluded.by, excluded.at), (ExclusionKind::Revoked, anna(), start() + HOUR * 2));

    let revoked = Excluded::Revoked(pi_7());
    assert_eq!(admit(&control, &pi_7(), &own, start() + HOUR), Err(revoked.clone()));
    assert_eq!(admit(&control, &pi_7(), &key(), start() + HOUR), Err(revoked.clone()), "another key of that name");
    let other_name = admit(&control, &Identity::node(name("pi-8")), &own, start() + HOUR);
    assert_eq!(other_name, Err(Excluded::Key(pi_7())), "the key under another name");
    assert_eq!(control.authorize(&node, REPORT), Err(Denied::Excluded(revoked)));
    assert_eq!(control.node(&name("pi-7")).unwrap().name, name("pi-7"), "its row stays");

    // again is no second time
    let again = control.revoke(start() + 3 * HOUR, &anna(), &pi_7(), "".parse().unwrap());
    assert_eq!((again.changes.len(), again.answer.unwrap().unwrap().at), (0, start() + HOUR * 2));
    // and there is no way back
    let unlock = control.unlock(start(), &anna(), &pi_7());
    assert_eq!(refused(unlock, Outcome::Denied), ExclusionRefusal::ForGood(pi_7()));
    let lock = control.lock(start(), &anna(), &pi_7(), why());
    assert_eq!(refused(lock, Outcome::Denied), ExclusionRefusal::ForGood(pi_7()));
}

#[test]
fn a_revoked_name_joins_again_with_a_new_token_and_a_new_key() {
    let (own, renewed_away, fresh) = (key(), key(), key());
    let mut control = populated(&renewed_away);
    let later = start() + DAY * 5;
    let renewal = control.register(later, Presented::Node(&name("pi-7")), request("pi-7", &own));
    commit(&mut control, renewal).unwrap();
    apply(&mut control, |control| control.revoke(later, &anna(), &pi_7(), why())).unwrap();

    // neither the old certificate nor the old key
    let renewal = control.register(later, Presented::Node(&name("pi-7")), request("pi-7", &fresh));
    assert!(matches!(renewal.answer, Err(RegisterRefusal::Excluded(Excluded::Revoked(_)))), "{renewal:?}");
    let spec = control_lib::TokenSpec { ttl: DAY * 7, uses: 3, ..token_spec(OTHER_TOKEN) };
    make_token(&mut control, spec);
    let joined = later + HOUR;
    let with = |control: &Control, key: &KeyPair, node: &str| {
        control.register(joined, Presented::Token { public_key: &OTHER_TOKEN }, request(node, key))
    };
    for node in ["pi-7", "pi-8"] {
        let refusal = refused(with(&control, &own, node), Outcome::Alarm);
        assert!(matches!(refusal, RegisterRefusal::Excluded(Excluded::Key(_))), "{refusal:?}");
    }

    let registered = apply(&mut control, |control| with(control, &fresh, "pi-7")).unwrap();
    assert_eq!((registered.node, control.exclusion(&pi_7())), (name("pi-7"), None));
    assert_eq!(admit(&control, &pi_7(), &fresh, joined), Ok(()));
    assert_eq!(control.authorize(&Caller::Identity(pi_7()), REGISTER), Ok(()));
    assert_eq!(admit(&control, &pi_7(), &own, later), Err(Excluded::Key(pi_7())));
    // the key that was renewed away before is on no list, but its certificate is from before
    assert_eq!(admit(&control, &pi_7(), &renewed_away, start() + HOUR), Err(Excluded::Before(pi_7())));
    // the control: a node that nobody revoked may show any certificate of its own
    let control = populated(&own);
    assert_eq!(admit(&control, &pi_7(), &renewed_away, start()), Ok(()));
}

#[test]
fn a_revoked_key_is_forgotten_when_nobody_would_take_it_any_more() {
    let mut control = populated(&key());
    revoke(&mut control, &pi_7()).unwrap();
    // joined at 1 h, good for 7 days, and for 90 more to ask for renewal
    let end = start() + HOUR + DAY * 97;
    assert_eq!(control.forget_keys(end - HOUR).changes, []);
    apply(&mut control, |control| control.forget_keys(end));
    assert_eq!(control.revoked_keys().len(), 0);
    assert_eq!(control.exclusion(&pi_7()).unwrap().kind, ExclusionKind::Revoked, "its name stays revoked");
}

#[test]
fn a_locked_node_reports_and_nothing_else_until_it_is_unlocked() {
    let own = key();
    let mut control = populated(&own);
    apply(&mut control, |control| control.lock(start(), &anna(), &pi_7(), why())).unwrap();
    let may = |control: &Control, method| control.authorize(&Caller::Identity(pi_7()), method);
    assert_eq!(admit(&control, &pi_7(), &own, start() + HOUR), Ok(()), "it may report");
    assert_eq!(may(&control, REPORT), Ok(()));
    assert_eq!(may(&control, REGISTER), Err(Denied::Excluded(Excluded::Locked(pi_7()))));
    let renewal = control.register(start() + DAY * 5, Presented::Node(&name("pi-7")), request("pi-7", &key()));
    assert!(matches!(refused(renewal, Outcome::Denied), RegisterRefusal::Excluded(Excluded::Locked(_))));
    // nobody else gets its name meanwhile
    let other = control.register(start() + HOUR, Presented::Token { public_key: &TOKEN }, request("pi-7", &key()));
    assert_eq!(
        refused(other, Outcome::Denied).to_string(),
        "choose another name, or have a token made for this one (--name pi-7): node/pi-7 is enrolled with another key"
    );

    assert_eq!(apply(&mut control, |control| control.unlock(start(), &anna(), &pi_7())), Ok(None));
    assert_eq!(may(&control, REGISTER), Ok(()));
    assert_eq!(control.unlock(start(), &anna(), &pi_7()).changes, [], "nothing to unlock");
}

#[test]
fn a_locked_or_revoked_operator_calls_nothing() {
    for kind in [ExclusionKind::Locked, ExclusionKind::Revoked] {
        let mut control = populated(&key());
        add(&mut control, "bob", Role::Viewer);
        let bob = Identity::operator(name("bob"));
        let decision = match kind {
            ExclusionKind::Locked => control.lock(start(), &anna(), &bob, why()),
            ExclusionKind::Revoked => control.revoke(start(), &anna(), &bob, why()),
        };
        commit(&mut control, decision).unwrap();
        let (denied, handshake) =
            (control.authorize(&Caller::Identity(bob.clone()), LIST), admit(&control, &bob, &key(), start()));
        assert_eq!(denied, Err(Denied::Excluded(handshake.clone().unwrap_err())));
        assert_eq!(handshake.unwrap_err().is_for_good(), kind == ExclusionKind::Revoked);
        // every node is told; of nodes none is told, since no node lets another one in
        assert_eq!(control.trust_bundle().denied_identities, [bob].into());
    }
    let mut control = populated(&key());
    revoke(&mut control, &pi_7()).unwrap();
    let bundle = control.trust_bundle();
    assert!(bundle.denied_identities.is_empty() && bundle.denied_keys.is_empty(), "{bundle:?}");
}

#[test]
fn the_last_admin_stays() {
    let mut control = populated(&key());
    let last = Err(ExclusionRefusal::LastAdmin(anna()));
    assert_eq!(revoke(&mut control, &anna()), last);
    add(&mut control, "ben", Role::Admin);
    let ben = Identity::operator(name("ben"));
    apply(&mut control, |control| control.lock(start(), &anna(), &ben, why())).unwrap();
    assert_eq!(revoke(&mut control, &anna()), last, "the other one is locked");
    apply(&mut control, |control| control.unlock(start(), &anna(), &ben)).unwrap();
    assert!(revoke(&mut control, &anna()).is_ok());
}

#[test]
fn whom_nobody_can_keep_out() {
    let mut control = populated(&key());
    assert_eq!(revoke(&mut control, &Identity::node(name("pi-9"))), Err(ExclusionRefusal::UnknownNode(name("pi-9"))));
    assert_eq!(revoke(&mut control, &Identity::controller(name("c1"))), Err(ExclusionRefusal::Controller));
    // an operator of whom only nodes know
    assert!(revoke(&mut control, &Identity::operator(name("carol"))).is_ok());
}

#[test]
fn a_suspected_clone_is_locked_once_and_alarmed_once() {
    let mut control = populated(&key());
    let c1 = Identity::controller(name("c1"));
    let decision = control.quarantine(start(), &c1, &name("pi-7"), "two boards");
    let row = audit(&decision.changes).clone();
    assert_eq!(
        (row.outcome, row.action.as_str(), row.detail.as_str()),
        (Outcome::Alarm, "clone", "locked: two boards")
    );
    assert!(commit(&mut control, decision));
    let reason = control.exclusion(&pi_7()).unwrap().reason.to_string();
    assert_eq!(reason, "suspected clone: two boards");
    let again = control.quarantine(start(), &c1, &name("pi-7"), "two boards");
    assert_eq!((again.changes, again.answer), (vec![], false));
}

#[test]
fn what_could_not_be_stored_counts_and_is_stored_when_it_is_said_again() {
    let mut control = populated(&key());
    let exclusion = control.revoke(start(), &anna(), &pi_7(), why()).answer.unwrap().unwrap(); // its changes are lost
    let revision = control.revision();
    control.exclude_unstored(exclusion);
    assert_eq!(control.authorize(&Caller::Identity(pi_7()), REPORT), Err(Denied::Excluded(Excluded::Revoked(pi_7()))));
    assert_eq!(control.revision(), revision, "the store has not moved");
    let again = control.revoke(start(), &anna(), &pi_7(), why());
    assert!(again.changes.iter().any(|change| matches!(change, Change::PutRevokedKey(_))), "{again:?}");
    commit(&mut control, again).unwrap();
    assert_eq!(control.revoke(start(), &anna(), &pi_7(), why()).changes, [], "stored now");
}

#[test]
fn what_may_end_a_call_moves_the_revision_of_trust() {
    let own = key();
    let mut control = populated(&own);
    let before = control.trust_revision();
    let report = |control: &mut Control, boot: &str| {
        let mut request = request("pi-7", &own);
        request.inventory.boot_id = boot.parse().unwrap();
        commit(control, control.register(start() + HOUR, Presented::Node(&name("pi-7")), request)).unwrap();
    };
    report(&mut control, "b2");
    assert_eq!(control.trust_revision(), before, "a node that describes itself ends nothing");
    let labels = control_lib::Labels::new([("room", "lab")]).unwrap();
    let none = Default::default();
    apply(&mut control, |control| control.label_node(start(), &anna(), &name("pi-7"), &labels, &none)).unwrap();
    assert_eq!(control.trust_revision(), control.revision(), "labels bind operators to nodes");
    revoke(&mut control, &pi_7()).unwrap();
    assert_eq!(control.trust_revision(), control.revision());
    let (ben, changed) = (name("ben"), control.revision());
    add(&mut control, ben.as_str(), Role::Viewer);
    assert!(control.trust_revision() > changed, "rights are no longer what they were");
    let rows = control.revoke(start(), &anna(), &Identity::operator(ben), why()).changes;
    assert!(rows.iter().any(|row| matches!(row, Change::PutExclusion(_))));
}
