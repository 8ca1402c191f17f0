//! One key on two boards: a card was copied, key and all.

use control_lib::{Change, Control, Inventory, Outcome, Presented, RegisterRefusal, Registration, Standing};
use rcgen::KeyPair;

use crate::{HOUR, TOKEN, anna, audit, commit, control_with_token, key, name, request, request_of, start};

const BY_TOKEN: Presented<'static> = Presented::Token { public_key: &TOKEN };

fn enrolled() -> (Control, KeyPair) {
    let (mut control, key) = (control_with_token(2), key());
    let decision = control.register(start(), BY_TOKEN, request_of("pi-7", &key, "1000f00d"));
    commit(&mut control, decision).unwrap();
    (control, key)
}

fn standing(control: &Control) -> Standing {
    control.node(&name("pi-7")).unwrap().standing
}

/// Asks, and asserts that it is refused as a clone, with one alarm, and that the node is shut out.
fn shut_out(control: &mut Control, presented: Presented<'_>, request: Registration) {
    let decision = control.register(start() + HOUR, presented, request);
    assert!(matches!(&decision.answer, Err(RegisterRefusal::Clone(node)) if *node == name("pi-7")));
    assert_eq!(audit(&decision.changes).outcome, Outcome::Alarm);
    control.apply(decision.changes);
    assert_eq!(standing(control), Standing::Quarantined);
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
    let node = control.node(&pi_7).unwrap();
    assert_eq!(
        node.standing_reason.as_str(),
        "the board with serial 2000beef has the key of the board with serial 1000f00d"
    );
    // once more is refused, but changes nothing more
    let again = control.register(start() + HOUR, Presented::Node(&pi_7), request_of("pi-7", &key, "2000beef"));
    assert!(again.answer.is_err() && !again.changes.iter().any(|change| matches!(change, Change::PutNode(_))));
    // the board that it was enrolled on may ask again, and learns how it stands
    let asked = control.register(start() + HOUR, Presented::Node(&pi_7), request_of("pi-7", &key, "1000f00d"));
    assert_eq!(asked.answer.unwrap().standing, Standing::Quarantined);
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
    assert_eq!(standing(&control), Standing::Approved);
}

#[test]
fn a_quarantined_node_that_is_approved_may_be_another_board() {
    let (mut control, key) = enrolled();
    let pi_7 = name("pi-7");
    let moved = || Registration { csr: None, ..request_of("pi-7", &key, "2000beef") };
    shut_out(&mut control, Presented::Node(&pi_7), moved());
    let decision = control.approve_node(start() + HOUR, &anna(), &pi_7);
    commit(&mut control, decision).unwrap();
    let decision = control.register(start() + HOUR, Presented::Node(&pi_7), moved());
    assert_eq!(commit(&mut control, decision).unwrap().standing, Standing::Approved);
    shut_out(&mut control, Presented::Node(&pi_7), Registration { csr: None, ..request_of("pi-7", &key, "1000f00d") });
}
