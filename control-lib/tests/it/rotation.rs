//! From one root to the next, back again, and from the recovery root.

use control_lib::{
    Authority, Control, Identity, IssueError, Issuer, Laggard, Outcome, Place, Presented, PublicKey, RegisterRefusal,
    Registration, RotateRefusal, Rotation, Step,
};
use rcgen::KeyPair;
use x509_parser::prelude::*;

use crate::{DAY, HOUR, anna, audit, authority, cluster, commit, control_with_token, csr, join, key, name, refused};
use crate::{request, start};

/// A control plane with `pi-7`, which has stored the roots.
fn enrolled() -> (Control, KeyPair) {
    let (mut control, key) = (control_with_token(3), key());
    join(&mut control, "pi-7", &key).unwrap();
    tell(&mut control, "pi-7");
    (control, key)
}

fn new_root() -> Issuer {
    Issuer::create(&cluster(), start()).unwrap()
}

fn prepare() -> Rotation {
    Rotation::Prepare(Box::new(new_root()))
}

fn now() -> std::time::SystemTime {
    start() + HOUR * 2
}

fn rotate(control: &mut Control, rotation: Rotation) -> Result<Authority, RotateRefusal> {
    commit(control, control.rotate(now(), &anna(), rotation, false))
}

fn recover(control: &mut Control, recovery: &Issuer) -> Result<Authority, RotateRefusal> {
    commit(control, control.recover(now(), &anna(), new_root(), recovery))
}

/// The node says that it has stored today's roots.
fn tell(control: &mut Control, node: &str) {
    let roots_version = Some(control.authority().roots_version());
    let request = Registration { csr: None, roots_version, ..request(node, &key()) };
    commit(control, control.register(now(), Presented::Node(&name(node)), request)).unwrap();
}

/// The node gets a certificate for a new key.
fn renew(control: &mut Control, node: &str) -> Vec<Vec<u8>> {
    let registered = commit(control, control.register(now(), Presented::Node(&name(node)), request(node, &key())));
    let registered = registered.unwrap();
    std::iter::once(registered.certificate).chain(registered.ca_chain).collect()
}

fn leaf(issuer: &Issuer) -> Result<Vec<u8>, IssueError> {
    let key = PublicKey::from_csr(&csr(&key())).unwrap();
    let node = Identity::node(name("pi-7"));
    issuer.issue(&key, &node, now(), control_lib::Lifetime::NODE).map(|issued| issued.der)
}

/// Whether the certificates, each signed by the one after it, end at `root`: by its key or by itself.
fn leads_to(chain: &[Vec<u8>], root: &Issuer) -> bool {
    let parse = |der| X509Certificate::from_der(der).unwrap().1;
    let (_, anchor) = X509Certificate::from_der(root.certificate_der()).unwrap();
    for pair in chain.windows(2) {
        let (below, above) = (parse(&pair[0]), parse(&pair[1]));
        if below.verify_signature(Some(anchor.public_key())).is_ok() {
            return true;
        }
        if below.issuer() != above.subject() || below.verify_signature(Some(above.public_key())).is_err() {
            return false;
        }
    }
    parse(chain.last().unwrap()).verify_signature(Some(anchor.public_key())).is_ok()
}

#[test]
fn four_steps_lead_to_a_new_root() {
    let (mut control, _) = enrolled();
    let (old, new) = (control.issuer().id(), new_root());
    let new_id = new.id();
    assert_eq!((control.authority().step(), control.authority().roots_version()), (Step::Steady, 1));

    rotate(&mut control, Rotation::Prepare(Box::new(new))).unwrap();
    assert_eq!((control.authority().step(), control.issuer().id()), (Step::Prepared, old));
    assert_eq!(control.trust_bundle().roots.len(), 3);
    assert_eq!(control.trust_bundle().roots_version, 2);

    rotate(&mut control, Rotation::Activate).unwrap();
    assert_eq!((control.authority().step(), control.issuer().id()), (Step::Activated, new_id));
    assert_eq!(control.trust_bundle().roots_version, 2, "the same roots");
    assert!(control.trust_bundle().renew_issuers.is_empty());

    let authority = rotate(&mut control, Rotation::Taint).unwrap();
    let old_pin = authority.others()[0].issuer.ca_public_key_pin();
    assert_eq!(control.trust_bundle().renew_issuers.into_iter().collect::<Vec<_>>(), [old_pin]);

    renew(&mut control, "pi-7");
    tell(&mut control, "pi-7");
    rotate(&mut control, Rotation::Revoke).unwrap();
    assert_eq!((control.authority().step(), control.trust_bundle().roots.len()), (Step::Steady, 2));
    assert_eq!(control.trust_bundle().roots_version, 3);
    assert!(control.trust_bundle().renew_issuers.is_empty());
}

