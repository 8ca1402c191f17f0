//! Certificate requests: two kinds of keys, one encoding each, and no input that panics.

use control_lib::{CsrError, KeyError, PublicKey};
use proptest::prelude::*;
use proptest::sample::Index;
use rcgen::{KeyPair, PublicKeyData};

use crate::{csr, key};

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
