//! Joining with a token: once, by one board, for one name.

use control_lib::{
    Change, Control, CsrError, Outcome, Presented, PublicKey, RegisterRefusal, Registration, TokenId, TokenSpec,
};

use crate::{
    DAY, HOUR, OTHER_TOKEN, TOKEN, anna, audit, commit, control_with_token, csr, join, key, make_token, name, refused,
    request, request_of, start, token_spec,
};

const BY_TOKEN: Presented<'static> = Presented::Token { public_key: &TOKEN };

#[test]
fn a_board_with_a_token_becomes_a_node() {
    let mut control = control_with_token(1);
    let key = key();
    let now = start() + HOUR;
    let decision = control.register(now, BY_TOKEN, request("pi-7", &key));
    let [Change::PutToken(token), Change::PutNode(node), Change::Audit(row)] = &decision.changes[..] else {
        panic!("token, node, audit in one transaction: {:?}", decision.changes)
    };
    assert_eq!(token.uses_left, 0);
    assert_eq!((&node.name, node.token, node.registered_at), (&name("pi-7"), TokenId::of(&TOKEN), now));
    assert_eq!(node.public_key, PublicKey::from_csr(&csr(&key)).unwrap());
    assert_eq!((row.action.as_str(), row.outcome), ("join", Outcome::Allowed));
    assert_eq!((row.who.clone(), row.subject.as_str()), (format!("token/{}", TokenId::of(&TOKEN)), "node/pi-7"));

    let revision = control.next_revision();
    control.apply(decision.changes);
    let registered = decision.answer.unwrap();
    let node = control.node(&name("pi-7")).unwrap();
    assert_eq!((&registered.node, registered.revision), (&node.name, revision));
    assert_eq!(registered.certificate, node.certificate.der);
    assert_eq!(registered.ca_certificate, control.issuer().certificate_der());
    assert_eq!((registered.not_after, registered.renew_at), (node.certificate.not_after, node.certificate.renew_at()));
    assert_eq!(PublicKey::from_certificate(&registered.certificate).unwrap(), node.public_key);
}

#[test]
fn the_same_question_again_has_the_same_answer() {
    let mut control = control_with_token(1);
    let key = key();
    let first = join(&mut control, "pi-7", &key).unwrap();
    let again = control.register(start() + HOUR * 2, BY_TOKEN, request("pi-7", &key));
    assert_eq!(again.changes, []);
    assert_eq!(again.answer.unwrap(), first);
    assert_eq!(control.nodes().len(), 1);
}

#[test]
fn the_same_question_uses_up_nothing() {
    let mut control = control_with_token(5);
    let key = key();
    for _ in 0..3 {
        join(&mut control, "pi-7", &key).unwrap();
    }
    assert_eq!(control.token(&TOKEN).unwrap().uses_left, 4);
}

#[test]
fn a_repeated_join_takes_over_what_the_node_says_now() {
    let mut control = control_with_token(1);
    let key = key();
    let first = join(&mut control, "pi-7", &key).unwrap();
    let endpoints = vec!["192.0.2.7:7443".parse().unwrap()];
    let moved = Registration { endpoints: endpoints.clone(), ..request("pi-7", &key) };
    let decision = control.register(start() + HOUR * 2, BY_TOKEN, moved);
    assert_eq!(audit(&decision.changes).outcome, Outcome::Allowed);
    control.apply(decision.changes);
    assert_eq!(decision.answer.unwrap().certificate, first.certificate);
    let node = control.node(&name("pi-7")).unwrap();
    assert_eq!(node.endpoints, endpoints);
    assert_eq!((node.registered_at, node.updated_at), (start() + HOUR, start() + HOUR * 2));
}

#[test]
fn a_used_up_token_with_another_key_is_an_alarm() {
    let mut control = control_with_token(1);
    join(&mut control, "pi-7", &key()).unwrap();
    for node in ["pi-7", "pi-8"] {
        let decision = control.register(start() + HOUR, BY_TOKEN, request(node, &key()));
        assert!(matches!(refused(decision, Outcome::Alarm), RegisterRefusal::TokenUsed(_)));
    }
}

#[test]
fn a_token_of_several_uses_enrols_that_many() {
    let mut control = control_with_token(2);
    join(&mut control, "pi-7", &key()).unwrap();
    join(&mut control, "pi-8", &key()).unwrap();
    let third = control.register(start() + HOUR, BY_TOKEN, request("pi-9", &key()));
    assert!(matches!(refused(third, Outcome::Alarm), RegisterRefusal::TokenUsed(_)));
    assert_eq!(control.nodes().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["pi-7", "pi-8"]);
}

