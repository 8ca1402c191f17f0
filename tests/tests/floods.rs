//! HTTP/2 as nobody means it (B3, B4): floods of streams, frames and headers on a connection whose certificate is good. The
//! agent is a process of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use mtls::{Dialer, Expect};
use tests::frames::{Raw, call, frame, kind, literal, remembered};
use tests::{Bystander, Cluster, TARGET, Target, figure, size};
use tokio::time::{sleep, timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bench-sim-agent");
const HEALTH: &str = "/pi.agent.v1.NodeAgent/HealthCheck";
const STREAM_GPIO: &str = "/pi.agent.v1.NodeAgent/StreamGPIO";
/// A gRPC message without content.
const EMPTY: &[u8] = &[0; 5];

fn dialer(cluster: &Cluster) -> Dialer {
    cluster.dialer(&cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now()))
}

async fn connect(cluster: &Cluster, target: &Target) -> Raw {
    Raw::connect(&dialer(cluster), &target.address.to_string(), Expect::Node(TARGET.to_owned()), &[]).await
}

/// What a flood did.
struct Ended {
    /// Units sent until the server closed; all of them if it did not.
    sent: u32,
    /// The reason that the server gave, if it closed.
    reason: Option<u32>,
    /// Streams that the server took on.
    streams: u32,
}

/// Sends `count` units, each made of its number, until the server closes or has digested them all.
async fn flood(raw: &mut Raw, count: u32, first: Vec<u8>, unit: impl Fn(u32) -> Vec<u8>) -> Ended {
    raw.send(first).await;
    let mut sent = 0;
    'sending: while sent < count {
        let mut bytes = Vec::new();
        for _ in 0..100 {
            bytes.extend(unit(sent));
            sent += 1;
        }
        match timeout(Duration::from_secs(20), raw.send(bytes)).await {
            Ok(true) if !raw.is_closed() => {}
            Ok(_) => break 'sending,
            Err(_) => panic!("the server neither reads nor closes"),
        }
    }
    // what it answers to the last: a ping of ours, or its end
    let mark = *b"digested";
    raw.send(frame(kind::PING, 0, 0, &mark)).await;
    let is_last =
        |frame: &tests::frames::Frame| frame.kind == kind::GOAWAY || frame.kind == kind::PING && frame.payload == mark;
    let last = raw.wait_for(Duration::from_secs(20), is_last).await;
    let goaway = last.filter(|frame| frame.kind == kind::GOAWAY);
    let number =
        |at: usize| goaway.as_ref().map(|frame| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap()));
    Ended { sent, reason: number(4), streams: number(0).map_or(0, |last| last.div_ceil(2)) }
}

/// B3: streams that are opened and reset at once.
#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_are_cut_off() {
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "").await;
    let reset = |number: u32| {
        let stream = 2 * number + 1;
        let mut bytes = frame(kind::HEADERS, kind::END_HEADERS, stream, &call(HEALTH));
        bytes.extend(frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    };
    flood(&mut connect(&cluster, &target).await, 20_000, Vec::new(), reset).await; // what is allocated once
    let quiet = Bystander::undisturbed(target.client(&cluster)).await;
    let (rss, cpu) = (target.rss(), target.cpu());
    let beside = Bystander::start(target.client(&cluster));
    for _ in 0..size(2, 10) {
        let ended = flood(&mut connect(&cluster, &target).await, 20_000, Vec::new(), reset).await;
        figure(format!("rapid reset: cut off after {} streams, reason {:?}", ended.streams, ended.reason));
        assert!(ended.reason.is_some() && ended.streams <= 1000, "not cut off");
    }
    let cpu = target.cpu() - cpu;
    let loud = beside.end().await;
    let growth = target.rss().saturating_sub(rss);
    figure(format!("memory +{} KiB, {cpu:?} of CPU; calls of others: {quiet} before; {loud} during", growth / 1024));
    assert!(growth < 2 << 20, "grew by {growth} bytes");
    loud.is_calm_beside(&quiet);
}