#[test]
fn each_step_can_be_taken_back_until_the_last() {
    let (mut control, _) = enrolled();
    let old = control.issuer().id();
    rotate(&mut control, prepare()).unwrap();
    for rotation in [Rotation::Activate, Rotation::Taint] {
        rotate(&mut control, rotation).unwrap();
    }
    let new = control.issuer().ca_public_key_pin();
    renew(&mut control, "pi-7");
    for step in [Step::Activated, Step::Prepared] {
        assert_eq!(rotate(&mut control, Rotation::Back).unwrap().step(), step);
    }
    assert_eq!(control.issuer().id(), old);
    assert_eq!(control.trust_bundle().renew_issuers.into_iter().collect::<Vec<_>>(), [new], "its holders come back");
    // pi-7 has a certificate of the root that would go
    assert!(matches!(rotate(&mut control, Rotation::Back), Err(RotateRefusal::Lagging(_))));
    renew(&mut control, "pi-7");
    assert_eq!(rotate(&mut control, Rotation::Back).unwrap().step(), Step::Steady);
    assert!(matches!(rotate(&mut control, Rotation::Back), Err(RotateRefusal::Order { .. })));
}

#[test]
fn no_step_comes_before_its_time() {
    let (mut control, _) = enrolled();
    let refuses = |control: &mut Control, rotations: Vec<Rotation>| {
        for rotation in rotations {
            let refusal = refused(control.rotate(now(), &anna(), rotation, true), Outcome::Denied);
            assert!(matches!(refusal, RotateRefusal::Order { .. }), "{refusal}");
        }
    };
    refuses(&mut control, vec![Rotation::Activate, Rotation::Taint, Rotation::Revoke, Rotation::Back]);
    rotate(&mut control, prepare()).unwrap();
    refuses(&mut control, vec![prepare(), Rotation::Taint, Rotation::Revoke]);
    rotate(&mut control, Rotation::Activate).unwrap();
    refuses(&mut control, vec![prepare(), Rotation::Activate, Rotation::Revoke]);
    rotate(&mut control, Rotation::Taint).unwrap();
    refuses(&mut control, vec![prepare(), Rotation::Activate, Rotation::Taint]);
}

#[test]
fn revoke_waits_for_the_live_and_names_them() {
    let (mut control, _) = enrolled();
    join(&mut control, "pi-8", &key()).unwrap();
    for rotation in [prepare(), Rotation::Activate, Rotation::Taint] {
        rotate(&mut control, rotation).unwrap();
    }
    renew(&mut control, "pi-7");
    tell(&mut control, "pi-7");
    let lagging = |node, lacks_roots, has_other_certificate| Laggard {
        node: name(node),
        lacks_roots,
        has_other_certificate,
        is_live: true,
    };
    assert_eq!(control.laggards(now()), [lagging("pi-8", true, true)]);
    let refusal = refused(control.rotate(now(), &anna(), Rotation::Revoke, false), Outcome::Denied);
    assert!(refusal.to_string().starts_with("wait for node/pi-8, or use force"), "{refusal}");
    renew(&mut control, "pi-8");
    assert_eq!(control.laggards(now()), [lagging("pi-8", true, false)]);
    let forced = control.rotate(now(), &anna(), Rotation::Revoke, true);
    assert_eq!(audit(&forced.changes).detail, "forced");
    assert_eq!(forced.answer.unwrap().step(), Step::Steady);
    tell(&mut control, "pi-8");
    assert_eq!(rotate(&mut control, Rotation::Revoke).unwrap().step(), Step::Steady);
}

#[test]
fn a_node_whose_certificate_has_ended_holds_nothing_up() {
    let (mut control, _) = enrolled();
    for rotation in [prepare(), Rotation::Activate, Rotation::Taint] {
        rotate(&mut control, rotation).unwrap();
    }
    let later = start() + DAY * 8;
    assert!(!control.laggards(later)[0].is_live);
    assert!(control.rotate(later, &anna(), Rotation::Revoke, false).answer.is_ok());
}

/// Whoever believes only one of the two roots believes what either signs, as long as both are there.
#[test]
fn chains_lead_to_both_roots_during_a_rotation() {
    let (mut control, _) = enrolled();
    let old = Issuer::without_key(control.issuer().certificate_der()).unwrap();
    let next = new_root();
    let new = Issuer::without_key(next.certificate_der()).unwrap();
    let of_old = [vec![leaf(control.issuer()).unwrap()], control.authority().chain_of(&[])].concat();
    assert!(leads_to(&of_old, &old) && !leads_to(&of_old, &new) && of_old.len() == 2);
    rotate(&mut control, Rotation::Prepare(Box::new(next))).unwrap();
    for rotation in [None, Some(Rotation::Activate), Some(Rotation::Taint), Some(Rotation::Back), Some(Rotation::Back)]
    {
        if let Some(rotation) = rotation {
            rotate(&mut control, rotation).unwrap();
        }
        let chain = renew(&mut control, "pi-7");
        assert!(leads_to(&chain, &old) && leads_to(&chain, &new), "{:?}", control.authority().step());
    }
}

