//! Names, identities and the other texts that come in from outside.

use control_lib::{Endpoint, Identity, IdentityError, LabelError, Labels, LabelsError, Name, Text, TextError, TokenId};

use crate::{cluster, name};

#[test]
fn a_name_is_a_dns_label() {
    for good in ["a", "7", "pi-7", "a--b", &"x".repeat(63)] {
        assert_eq!(good.parse::<Name>().unwrap().to_string(), good);
    }
    let refused = |text: &str| text.parse::<Name>().unwrap_err();
    assert_eq!(refused(""), LabelError::Length(0));
    assert_eq!(refused(&"x".repeat(64)), LabelError::Length(64));
    assert_eq!(refused("Pi-7"), LabelError::Character('P'));
    assert_eq!(refused("pi.7"), LabelError::Character('.'));
    assert_eq!(refused("pi/7"), LabelError::Character('/'));
    assert_eq!(refused("pi-7\0"), LabelError::Character('\0'));
    assert_eq!(refused("-pi"), LabelError::Hyphen);
    assert_eq!(refused("pi-"), LabelError::Hyphen);
}

#[test]
fn an_identity_has_one_uri_and_one_dns_name() {
    let node = Identity::node(name("pi-7"));
    assert_eq!(node.to_string(), "node/pi-7");
    assert_eq!(node.uri(&cluster()), "spiffe://greenhouse/node/pi-7");
    assert_eq!(node.dns(&cluster()), "pi-7.node.greenhouse");
    for identity in [node, Identity::operator(name("anna")), Identity::controller(name("c1"))] {
        assert_eq!(Identity::from_uri(&identity.uri(&cluster()), &cluster()), Ok(identity.clone()));
        assert_eq!(identity.to_string().parse(), Ok(identity));
    }
}

#[test]
fn an_identity_of_another_form_or_cluster_is_refused() {
    let refused = |uri: &str| Identity::from_uri(uri, &cluster()).unwrap_err();
    let other = IdentityError::OtherCluster(cluster());
    assert_eq!(refused("spiffe://greenhouse2/node/pi-7"), other);
    assert_eq!(refused("spiffe://green/node/pi-7"), other);
    assert_eq!(refused("SPIFFE://greenhouse/node/pi-7"), other);
    assert_eq!(refused("https://greenhouse/node/pi-7"), other);
    assert_eq!(refused("spiffe://greenhouse"), other);
    assert_eq!(refused("spiffe://greenhouse/pi-7"), IdentityError::Form);
    assert_eq!(refused("spiffe://greenhouse/root/pi-7"), IdentityError::Form);
    assert_eq!(refused("spiffe://greenhouse/node/"), IdentityError::Name(LabelError::Length(0)));
    assert_eq!(refused("spiffe://greenhouse/node/pi-7/x"), IdentityError::Name(LabelError::Character('/')));
    assert_eq!(refused("spiffe://greenhouse/node/pi-7?x"), IdentityError::Name(LabelError::Character('?')));
}

#[test]
fn a_text_has_256_bytes_and_no_control_characters() {
    assert_eq!("Raspberry Pi 5 Modèle B".parse::<Text>().unwrap().as_str(), "Raspberry Pi 5 Modèle B");
    assert!("x".repeat(256).parse::<Text>().is_ok());
    assert_eq!("x".repeat(257).parse::<Text>(), Err(TextError::TooLong(257)));
    assert_eq!("a\x1b[2J".parse::<Text>(), Err(TextError::Control('\x1b')));
    assert_eq!("a\u{9b}2J".parse::<Text>(), Err(TextError::Control('\u{9b}')));
    assert_eq!("a\nb".parse::<Text>(), Err(TextError::Control('\n')));
}

#[test]
fn labels_can_be_selected_by() {
    let labels = Labels::new([("rack", "2"), ("bay", ""), ("rack", "3")]).unwrap();
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("bay", ""), ("rack", "3")]);
    assert_eq!((labels.get("rack"), labels.get("row")), (Some("3"), None));
    assert_eq!(Labels::new([("", "x")]), Err(LabelsError::Key("".into())));
    assert_eq!(Labels::new([("a=b", "x")]), Err(LabelsError::Key("a=b".into())));
    assert_eq!(Labels::new([("a", "\t")]), Err(LabelsError::Text("a".into(), TextError::Control('\t'))));
    let many = |n: usize| Labels::new((0..n).map(|i| (i.to_string(), "")));
    assert!(many(64).is_ok());
    assert_eq!(many(65), Err(LabelsError::TooMany(65)));
}

#[test]
fn an_endpoint_is_a_host_and_a_port() {
    for good in ["pi-7:7443", "pi_7.local:1", "192.0.2.7:65535", "[2001:db8::7]:7443"] {
        assert_eq!(good.parse::<Endpoint>().unwrap().as_str(), good);
    }
    for bad in ["", ":7443", "pi-7", "pi-7:", "pi-7:0", "192.0.2.7:0", "pi-7:65536", "pi-7:+1", "2001:db8::7:7443"] {
        assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
    }
    for bad in ["a b:1", "a..b:1", "-a:1", "a\n:1", "http://pi-7:1", "user@pi-7:1", "pi-7:1/x"] {
        assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
    }
}

#[test]
fn a_token_is_named_after_its_key() {
    let id = TokenId::of(&[1; 32]);
    assert_eq!(id.to_string().len(), 16);
    assert_eq!(id.to_string(), id.to_string().to_lowercase());
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_ne!(id, TokenId::of(&[2; 32]));
    for bad in ["", "abc", "abcdefghijklmno1", "abcdefghijklmnopq", "äbcdefghijklmnop"] {
        assert!(bad.parse::<TokenId>().is_err(), "{bad}");
    }
}
