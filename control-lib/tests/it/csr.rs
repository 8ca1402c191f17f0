//! Certificate requests: two kinds of keys, one encoding each, and no input that panics.

use control_lib::{CsrError, KeyError, Presented, PublicKey, Registration};
use proptest::prelude::*;
use proptest::sample::Index;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{HOUR, TOKEN, control_with_token, csr, key, request, start};

fn ed25519() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
}

#[test]
fn the_key_is_taken_out_as_it_went_in() {
    let (p256, ed25519) = (key(), ed25519());
    assert_eq!(PublicKey::from_csr(&csr(&p256)).unwrap().spki(), p256.subject_public_key_info());
    let taken = PublicKey::from_csr(&csr(&ed25519)).unwrap();
    assert_eq!(taken.spki(), ed25519.subject_public_key_info());
    assert_eq!(taken.ed25519().unwrap(), ed25519.public_key_raw());
    assert_eq!(PublicKey::from_spki(taken.spki()), Ok(taken));
}

#[test]
fn what_openssl_writes_is_read() {
    assert!(PublicKey::from_csr(include_bytes!("csr/p-256.der")).is_ok());
    assert!(PublicKey::from_csr(include_bytes!("csr/ed25519.der")).is_ok());
}

#[test]
fn other_keys_are_refused() {
    let refused = |der: &[u8]| PublicKey::from_csr(der).unwrap_err();
    let other_key = CsrError::Key(KeyError::Algorithm);
    assert_eq!(refused(include_bytes!("csr/rsa-512.der")), other_key);
    assert_eq!(refused(include_bytes!("csr/rsa-2048.der")), other_key);
    assert_eq!(refused(include_bytes!("csr/p-384.der")), other_key);
    assert_eq!(refused(include_bytes!("csr/p-521.der")), other_key);
    // The same point has one accepted encoding, or one key could pass for two.
    assert_eq!(refused(include_bytes!("csr/p-256-compressed.der")), other_key);
}

#[test]
fn what_is_no_request_is_refused() {
    let good = csr(&key());
    let refused = |der: &[u8]| PublicKey::from_csr(der).unwrap_err();
    assert_eq!(refused(b""), CsrError::Malformed);
    assert_eq!(refused(b"-----BEGIN CERTIFICATE REQUEST-----"), CsrError::Malformed);
    assert_eq!(refused(&good[..good.len() - 1]), CsrError::Malformed);
    assert_eq!(refused(&[&good[..], &[0]].concat()), CsrError::Trailing(1));
    assert_eq!(refused(&vec![0x30; 8193]), CsrError::TooLarge(8193));
}

#[test]
fn a_request_for_somebody_elses_key_is_refused() {
    let (mine, theirs) = (key(), key());
    let (mut der, public) = (csr(&mine), mine.subject_public_key_info());
    let at = der.windows(public.len()).position(|window| window == public).unwrap();
    der[at..at + public.len()].copy_from_slice(&theirs.subject_public_key_info());
    assert_eq!(PublicKey::from_csr(&der), Err(CsrError::Signature));
}

#[test]
fn a_key_comes_out_of_a_certificate() {
    let key = key();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let taken = PublicKey::from_certificate(certificate.der()).unwrap();
    assert_eq!(taken.spki(), key.subject_public_key_info());
    let trailing = [certificate.der().as_ref(), &[0]].concat();
    assert_eq!(PublicKey::from_certificate(&trailing), Err(KeyError::Certificate));
    assert_eq!(PublicKey::from_certificate(&csr(&key)), Err(KeyError::Certificate));
    assert_eq!(PublicKey::from_spki(&key.subject_public_key_info()[1..]), Err(KeyError::Algorithm));
}

/// A request for a CA, an operator's identity, another node's, and every usage.
fn wishes(key: &KeyPair) -> Vec<u8> {
    let mut wish = CertificateParams::new(["c1.controller.greenhouse".into(), "192.0.2.1".into()]).unwrap();
    for uri in ["spiffe://greenhouse/operator/admin", "spiffe://greenhouse/node/pi-8"] {
        wish.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    }
    wish.distinguished_name.push(DnType::CommonName, "admin");
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    wish.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any, ExtendedKeyUsagePurpose::CodeSigning];
    wish.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], b"\x0c\x05admin".to_vec()));
    wish.serialize_request(key).unwrap().der().to_vec()
}

/// What is signed, with the serial number, which is random, overwritten.
fn without_serial(certificate: &[u8]) -> Vec<u8> {
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let (mut signed, serial) = (parsed.tbs_certificate.as_ref().to_vec(), parsed.raw_serial());
    let at = signed.windows(serial.len()).position(|window| window == serial).unwrap();
    signed[at..at + serial.len()].fill(0);
    signed
}

#[test]
fn s5_a_request_that_wishes_for_more_is_answered_byte_for_byte_as_one_that_wishes_for_nothing() {
    let (control, key) = (control_with_token(1), key());
    let answer = |csr| {
        let request = Registration { csr: Some(csr), ..request("pi-7", &key) };
        let presented = Presented::Token { public_key: &TOKEN };
        without_serial(&control.register(start() + HOUR, presented, request).answer.unwrap().certificate)
    };
    // a random number has a byte less once in a while, and then so has the certificate
    let plain: Vec<_> = (0..20).map(|_| answer(csr(&key))).collect();
    assert!(plain.contains(&answer(wishes(&key))));
    let other = Registration { csr: Some(csr(&crate::key())), ..request("pi-8", &crate::key()) };
    let presented = Presented::Token { public_key: &TOKEN };
    let other = control.register(start() + HOUR, presented, other).answer.unwrap().certificate;
    assert!(!plain.contains(&without_serial(&other)), "the control: another certificate is told apart");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = PublicKey::from_csr(&bytes);
        let _ = PublicKey::from_certificate(&bytes);
        let _ = PublicKey::from_spki(&bytes);
    }

    /// Every bit of a request is either signed or part of the signature, so that no change of one passes; the few
    /// that do (another way to write the same signature) leave the key as it was.
    #[test]
    fn no_changed_request_panics_or_gives_another_key(
        at in any::<Index>(), mask in 1_u8.., cut in any::<Index>(), truncate in any::<bool>(),
    ) {
        let whole: &[u8] = include_bytes!("csr/p-256.der");
        let mut der = whole.to_vec();
        der[at.index(whole.len())] ^= mask;
        if truncate {
            der.truncate(cut.index(whole.len()));
        }
        if let Ok(key) = PublicKey::from_csr(&der) {
            prop_assert_eq!(key, PublicKey::from_csr(whole).unwrap());
        }
    }
}