#[test]
fn a_chain_is_that_of_the_certificate_and_not_of_the_day() {
    let (mut control, key) = enrolled();
    let old = Issuer::without_key(control.issuer().certificate_der()).unwrap();
    for rotation in [prepare(), Rotation::Activate] {
        rotate(&mut control, rotation).unwrap();
    }
    // the same young key again: the answer of before, with a chain of before
    let again = control.register(now(), Presented::Node(&name("pi-7")), request("pi-7", &key)).answer.unwrap();
    assert!(old.issued(&again.certificate) && !control.issuer().issued(&again.certificate));
    assert!(leads_to(&[vec![again.certificate], again.ca_chain].concat(), &old));
}

fn with_recovery() -> (Control, Issuer) {
    let recovery = Issuer::create_recovery(&cluster(), start()).unwrap();
    let public = Issuer::without_key(recovery.certificate_der()).unwrap();
    // the signing key is lost
    let lost = Issuer::without_key(new_root().certificate_der()).unwrap();
    (Control::new(Authority::new(lost, public).unwrap()), recovery)
}

#[test]
fn the_recovery_root_makes_a_new_one_that_all_believe() {
    let (mut control, recovery) = with_recovery();
    assert!(matches!(leaf(control.issuer()), Err(IssueError::NoKey)));
    let refusal = rotate(&mut control, prepare()).unwrap_err();
    assert!(matches!(refusal, RotateRefusal::Issue(IssueError::NoKey)));

    let wrong = Issuer::create_recovery(&cluster(), start()).unwrap();
    let refusal = refused(control.recover(now(), &anna(), new_root(), &wrong), Outcome::Denied);
    assert!(matches!(refusal, RotateRefusal::OtherRecovery(_)));

    recover(&mut control, &recovery).unwrap();
    let chain = [vec![leaf(control.issuer()).unwrap()], control.authority().chain_of(&leaf(control.issuer()).unwrap())];
    assert!(leads_to(&chain.concat(), &recovery), "whoever has the bundle of before believes it");
    assert_eq!((control.authority().step(), control.trust_bundle().roots.len()), (Step::Activated, 3));
    assert!(matches!(rotate(&mut control, Rotation::Back), Err(RotateRefusal::Recovered)));
    for rotation in [Rotation::Taint, Rotation::Revoke] {
        rotate(&mut control, rotation).unwrap();
    }
    assert_eq!((control.authority().step(), control.trust_bundle().roots.len()), (Step::Steady, 2));
}

/// Every root that has signed is believed after a recovery, also one of a rotation that was under way.
#[test]
fn a_recovery_in_the_middle_of_a_rotation_forgets_nobody() {
    let recovery = Issuer::create_recovery(&cluster(), start()).unwrap();
    let public = Issuer::without_key(recovery.certificate_der()).unwrap();
    let mut control = Control::new(Authority::new(new_root(), public).unwrap());
    for rotation in [prepare(), Rotation::Activate] {
        rotate(&mut control, rotation).unwrap();
    }
    recover(&mut control, &recovery).unwrap();
    let places: Vec<_> = control.authority().roots().map(|root| root.place).collect();
    assert_eq!(places, [Place::Signing, Place::Previous, Place::Previous, Place::Recovery]);
    rotate(&mut control, Rotation::Taint).unwrap();
    assert_eq!(control.trust_bundle().renew_issuers.len(), 2);
}

#[test]
fn a_restore_ends_every_token_of_before_and_raises_the_epoch() {
    let (mut control, _) = enrolled();
    let heard = control.authority().roots_version() + 5;
    let c1 = Identity::controller(name("c1"));
    let decision = control.restored(now(), &c1);
    assert_eq!(commit(&mut control, decision), 1);
    assert_eq!(control.epoch(), 1);
    assert!(control.authority().roots_version() > heard);
    assert!(!control.live_token(now(), &crate::TOKEN));
    let presented = Presented::Token { public_key: &crate::TOKEN };
    let late = control.register(now() + HOUR, presented, request("pi-9", &key())).answer;
    assert!(matches!(late, Err(RegisterRefusal::TokenExpired(_))));
}

#[test]
fn roots_that_make_no_authority_are_refused() {
    let authority = authority();
    let roots: Vec<_> = authority.roots().cloned().collect();
    assert_eq!(Authority::from_roots(roots.clone(), 1), Ok(authority));
    assert!(Authority::from_roots(roots[..1].to_vec(), 1).is_err());
    assert!(Authority::from_roots([&roots[..], &roots[..1]].concat(), 1).is_err());
    let foreign = Issuer::create(&"orchard".parse().unwrap(), start()).unwrap();
    assert!(Authority::new(new_root(), foreign).is_err());
}