/// B4: each flood is cut off or costs little, and no memory.
#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_are_cut_off_or_cheap() {
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "").await;
    let open = |path: &str| frame(kind::HEADERS, kind::END_HEADERS, 1, &call(path));
    let begun = frame(kind::HEADERS, 0, 1, &call(HEALTH)); // and its headers do not end
    type Unit = Box<dyn Fn(u32) -> Vec<u8>>;
    let floods: Vec<(&str, Vec<u8>, Unit)> = vec![
        (
            "CONTINUATION",
            begun.clone(),
            Box::new(|number| {
                let mut block = Vec::new();
                literal(&mut block, tests::frames::Name::New("x"), &format!("{number:0>100}"));
                frame(kind::CONTINUATION, 0, 1, &block)
            }),
        ),
        ("empty CONTINUATION", begun, Box::new(|_| frame(kind::CONTINUATION, 0, 1, &[]))),
        ("empty DATA", open(STREAM_GPIO), Box::new(|_| frame(kind::DATA, 0, 1, &[]))),
        (
            "SETTINGS",
            Vec::new(),
            Box::new(|number| {
                frame(kind::SETTINGS, 0, 0, &[&[0, 4][..], &(65_535 + number % 2).to_be_bytes()].concat())
            }),
        ),
        ("PING", Vec::new(), Box::new(|number| frame(kind::PING, 0, 0, &u64::from(number).to_be_bytes()))),
        ("WINDOW_UPDATE", Vec::new(), Box::new(|_| frame(kind::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))),
    ];
    for (name, first, unit) in floods {
        flood(&mut connect(&cluster, &target).await, 1000, first.clone(), &unit).await; // what is allocated once
        let mut raw = connect(&cluster, &target).await;
        let (rss, cpu) = (target.rss(), target.cpu());
        let ended = flood(&mut raw, 50_000, first, &unit).await;
        let (cpu, growth) = (target.cpu() - cpu, target.rss().saturating_sub(rss));
        figure(format!(
            "{name}: {} of 50,000 sent, closed: {:?}; {cpu:?} of CPU, memory +{} KiB",
            ended.sent,
            ended.reason,
            growth / 1024
        ));
        assert!(growth < 2 << 20, "{name}: grew by {growth} bytes");
        // what the specification allows an optimised build; this one is an order slower, if it is not
        let allowed = Duration::from_millis(size(1000, 200));
        assert!(ended.reason.is_some() || cpu <= allowed, "{name}: {cpu:?}");
    }
    target.client(&cluster).health_check(()).await.unwrap();
}

/// B4: headers that are small on the wire and large when unpacked.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_unpack_to_much_are_refused() {
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "").await;
    let mut raw = connect(&cluster, &target).await;
    target.client(&cluster).health_check(()).await.unwrap();
    let (rss, cpu) = (target.rss(), target.cpu());
    // the server remembers one header of 3,900 bytes, and is then shown it 15,000 times: 58 MB
    let mut block = call(HEALTH);
    remembered(&mut block, "x", &"y".repeat(3900));
    raw.send(frame(kind::HEADERS, kind::END_HEADERS, 1, &block)).await;
    let mut block = call(HEALTH);
    block.extend(vec![0x80 | 62; 15_000]);
    for stream in (3..203).step_by(2) {
        if !raw.send(frame(kind::HEADERS, kind::END_HEADERS, stream, &block)).await {
            break;
        }
    }
    // refused by its status, or the connection ended
    sleep(Duration::from_millis(500)).await;
    raw.send(frame(kind::PING, 0, 0, b"digested")).await;
    let last = raw.wait_for(Duration::from_secs(20), |frame| frame.kind == kind::PING && frame.payload == b"digested");
    let closed = last.await.is_none();
    let (cpu, growth) = (target.cpu() - cpu, target.rss().saturating_sub(rss));
    let peak = target.peak_rss().saturating_sub(rss);
    figure(format!(
        "100 times 15,000 references to a header of 3,900 bytes: closed: {closed}; {cpu:?} of CPU, memory +{} KiB, at its peak \
         +{} KiB",
        growth / 1024,
        peak / 1024
    ));
    assert!(growth < 2 << 20 && peak < 4 << 20, "grew by {growth} bytes, {peak} at its peak");
    assert!(cpu <= Duration::from_millis(size(1000, 200)), "{cpu:?}");
    // and no handler saw them: control, the same call without them is answered
    let mut raw = connect(&cluster, &target).await;
    raw.send(frame(kind::HEADERS, kind::END_HEADERS, 1, &call(HEALTH))).await;
    raw.send(frame(kind::DATA, kind::END_STREAM, 1, EMPTY)).await;
    let answer = raw.wait_for(Duration::from_secs(20), |frame| frame.kind == kind::DATA && frame.stream == 1).await;
    assert!(answer.is_some());
}
