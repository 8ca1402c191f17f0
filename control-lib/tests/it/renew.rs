//! What an enrolled node asks for: the next certificate, and to be described anew.

use control_lib::{Control, Inventory, Lifetime, Outcome, Presented, PublicKey, RegisterRefusal, Registration};
use rcgen::KeyPair;

use crate::{DAY, HOUR, audit, commit, control_with_token, csr, join, key, name, refused, request, start};

/// A control plane with the node `pi-7`, enrolled an hour after the start with the key given back.
fn enrolled() -> (Control, KeyPair) {
    let (mut control, key) = (control_with_token(2), key());
    join(&mut control, "pi-7", &key).unwrap();
    (control, key)
}

#[test]
fn a_new_key_gets_a_new_certificate_for_the_same_node() {
    let (mut control, _) = enrolled();
    let (pi_7, new_key) = (name("pi-7"), key());
    let now = start() + DAY * 3;
    let decision = control.register(now, Presented::Node(&pi_7), request("pi-7", &new_key));
    let row = audit(&decision.changes);
    assert_eq!((row.who.as_str(), row.action.as_str(), row.outcome), ("node/pi-7", "renew", Outcome::Allowed));
    control.apply(decision.changes);
    let registered = decision.answer.unwrap();
    let node = control.node(&pi_7).unwrap();
    assert_eq!(
        PublicKey::from_certificate(&registered.certificate),
        PublicKey::from_csr(&csr(&new_key)).map_err(|_| unreachable!())
    );
    assert_eq!((node.registered_at, node.updated_at), (start() + HOUR, now));
    assert_eq!(control.token(&crate::TOKEN).unwrap().uses_left, 1, "renewal needs no token");
}

#[test]
fn a_lost_renewal_is_answered_again() {
    let (mut control, _) = enrolled();
    let (pi_7, new_key) = (name("pi-7"), key());
    let ask = |control: &Control, now| control.register(now, Presented::Node(&pi_7), request("pi-7", &new_key));
    let first = ask(&control, start() + DAY * 4);
    control.apply(first.changes);
    let again = ask(&control, start() + DAY * 5);
    assert_eq!(again.changes, []);
    assert_eq!(again.answer.unwrap(), first.answer.unwrap());
}

#[test]
fn the_same_key_past_half_of_its_time_gets_a_new_certificate() {
    let (control, key) = enrolled();
    let pi_7 = name("pi-7");
    let old = control.node(&pi_7).unwrap().certificate.clone();
    let decision = control.register(old.renew_at(), Presented::Node(&pi_7), request("pi-7", &key));
    assert!(decision.answer.unwrap().not_after > old.not_after);
}

#[test]
fn without_a_request_only_the_description_changes() {
    let (mut control, key) = enrolled();
    let pi_7 = name("pi-7");
    let before = control.node(&pi_7).unwrap().clone();
    let inventory = Inventory { model: "Raspberry Pi 5".parse().unwrap(), ..Default::default() };
    let described = Registration { csr: None, inventory: inventory.clone(), ..request("pi-7", &key) };
    let decision = control.register(start() + DAY, Presented::Node(&pi_7), described.clone());
    assert_eq!(audit(&decision.changes).action, "describe");
    control.apply(decision.changes);
    let after = control.node(&pi_7).unwrap();
    assert_eq!((&after.inventory, &after.certificate), (&inventory, &before.certificate));
    let again = control.register(start() + DAY * 2, Presented::Node(&pi_7), described);
    assert_eq!(again.changes, [], "an idle node costs no write");
}

#[test]
fn a_node_speaks_for_itself_only() {
    let (mut control, _) = enrolled();
    join(&mut control, "pi-8", &key()).unwrap();
    let pi_7 = name("pi-7");
    let decision = control.register(start() + DAY, Presented::Node(&pi_7), request("pi-8", &key()));
    let refusal = refused(decision, Outcome::Denied);
    assert!(matches!(refusal, RegisterRefusal::OtherName(own) if own == pi_7));
}

