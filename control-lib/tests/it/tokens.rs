//! Making join tokens.

use std::time::Duration;

use control_lib::{Change, CreateTokenRefusal, Labels, Outcome, RevokeTokenRefusal, TokenId, TokenSpec};

use crate::{
    DAY, HOUR, OTHER_TOKEN, TOKEN, anna, audit, commit, control, control_with_token, name, refused, start, token_spec,
};

fn spec() -> TokenSpec {
    let labels = Labels::new([("room", "lab")]).unwrap();
    TokenSpec { ttl: DAY * 7, uses: 1000, labels, own_labels: true, approval: true, ..token_spec(TOKEN) }
}

#[test]
fn a_token_is_recorded_and_audited() {
    let control = control();
    let decision = control.create_token(start(), &anna(), spec());
    let record = decision.answer.unwrap();
    assert_eq!(record.id, TokenId::of(&TOKEN));
    assert_eq!(record.expires, start() + DAY * 7);
    assert_eq!((record.uses, record.uses_left, record.revoked_at), (1000, 1000, None));
    assert!(record.own_labels && record.approval && record.labels.get("room") == Some("lab"));
    assert_eq!((&record.created_by, record.created_at), (&anna(), start()));
    assert_eq!(decision.changes[0], Change::PutToken(record.clone()));
    let row = audit(&decision.changes);
    assert_eq!((row.who.as_str(), row.action.as_str()), ("operator/anna", "token.create"));
    assert_eq!((row.subject.clone(), row.outcome), (format!("token/{}", record.id), Outcome::Allowed));
    assert_eq!(row.detail, "1000 uses, 604800 s, labels room=lab, labels of its own, with approval");
}

#[test]
fn a_token_out_of_range_is_refused() {
    let control = control_with_token(1);
    let refused = |spec| refused(control.create_token(start(), &anna(), spec), Outcome::Denied);
    let new = || TokenSpec { public_key: OTHER_TOKEN, ..spec() };
    assert_eq!(refused(TokenSpec { ttl: Duration::ZERO, ..new() }), CreateTokenRefusal::Ttl);
    assert_eq!(refused(TokenSpec { ttl: DAY * 7 + Duration::from_nanos(1), ..new() }), CreateTokenRefusal::Ttl);
    assert_eq!(refused(TokenSpec { uses: 0, ..new() }), CreateTokenRefusal::Uses);
    assert_eq!(refused(TokenSpec { uses: 1001, ..new() }), CreateTokenRefusal::Uses);
    assert_eq!(refused(TokenSpec { bound_name: Some(name("pi-7")), ..new() }), CreateTokenRefusal::Bound);
    let nobodys = TokenSpec { uses: 1, bound_serial: Some("".parse().unwrap()), ..new() };
    assert_eq!(refused(nobodys), CreateTokenRefusal::Serial);
    assert_eq!(refused(spec()), CreateTokenRefusal::Exists(TokenId::of(&TOKEN)));
}

#[test]
fn a_token_is_live_until_it_expires() {
    let control = control_with_token(1);
    assert!(control.live_token(start(), &TOKEN));
    assert!(control.live_token(start() + DAY - Duration::from_nanos(1), &TOKEN));
    assert!(!control.live_token(start() + DAY, &TOKEN));
    assert!(!control.live_token(start(), &OTHER_TOKEN));
}

#[test]
fn a_token_is_taken_back_once() {
    let mut control = control_with_token(3);
    let id = TokenId::of(&TOKEN);
    let decision = control.revoke_token(start() + HOUR, &anna(), id);
    let row = audit(&decision.changes);
    assert_eq!((row.action.as_str(), row.subject.clone()), ("token.revoke", format!("token/{id}")));
    let token = commit(&mut control, decision).unwrap();
    assert_eq!((token.revoked_at, token.uses_left), (Some(start() + HOUR), 3));
    assert!(!control.live_token(start() + HOUR, &TOKEN));
    let again = control.revoke_token(start() + HOUR * 2, &anna(), id);
    assert_eq!((again.changes, again.answer.unwrap().revoked_at), (vec![], Some(start() + HOUR)));
    let unknown = control.revoke_token(start(), &anna(), TokenId::of(&OTHER_TOKEN));
    assert_eq!(refused(unknown, Outcome::Denied), RevokeTokenRefusal::Unknown(TokenId::of(&OTHER_TOKEN)));
}

#[test]
fn the_revision_counts_transactions() {
    let mut control = control();
    assert_eq!((control.revision(), control.next_revision()), (0, 1));
    let decision = control.create_token(start() + HOUR, &anna(), spec());
    assert_eq!(control.revision(), 0, "deciding changes nothing");
    control.apply(decision.changes);
    assert_eq!(control.revision(), 1);
    control.apply(Vec::new());
    assert_eq!(control.revision(), 1, "nothing was committed");
    let refused = control.create_token(start(), &anna(), spec());
    control.apply(refused.changes);
    assert_eq!(control.revision(), 2, "an audit row is a transaction too");
}
