//! Issued certificates, read back with another library than the one that wrote them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control_lib::{Certificate, Identity, IssueError, Issuer, Lifetime, OpenCaError, PublicKey};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use x509_parser::prelude::*;

use crate::{DAY, HOUR, cluster, csr, key, name, start};

fn issuer() -> Issuer {
    Issuer::create(&cluster(), start()).unwrap()
}

fn issue(issuer: &Issuer, identity: &Identity, lifetime: Lifetime) -> Certificate {
    let key = PublicKey::from_csr(&csr(&key())).unwrap();
    issuer.issue(&key, identity, start(), lifetime).unwrap()
}

fn parse(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn names<'a>(certificate: &'a X509Certificate<'_>) -> Vec<&'a GeneralName<'a>> {
    certificate.subject_alternative_name().unwrap().unwrap().value.general_names.iter().collect()
}

fn time(time: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.timestamp() as u64)
}

#[test]
fn a_nodes_certificate_says_who_it_is_and_nothing_else() {
    let issuer = issuer();
    let node = Identity::node(name("pi-7"));
    let issued = issue(&issuer, &node, Lifetime::NODE);
    let certificate = parse(&issued.der);
    assert_eq!(certificate.version(), X509Version::V3);
    assert_eq!(certificate.subject().to_string(), "CN=pi-7");
    let [GeneralName::URI(uri), GeneralName::DNSName(dns)] = names(&certificate)[..] else { panic!("two names") };
    assert_eq!((*uri, *dns), ("spiffe://greenhouse/node/pi-7", "pi-7.node.greenhouse"));
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.flags == 1, "digitalSignature and nothing else");
    certificate.verify_signature(Some(parse(issuer.certificate_der()).public_key())).unwrap();
}

#[test]
fn only_nodes_and_controllers_can_be_servers() {
    let issuer = issuer();
    let cases = [
        (Identity::node(name("pi-7")), Lifetime::NODE, true),
        (Identity::controller(name("c1")), Lifetime::CONTROLLER, true),
        (Identity::operator(name("anna")), Lifetime::OPERATOR, false),
    ];
    for (identity, lifetime, server) in cases {
        let issued = issue(&issuer, &identity, lifetime);
        let certificate = parse(&issued.der);
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        let expected = ExtendedKeyUsage { client_auth: true, server_auth: server, ..no_usage() };
        assert_eq!(usage, &expected, "{identity}");
    }
}

fn no_usage<'a>() -> ExtendedKeyUsage<'a> {
    ExtendedKeyUsage {
        any: false,
        server_auth: false,
        client_auth: false,
        code_signing: false,
        email_protection: false,
        time_stamping: false,
        ocsp_signing: false,
        other: Vec::new(),
    }
}

#[test]
fn a_request_that_wishes_for_more_gets_the_same() {
    let key = key();
    let mut wish = CertificateParams::new(["c1.controller.greenhouse".into(), "192.0.2.1".into()]).unwrap();
    wish.subject_alt_names.push(rcgen::SanType::URI("spiffe://greenhouse/operator/root".try_into().unwrap()));
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    wish.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any, ExtendedKeyUsagePurpose::CodeSigning];
    wish.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]));
    let wish = PublicKey::from_csr(wish.serialize_request(&key).unwrap().der()).unwrap();
    let plain = PublicKey::from_csr(&csr(&key)).unwrap();
    assert_eq!(wish, plain);

    let issuer = issuer();
    let issued = issuer.issue(&wish, &Identity::node(name("pi-7")), start(), Lifetime::NODE).unwrap();
    let certificate = parse(&issued.der);
    assert_eq!(names(&certificate).len(), 2);
    assert!(!certificate.is_ca());
    assert_eq!(certificate.key_usage().unwrap().unwrap().value.flags, 1);
    assert!(!certificate.extended_key_usage().unwrap().unwrap().value.code_signing);
    // Six extensions, all of the issuer's making: SAN, basic constraints, both usages, both key identifiers.
    assert_eq!(certificate.extensions().len(), 6);
}

#[test]
fn times_are_those_in_the_certificate() {
    let issued = issue(&issuer(), &Identity::node(name("pi-7")), Lifetime::NODE);
    let second = UNIX_EPOCH + Duration::from_secs(start().duration_since(UNIX_EPOCH).unwrap().as_secs());
    assert_eq!(issued.not_before, second - HOUR);
    assert_eq!(issued.not_after, second + DAY * 7);
    assert_eq!(issued.renew_at(), second + DAY * 7 / 2);
    let validity = parse(&issued.der).validity().clone();
    assert_eq!((time(validity.not_before), time(validity.not_after)), (issued.not_before, issued.not_after));
}

#[test]
fn an_operators_lifetime_has_bounds() {
    assert_eq!(Lifetime::OPERATOR.duration(), DAY * 90);
    assert_eq!(Lifetime::operator(HOUR * 12).unwrap().duration(), HOUR * 12);
    assert!(Lifetime::operator(DAY * 90).is_ok());
    assert!(Lifetime::operator(HOUR * 12 - Duration::from_secs(1)).is_err());
    assert!(Lifetime::operator(DAY * 90 + Duration::from_secs(1)).is_err());
}

