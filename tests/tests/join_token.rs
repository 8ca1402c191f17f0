//! B13: a join token that is not one, in a million ways. B14: requests for certificates that are refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use control_lib::PublicKey;
use mtls::{JoinToken, OwnCertificate, OwnKey};
use proto::control::v1::NodeRegistration;
use proto::control::v1::control_plane_client::ControlPlaneClient;
use tests::{Cluster, figure, seed, size};
use tonic::Code;

/// One change, such as a typing mistake, a bad copy or a bad will makes it.
fn mutate(text: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let (at, other) = (random.usize(..text.len()), random.usize(..text.len()));
    match random.u8(..9) {
        0 => text[at] = random.u8(..),
        1 => text[at] ^= 1 << random.u8(..8),
        2 => text.insert(at, random.u8(..)),
        3 => drop(text.remove(at)),
        4 => text.truncate(at),
        5 => drop(text.drain(..at)),
        6 => text.extend_from_within(at..),
        7 => text.swap(at, other),
        _ => text.insert(at, *random.choice(b".-=\n\0 aA").unwrap()),
    }
    if text.is_empty() {
        text.push(b'.');
    }
}

#[test]
fn b13_of_a_million_altered_tokens_none_is_one() {
    let token = JoinToken::new("lab", [7; 32], "abcdefgh23456722", JoinToken::new_seed().unwrap()).unwrap();
    let whole = token.to_text();
    let mut random = fastrand::Rng::with_seed(seed());
    let (mutations, mut same, mut longest) = (size(100_000, 1_000_000), 0, Duration::ZERO);
    for _ in 0..mutations {
        let mut text = whole.as_bytes().to_vec();
        (0..random.u8(1..4)).for_each(|_| mutate(&mut text, &mut random));
        let text = String::from_utf8_lossy(&text);
        let start = Instant::now();
        let parsed = text.parse::<JoinToken>();
        longest = longest.max(start.elapsed());
        match parsed {
            // white space round it, as a file has it
            Ok(_) => assert_eq!(text.trim(), whole.trim(), "another text passes"),
            Err(why) => assert!(!why.to_string().contains(whole.split('.').nth(4).unwrap())),
        }
        same += usize::from(text.trim() == whole.trim());
    }
    figure(format!(
        "{mutations} altered tokens refused but {same} that were not altered, the slowest in {longest:.0?}"
    ));
    let long = "a".repeat(1 << 20);
    for long in [long.clone(), format!("pijoin1.{long}.{long}.{long}.{long}.{long}"), ".".repeat(1 << 20)] {
        assert!(long.parse::<JoinToken>().is_err());
    }
}

fn rcgen_request(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    change(&mut params);
    params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

/// What is refused, and of what kind it is.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let good = OwnKey::generate().unwrap().csr().unwrap();
    let mut bad_signature = good.clone();
    *bad_signature.last_mut().unwrap() ^= 1;
    let names = (0..1000).map(|n| rcgen::SanType::DnsName(format!("{n}.node.lab").try_into().unwrap()));
    vec![
        ("RSA-512", include_bytes!("../../control-lib/tests/it/csr/rsa-512.der").to_vec()),
        ("P-521", include_bytes!("../../control-lib/tests/it/csr/p-521.der").to_vec()),
        ("1000 names", rcgen_request(|params| params.subject_alt_names = names.collect())),
        ("bad signature", bad_signature),
        ("trailing bytes", [&good[..], &[0; 4]].concat()),
        ("cut", good[..good.len() - 1].to_vec()),
        ("8192 times nothing", vec![0; 8192]),
        ("nested", [0x30, 0x80].repeat(4096)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn b14_a_bad_request_is_refused_at_once() {
    let cluster = Cluster::start().await;
    let mut times = Vec::new();
    for (kind, csr) in refused() {
        let slowest = (0..20).map(|_| {
            let start = Instant::now();
            assert!(PublicKey::from_csr(&csr).is_err(), "{kind}");
            start.elapsed()
        });
        times.push((slowest.max().unwrap(), kind));

        // and over the wire: said why, nothing used up
        let token = cluster.token(1).await;
        let own = OwnCertificate::new(&token.credentials().unwrap()).unwrap();
        let dialer = mtls::Dialer::joining(own, &token);
        let channel = dialer.channel(&cluster.address.to_string(), mtls::Expect::Controller).unwrap();
        let wish = |csr| NodeRegistration { csr: Some(csr), name: "pi-1".to_owned(), ..NodeRegistration::default() };
        let mut control = ControlPlaneClient::new(channel);
        let status = control.register_node(wish(csr)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{kind}: {status:?}");
        assert!(status.message().starts_with("send another certificate request: "), "{kind}: {status:?}");
    }
    let (slowest, kind) = times.iter().max().unwrap();
    figure(format!("{} kinds of bad requests refused, the slowest ({kind}) in {slowest:.1?}", times.len()));
    assert!(*slowest < Duration::from_millis(50), "5 ms, and room for a busy machine and a debug build");

    // one that wishes to be a CA is no error: its wishes are not heard (S5)
    let wishes = rcgen_request(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    assert!(PublicKey::from_csr(&wishes).is_ok());
}