#[test]
fn a_node_cannot_take_another_nodes_key() {
    let (mut control, _) = enrolled();
    let theirs = key();
    join(&mut control, "pi-8", &theirs).unwrap();
    let pi_7 = name("pi-7");
    let decision = control.register(start() + DAY, Presented::Node(&pi_7), request("pi-7", &theirs));
    let refusal = refused(decision, Outcome::Alarm);
    assert!(matches!(refusal, RegisterRefusal::KeyTaken(owner) if owner == name("pi-8")));
}

#[test]
fn a_node_that_is_not_in_the_table_is_refused() {
    let (control, _) = enrolled();
    let pi_9 = name("pi-9");
    let decision = control.register(start(), Presented::Node(&pi_9), request("pi-9", &key()));
    assert!(matches!(refused(decision, Outcome::Denied), RegisterRefusal::NodeUnknown(_)));
}

#[test]
fn a_root_that_has_expired_issues_nothing() {
    let (control, _) = enrolled();
    let pi_7 = name("pi-7");
    let late = control.issuer().not_after();
    let decision = control.register(late, Presented::Node(&pi_7), request("pi-7", &key()));
    assert!(matches!(refused(decision, Outcome::Denied), RegisterRefusal::Issue(_)));
}

/// What the TLS host says of the key of a certificate that has expired.
fn fingerprint(key: &KeyPair) -> [u8; 32] {
    PublicKey::from_csr(&csr(key)).unwrap().fingerprint()
}

#[test]
fn a_node_comes_back_with_the_key_of_its_last_certificate() {
    let (mut control, old) = enrolled();
    let (pi_7, new) = (name("pi-7"), key());
    let (now, key) = (start() + DAY * 60, fingerprint(&old));
    let back = control.register(now, Presented::Expired { name: &pi_7, key: &key }, request("pi-7", &new));
    let row = audit(&back.changes);
    assert_eq!((row.who.as_str(), row.action.as_str(), row.outcome), ("node/pi-7", "comeback", Outcome::Allowed));
    control.apply(back.changes);
    assert!(back.answer.unwrap().not_after > now);

    // the answer was lost: the old key asks for the same new one again
    let again = control.register(now + HOUR, Presented::Expired { name: &pi_7, key: &key }, request("pi-7", &new));
    assert_eq!(again.changes, []);
    assert!(again.answer.is_ok());
}

#[test]
fn an_old_copy_of_a_node_does_not_come_back() {
    let (mut control, old) = enrolled();
    let (pi_7, key) = (name("pi-7"), fingerprint(&old));
    let renewed = control.register(start() + DAY * 4, Presented::Node(&pi_7), request("pi-7", &crate::key()));
    commit(&mut control, renewed).unwrap();
    let copy = Presented::Expired { name: &pi_7, key: &key };
    let refusal = refused(control.register(start() + DAY * 60, copy, request("pi-7", &crate::key())), Outcome::Alarm);
    assert!(matches!(refusal, RegisterRefusal::Superseded(node) if node == pi_7));
}

#[test]
fn who_comes_back_asks_for_a_certificate_and_for_its_own() {
    let (control, old) = enrolled();
    let (pi_7, key) = (name("pi-7"), fingerprint(&old));
    let ask = |request| {
        let expired = Presented::Expired { name: &pi_7, key: &key };
        refused(control.register(start() + DAY * 60, expired, request), Outcome::Denied)
    };
    let described = Registration { csr: None, ..request("pi-7", &old) };
    assert!(matches!(ask(described), RegisterRefusal::CsrMissing));
    assert!(matches!(ask(request("pi-8", &crate::key())), RegisterRefusal::OtherName(_)));
}

#[test]
fn a_certificate_lasts_as_long_as_is_configured() {
    let minute = Lifetime::machine(HOUR / 60).unwrap();
    let mut control = control_with_token(1).with_node_lifetime(minute);
    let registered = join(&mut control, "pi-7", &key()).unwrap();
    let issued = crate::UNIX_EPOCH + std::time::Duration::from_secs(1_780_272_000) + HOUR;
    assert_eq!((registered.not_after, registered.renew_at), (issued + HOUR / 60, issued + HOUR / 120));
    for wrong in [HOUR / 400, DAY * 91] {
        assert!(Lifetime::machine(wrong).is_err(), "{wrong:?}");
    }
}
