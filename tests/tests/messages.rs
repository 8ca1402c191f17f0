//! Messages that are too large (B6), or are none (B7). The agent is a process of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mtls::{Dialer, Expect};
use tests::{Cluster, TARGET, Target, figure, size};
use tokio::task::JoinSet;
use tonic::{Code, Status};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bench-sim-agent");
const CONTROL_GPIO: &str = "/pi.agent.v1.NodeAgent/ControlGPIO";
const EXECUTE: &str = "/pi.agent.v1.NodeAgent/ExecuteCommand";

/// Calls with bodies of bytes, which need be no messages.
#[derive(Clone)]
struct Caller(http2::SendRequest<Full<Bytes>>);

impl Caller {
    async fn to(dialer: &Dialer, address: &str, expect: Expect) -> Self {
        let connection = dialer.connect(address, expect).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(connection));
        let (sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// How the call ends; the encoding is what the sender says that it is.
    async fn refusal(&self, path: &str, encoding: Option<&str>, body: Vec<u8>) -> Status {
        let mut request = Request::post(format!("http://target{path}")).header("content-type", "application/grpc");
        request = request.header("te", "trailers").header("pi-node", TARGET);
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.0.clone().send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        Status::from_header_map(response.headers()).expect("a status instead of an answer")
    }
}

/// A length and so many bytes, which need not fit.
fn message(length: u32, bytes: &[u8]) -> Vec<u8> {
    [&[0][..], &length.to_be_bytes(), bytes].concat()
}

fn whole(bytes: &[u8]) -> Vec<u8> {
    message(bytes.len().try_into().unwrap(), bytes)
}

/// Straight to the agent, and through the controller, which passes it on unread.
async fn both_ways(cluster: &Cluster, target: &Target) -> [Caller; 2] {
    let dialer = |who: &str| cluster.dialer(&cluster.credentials(&cluster.issuer(), who, SystemTime::now()));
    let node = Expect::Node(TARGET.to_owned());
    [
        Caller::to(&dialer("operator/bob"), &target.address.to_string(), node).await,
        Caller::to(&dialer("operator/admin"), &cluster.address.to_string(), Expect::Controller).await,
    ]
}

/// B6.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_before_there_is_room_for_it() {
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "").await;
    for (way, caller) in ["straight", "through the controller"].into_iter().zip(both_ways(&cluster, &target).await) {
        let four_megabytes = vec![7; (4 << 20) + 1];
        for (what, body) in [
            ("4 MiB + 1", whole(&four_megabytes)),
            ("a prefix of 4 GiB", message(u32::MAX, &[])),
            ("a prefix of 4 GiB and 4 MiB of it", message(u32::MAX, &four_megabytes)),
        ] {
            caller.refusal(CONTROL_GPIO, None, body.clone()).await; // what is allocated once
            let before = target.rss();
            let mut calls = JoinSet::new();
            for _ in 0..100 {
                let (caller, body) = (caller.clone(), body.clone());
                calls.spawn(async move { caller.refusal(CONTROL_GPIO, None, body).await });
            }
            for status in calls.join_all().await {
                assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{what}: {status:?}");
            }
            let peak = target.peak_rss().saturating_sub(before);
            figure(format!("100 times {what}, {way}: memory at its peak +{} KiB", peak / 1024));
            assert!(peak < 8 << 20, "{what}: {peak} bytes");
        }
    }
}

/// B7: each with a clean status, no panic, and at no cost.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_gets_a_clean_status() {
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "[exec]\nmode = 'any'\n").await;
    // field 2047 as groups within groups, and as messages within messages
    let groups = [0xfb, 0x7f].repeat(10_000);
    let mut nested: Vec<u8> = Vec::new();
    while nested.len() < 60_000 {
        nested = [&[0xfa, 0x7f][..], &varint(nested.len()), &nested].concat();
        if nested.len() > 4 && nested.len() / 4 > 10_000 {
            break;
        }
    }
    let empties = [0x0a, 0].repeat(1_000_000); // argv: a million empty words
    let few_empties = [0x0a, 0].repeat(30_000); // as many as fit into 64 KiB
    let refused =
        [Code::InvalidArgument, Code::Internal, Code::OutOfRange, Code::ResourceExhausted, Code::Unimplemented];
    for (way, caller) in ["straight", "through the controller"].into_iter().zip(both_ways(&cluster, &target).await) {
        for (what, path, encoding, body, reached) in [
            ("groups 10,000 deep", CONTROL_GPIO, None, whole(&groups), true),
            ("unknown fields, nested", CONTROL_GPIO, None, whole(&nested), false),
            ("a million empty words", EXECUTE, None, whole(&empties), true),
            ("30,000 empty words", EXECUTE, None, whole(&few_empties), true),
            ("invalid UTF-8", EXECUTE, None, whole(&[0x0a, 2, 0xff, 0xfe]), true),
            ("a cut field", EXECUTE, None, whole(&[0x0a, 200]), true),
            ("an unknown enum", CONTROL_GPIO, None, whole(&[0x08, 17, 0x10, 99]), true),
            ("gzip that is not", CONTROL_GPIO, Some("gzip"), [&[1], &whole(&[0x1f, 0x8b, 8, 0])[1..]].concat(), true),
            ("a flag without an encoding", CONTROL_GPIO, None, [&[1], &whole(&[7; 9])[1..]].concat(), true),
            ("an unknown flag", CONTROL_GPIO, None, [&[9], &whole(&[7; 9])[1..]].concat(), true),
        ] {
            caller.refusal(path, encoding, body.clone()).await;
            let (rss, cpu) = (target.rss(), target.cpu());
            let times = 10;
            for _ in 0..times {
                let status = caller.refusal(path, encoding, body.clone()).await;
                assert!(refused.contains(&status.code()), "{what}: {status:?}");
                assert!(!reached || !status.message().is_empty(), "{what}: {status:?}");
            }
            let (cpu, growth) = ((target.cpu() - cpu) / times, target.peak_rss().saturating_sub(rss));
            println!("{what}, {way}: {cpu:?} of CPU, memory +{} KiB", growth / 1024);
            assert!(growth < 16 << 20, "{what}: {growth} bytes");
            assert!(cpu <= Duration::from_millis(size(500, 50)), "{what}: {cpu:?}");
        }
    }
    let log = target.log();
    assert!(!log.contains("panicked"), "{log}");
    target.client(&cluster).health_check(()).await.unwrap();
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push((value % 128) as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}