#[test]
fn a_taken_name_is_refused_and_uses_up_nothing() {
    let mut control = control_with_token(2);
    join(&mut control, "pi-7", &key()).unwrap();
    let decision = control.register(start() + HOUR, BY_TOKEN, request("pi-7", &key()));
    let refusal = refused(decision, Outcome::Denied);
    assert!(matches!(refusal, RegisterRefusal::NameTaken(taken) if taken == name("pi-7")));
    assert_eq!(control.token(&TOKEN).unwrap().uses_left, 1);
}

#[test]
fn the_key_of_another_node_is_an_alarm() {
    let mut control = control_with_token(2);
    let key = key();
    join(&mut control, "pi-7", &key).unwrap();
    let copied = control.register(start() + HOUR, BY_TOKEN, request("pi-8", &key));
    let refusal = refused(copied, Outcome::Alarm);
    assert!(matches!(refusal, RegisterRefusal::KeyTaken(owner) if owner == name("pi-7")));
}

#[test]
fn an_unknown_or_expired_token_is_refused() {
    let control = control_with_token(1);
    let other = Presented::Token { public_key: &OTHER_TOKEN };
    let unknown = refused(control.register(start(), other, request("pi-7", &key())), Outcome::Denied);
    assert!(matches!(unknown, RegisterRefusal::TokenUnknown));
    let late = refused(control.register(start() + DAY, BY_TOKEN, request("pi-7", &key())), Outcome::Denied);
    assert!(matches!(late, RegisterRefusal::TokenExpired(_)));
}

#[test]
fn a_bound_token_enrols_its_name_only() {
    let mut control = control_with_token(1);
    let bound_name = Some(name("pi-7"));
    make_token(&mut control, TokenSpec { bound_name, ..token_spec(OTHER_TOKEN) });
    let by_bound = Presented::Token { public_key: &OTHER_TOKEN };
    let refusal = refused(control.register(start(), by_bound, request("pi-8", &key())), Outcome::Denied);
    assert!(matches!(refusal, RegisterRefusal::TokenBound { bound } if bound == name("pi-7")));
    assert!(control.register(start(), by_bound, request("pi-7", &key())).answer.is_ok());
}

#[test]
fn a_join_without_a_good_request_is_refused() {
    let control = control_with_token(1);
    let register = |csr| {
        let request = Registration { csr, ..request("pi-7", &key()) };
        refused(control.register(start(), BY_TOKEN, request), Outcome::Denied)
    };
    assert!(matches!(register(None), RegisterRefusal::CsrMissing));
    assert!(matches!(register(Some(vec![0; 9000])), RegisterRefusal::Csr(CsrError::TooLarge(9000))));
    let request = Registration { endpoints: vec!["pi-7:1".parse().unwrap(); 9], ..request("pi-7", &key()) };
    let refusal = refused(control.register(start(), BY_TOKEN, request), Outcome::Denied);
    assert!(matches!(refusal, RegisterRefusal::Endpoints(9)));
}

#[test]
fn a_second_token_lets_the_same_key_join_again() {
    let mut control = control_with_token(1);
    let key = key();
    let first = join(&mut control, "pi-7", &key).unwrap();
    make_token(&mut control, token_spec(OTHER_TOKEN));
    let by_other = Presented::Token { public_key: &OTHER_TOKEN };
    let decision = control.register(start() + HOUR * 2, by_other, request("pi-7", &key));
    control.apply(decision.changes);
    assert_ne!(decision.answer.unwrap().certificate, first.certificate);
    assert_eq!(control.token(&OTHER_TOKEN).unwrap().uses_left, 0);
    assert_eq!(control.nodes().len(), 1);
}

#[test]
fn a_token_that_was_taken_back_is_refused() {
    let mut control = control_with_token(1);
    let decision = control.revoke_token(start(), &anna(), TokenId::of(&TOKEN));
    commit(&mut control, decision).unwrap();
    assert!(!control.live_token(start(), &TOKEN), "its holder is not even let in");
    let decision = control.register(start(), BY_TOKEN, request("pi-7", &key()));
    assert!(matches!(refused(decision, Outcome::Denied), RegisterRefusal::TokenRevoked(_)));
}

#[test]
fn a_token_bound_to_a_board_enrols_that_board_only_and_does_not_say_which() {
    let mut control = control_with_token(1);
    make_token(&mut control, TokenSpec { bound_serial: Some("1000f00d".parse().unwrap()), ..token_spec(OTHER_TOKEN) });
    let by_bound = Presented::Token { public_key: &OTHER_TOKEN };
    for other in ["", "1000f00e"] {
        let decision = control.register(start(), by_bound, request_of("pi-7", &key(), other));
        let refusal = refused(decision, Outcome::Denied);
        assert!(matches!(refusal, RegisterRefusal::TokenBoard) && !refusal.to_string().contains("f00d"));
    }
    assert!(control.register(start(), by_bound, request_of("pi-7", &key(), "1000f00d")).answer.is_ok());
}

