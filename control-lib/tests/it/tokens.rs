//! Making join tokens.

use std::time::Duration;

use control_lib::{Change, CreateTokenRefusal, Outcome, TokenId, TokenSpec};

use crate::{DAY, HOUR, OTHER_TOKEN, TOKEN, anna, audit, commit, control, control_with_token, name, refused, start};

fn spec() -> TokenSpec {
    TokenSpec { public_key: TOKEN, ttl: DAY * 7, uses: 1000, bound_name: Some(name("pi-7")) }
}

#[test]
fn a_token_is_recorded_and_audited() {
    let control = control();
    let decision = control.create_token(start(), &anna(), spec());
    let record = decision.answer.unwrap();
    assert_eq!(record.id, TokenId::of(&TOKEN));
    assert_eq!(record.expires, start() + DAY * 7);
    assert_eq!((record.uses_left, &record.bound_name), (1000, &Some(name("pi-7"))));
    assert_eq!((&record.created_by, record.created_at), (&anna(), start()));
    assert_eq!(decision.changes[0], Change::PutToken(record.clone()));
    let row = audit(&decision.changes);
    assert_eq!((row.who.as_str(), row.action.as_str()), ("operator/anna", "token.create"));
    assert_eq!((row.subject.clone(), row.outcome), (format!("token/{}", record.id), Outcome::Allowed));
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
