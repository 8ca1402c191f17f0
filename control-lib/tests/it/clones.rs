//! One key on two boards: a card was copied, key and all.

use control_lib::{
    Control, Excluded, ExclusionKind, Identity, Inventory, Outcome, Presented, RegisterRefusal, Registration,
};
use rcgen::KeyPair;

use crate::{
    HOUR, OTHER_TOKEN, TOKEN, anna, audit, commit, control_with_token, key, name, refused, request, request_of, start,
    token_spec,
};

const BY_TOKEN: Presented<'static> = Presented::Token { public_key: &TOKEN };

fn enrolled() -> (Control, KeyPair) {
    let (mut control, key) = (control_with_token(2), key());
    let decision = control.register(start(), BY_TOKEN, request_of("pi-7", &key, "1000f00d"));
    commit(&mut control, decision).unwrap();
    (control, key)
}

fn pi_7() -> Identity {
    Identity::node(name("pi-7"))
}

fn exclusion(control: &Control) -> Option<ExclusionKind> {
    control.exclusion(&pi_7()).map(|exclusion| exclusion.kind)
}

fn unlock(control: &mut Control) {
    let decision = control.unlock(start() + HOUR, &anna(), &pi_7());
    commit(control, decision).unwrap();
}

/// Asks, and asserts that it is refused as a clone, with one alarm, and that the node is locked.
fn shut_out(control: &mut Control, presented: Presented<'_>, request: Registration) {
    let decision = control.register(start() + HOUR, presented, request);
    assert!(matches!(&decision.answer, Err(RegisterRefusal::Clone(node)) if *node == name("pi-7")));
    assert_eq!(audit(&decision.changes).outcome, Outcome::Alarm);
    control.apply(decision.changes);
    assert_eq!(exclusion(control), Some(ExclusionKind::Locked));
}

#[test]
fn a_copied_key_shuts_both_boards_out_whatever_name_it_comes_with() {
    for name in ["pi-7", "pi-8"] {
        let (mut control, key) = enrolled();
        shut_out(&mut control, BY_TOKEN, request_of(name, &key, "2000beef"));
        assert_eq!(control.token(&TOKEN).unwrap().uses_left, 1, "nothing is used up");
    }
}

#[test]
fn a_copied_certificate_shuts_both_boards_out() {
    let (mut control, key) = enrolled();
    let pi_7 = name("pi-7");
    shut_out(&mut control, Presented::Node(&pi_7), Registration { csr: None, ..request_of("pi-7", &key, "2000beef") });
    assert_eq!(
        control.exclusion(&Identity::node(pi_7.clone())).unwrap().reason.as_str(),
        "suspected clone: the board with serial number 2000beef has the key of the board with serial number 1000f00d"
    );
    // either gets no certificate until an admin has looked
    for serial in ["1000f00d", "2000beef"] {
        let again = control.register(start() + HOUR, Presented::Node(&pi_7), request_of("pi-7", &key, serial));
        assert!(matches!(again.answer, Err(RegisterRefusal::Excluded(Excluded::Locked(_)))));
    }
}

#[test]
fn a_board_that_cannot_tell_is_no_clone_and_does_not_hide_one() {
    let (mut control, key) = enrolled();
    let pi_7 = name("pi-7");
    let silent = Registration { csr: None, ..request("pi-7", &key) };
    let decision = control.register(start() + HOUR, Presented::Node(&pi_7), silent);
    commit(&mut control, decision).unwrap();
    assert_eq!(control.node(&pi_7).unwrap().inventory.serial.as_str(), "1000f00d");
    shut_out(&mut control, Presented::Node(&pi_7), request_of("pi-7", &key, "2000beef"));
}

#[test]
fn machine_ids_count_where_serial_numbers_are_missing() {
    let machine = |request: Registration, id: &str| {
        let inventory = Inventory { machine_id: id.parse().unwrap(), ..request.inventory };
        Registration { inventory, ..request }
    };
    let (mut control, key) = (control_with_token(1), key());
    let first = control.register(start(), BY_TOKEN, machine(request_of("pi-7", &key, "00000000"), "aaaa"));
    commit(&mut control, first).unwrap();
    shut_out(&mut control, BY_TOKEN, machine(request("pi-7", &key), "bbbb"));

    // the same board with another system on it
    let (mut control, key) = enrolled();
    for id in ["aaaa", "bbbb"] {
        let again = control.register(start(), BY_TOKEN, machine(request_of("pi-7", &key, "1000f00d"), id));
        commit(&mut control, again).unwrap();
    }
    assert_eq!(exclusion(&control), None);
}

#[test]
fn a_locked_node_gets_no_certificate_by_a_token_either() {
    let (mut control, key) = enrolled();
    let decision = control.lock(start() + HOUR, &anna(), &pi_7(), Default::default());
    commit(&mut control, decision).unwrap();
    let decision = control.create_token(start() + HOUR, &anna(), token_spec(OTHER_TOKEN));
    commit(&mut control, decision).unwrap();
    let by_other = Presented::Token { public_key: &OTHER_TOKEN };
    for (by, key) in [(BY_TOKEN, &key), (by_other, &key), (by_other, &crate::key())] {
        let decision = control.register(start() + HOUR, by, request_of("pi-7", key, "1000f00d"));
        let refusal = refused(decision, Outcome::Denied);
        assert!(matches!(refusal, RegisterRefusal::Excluded(Excluded::Locked(_))), "{refusal}");
    }
}

#[test]
fn a_node_that_is_unlocked_may_be_another_board() {
    let (mut control, key) = enrolled();
    let pi_7 = name("pi-7");
    let moved = || Registration { csr: None, ..request_of("pi-7", &key, "2000beef") };
    shut_out(&mut control, Presented::Node(&pi_7), moved());
    unlock(&mut control);
    let decision = control.register(start() + HOUR, Presented::Node(&pi_7), moved());
    commit(&mut control, decision).unwrap();
    shut_out(&mut control, Presented::Node(&pi_7), Registration { csr: None, ..request_of("pi-7", &key, "1000f00d") });
}