#[test]
fn a_root_signs_members_and_certifies_one_other_root() {
    let issuer = issuer();
    let root = parse(issuer.certificate_der());
    root.verify_signature(None).unwrap();
    assert_eq!(root.subject().to_string(), format!("CN=root-{}, O=greenhouse", issuer.id()));
    let constraints = root.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(1));
    let usage = root.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    assert_eq!(time(root.validity().not_after), issuer.not_after());
    let years = issuer.not_after().duration_since(start()).unwrap().as_secs() / (365 * DAY.as_secs());
    assert!((9..=10).contains(&years));
}

#[test]
fn key_identifiers_link_member_and_root() {
    let issuer = issuer();
    let issued = issue(&issuer, &Identity::node(name("pi-7")), Lifetime::NODE);
    let (leaf, root) = (parse(&issued.der), parse(issuer.certificate_der()));
    let identifier = |certificate: &X509Certificate<'_>, own: bool| {
        certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) if own => Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) if !own => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        })
    };
    assert!(identifier(&root, true).is_some());
    assert_eq!(identifier(&leaf, false), identifier(&root, true));
    assert_ne!(identifier(&leaf, true), identifier(&root, true));
}

#[test]
fn serial_numbers_are_random() {
    let issuer = issuer();
    let node = Identity::node(name("pi-7"));
    let serials: Vec<_> = (0..20).map(|_| parse(&issue(&issuer, &node, Lifetime::NODE).der).serial.clone()).collect();
    let bits = serials.iter().map(|serial| serial.bits()).max().unwrap();
    assert!((100..=128).contains(&bits), "{bits} bits");
    let distinct: std::collections::BTreeSet<_> = serials.iter().collect();
    assert_eq!(distinct.len(), serials.len());
}

#[test]
fn an_authority_comes_back_from_its_two_parts() {
    let first = issuer();
    let again = Issuer::from_der(first.certificate_der(), first.key().unwrap().expose()).unwrap();
    assert_eq!(again.cluster(), first.cluster());
    assert_eq!(again.not_after(), first.not_after());
    assert_eq!(again.ca_public_key_pin(), first.ca_public_key_pin());
    let issued = issue(&again, &Identity::node(name("pi-7")), Lifetime::NODE);
    let leaf = parse(&issued.der);
    let root = parse(first.certificate_der());
    leaf.verify_signature(Some(root.public_key())).unwrap();
    assert_eq!(leaf.issuer(), root.subject());
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let (one, two) = (issuer(), issuer());
    let refused = |certificate: &[u8], key: &[u8]| Issuer::from_der(certificate, key).unwrap_err();
    assert!(matches!(refused(one.certificate_der(), two.key().unwrap().expose()), OpenCaError::Mismatch));
    assert!(matches!(refused(one.certificate_der(), b"key"), OpenCaError::Key(_)));
    assert!(matches!(refused(b"certificate", one.key().unwrap().expose()), OpenCaError::Certificate));
    let leaf = issue(&one, &Identity::node(name("pi-7")), Lifetime::NODE);
    assert!(matches!(refused(&leaf.der, one.key().unwrap().expose()), OpenCaError::Certificate));
}

#[test]
fn the_pin_is_that_of_the_public_key() {
    let issuer = issuer();
    let spki = parse(issuer.certificate_der()).public_key().raw.to_vec();
    let digest = ring::digest::digest(&ring::digest::SHA256, &spki);
    assert_eq!(issuer.ca_public_key_pin(), digest.as_ref());
}

#[test]
fn no_debug_output_shows_the_key() {
    let issuer = issuer();
    assert_eq!(format!("{:?}", issuer.key().unwrap()), "CaKey(..)");
    let shown = format!("{issuer:?}");
    assert!(
        shown.starts_with("Issuer { cluster: ClusterId(\"greenhouse\"), root: RootId(") && shown.len() < 120,
        "{shown}"
    );
}

#[test]
fn no_certificate_outlives_the_root() {
    let issuer = issuer();
    let key = PublicKey::from_csr(&csr(&key())).unwrap();
    let node = Identity::node(name("pi-7"));
    let late = issuer.issue(&key, &node, issuer.not_after() - DAY, Lifetime::NODE).unwrap();
    assert_eq!(late.not_after, issuer.not_after());
    let too_late = issuer.issue(&key, &node, issuer.not_after(), Lifetime::NODE);
    assert!(matches!(too_late, Err(IssueError::CaExpired)));
}

#[test]
fn a_clock_that_no_certificate_can_express_is_refused() {
    let issuer = issuer();
    let key = PublicKey::from_csr(&csr(&key())).unwrap();
    let node = Identity::node(name("pi-7"));
    for now in [UNIX_EPOCH, UNIX_EPOCH - DAY] {
        assert!(matches!(issuer.issue(&key, &node, now, Lifetime::NODE), Err(IssueError::Clock)));
    }
    assert!(Issuer::create(&cluster(), UNIX_EPOCH).is_err());
    assert!(Issuer::create(&cluster(), UNIX_EPOCH + DAY * 365 * 8_100).is_err());
}