/// `pi-7` on the board `1000f00d`, and a token made after it joined.
fn re_imaged(spec: TokenSpec) -> Control {
    let mut control = control_with_token(2);
    let first = control.register(start() + HOUR, BY_TOKEN, request_of("pi-7", &key(), "1000f00d"));
    commit(&mut control, first).unwrap();
    let decision = control.create_token(start() + HOUR * 2, &anna(), spec);
    commit(&mut control, decision).unwrap();
    control
}

const BY_OTHER: Presented<'static> = Presented::Token { public_key: &OTHER_TOKEN };

#[test]
fn a_board_with_a_new_image_takes_its_name_back_with_a_fresh_token() {
    let mut control = re_imaged(token_spec(OTHER_TOKEN));
    let (before, new_key) = (control.node(&name("pi-7")).unwrap().clone(), key());
    let decision = control.register(start() + HOUR * 3, BY_OTHER, request_of("pi-7", &new_key, "1000f00d"));
    commit(&mut control, decision).unwrap();
    let node = control.node(&name("pi-7")).unwrap();
    assert_eq!(node.public_key, PublicKey::from_csr(&csr(&new_key)).unwrap());
    assert_ne!(node.public_key, before.public_key);
    assert_eq!((control.nodes().len(), node.registered_at), (1, start() + HOUR * 3));
    // the old key is let in no more
    let void: Vec<_> = control.revoked_keys().map(|key| key.fingerprint).collect();
    assert_eq!(void, [before.public_key.fingerprint()]);
    // the key is found again under the new node, the old one's is free
    let again = control.register(start() + HOUR * 4, BY_OTHER, request_of("pi-7", &new_key, "1000f00d"));
    assert_eq!((again.changes.len(), again.answer.is_ok()), (0, true));
}

#[test]
fn a_new_key_does_not_take_a_name_over_without_a_token_meant_for_it() {
    let taken = |control: &Control, by, serial| {
        let refusal =
            refused(control.register(start() + HOUR * 3, by, request_of("pi-7", &key(), serial)), Outcome::Denied);
        assert!(matches!(refusal, RegisterRefusal::NameTaken(_)), "{refusal}");
    };
    // the token that it joined with, however many uses are left; another board; a board that does not tell; a token
    // for many
    taken(&re_imaged(token_spec(OTHER_TOKEN)), BY_TOKEN, "1000f00d");
    taken(&re_imaged(token_spec(OTHER_TOKEN)), BY_OTHER, "2000beef");
    taken(&re_imaged(token_spec(OTHER_TOKEN)), BY_OTHER, "");
    taken(&re_imaged(TokenSpec { uses: 2, ..token_spec(OTHER_TOKEN) }), BY_OTHER, "1000f00d");
    // a token for that name: a new board under the old name
    let control = re_imaged(TokenSpec { bound_name: Some(name("pi-7")), ..token_spec(OTHER_TOKEN) });
    assert!(control.register(start() + HOUR * 3, BY_OTHER, request_of("pi-7", &key(), "2000beef")).answer.is_ok());
}

#[test]
fn a_token_made_before_the_node_joined_does_not_replace_it() {
    let mut control = control_with_token(1);
    make_token(&mut control, token_spec(OTHER_TOKEN));
    let first = control.register(start() + HOUR, BY_TOKEN, request_of("pi-7", &key(), "1000f00d"));
    commit(&mut control, first).unwrap();
    let decision = control.register(start() + HOUR * 2, BY_OTHER, request_of("pi-7", &key(), "1000f00d"));
    assert!(matches!(refused(decision, Outcome::Denied), RegisterRefusal::NameTaken(_)));
}

#[test]
fn a_board_has_one_name() {
    let control = re_imaged(token_spec(OTHER_TOKEN));
    let decision = control.register(start() + HOUR * 3, BY_OTHER, request_of("pi-8", &key(), "1000f00d"));
    let refusal = refused(decision, Outcome::Denied);
    assert!(matches!(refusal, RegisterRefusal::BoardTaken(owner) if owner == name("pi-7")));
    // zeros are what a board without a serial number shows
    let mut control = control_with_token(2);
    for node in ["pi-7", "pi-8"] {
        let decision = control.register(start(), BY_TOKEN, request_of(node, &key(), "0000000000000000"));
        commit(&mut control, decision).unwrap();
    }
}
