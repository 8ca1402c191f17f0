//! Peers that are alive and do not go on (B5): what ends them, and what does not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant, SystemTime};

use mtls::{Cause, Dialer, Expect};
use tests::frames::{Raw, call, frame, kind};
use tests::{Cluster, TARGET, Target, figure};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bench-sim-agent");
const CONTROL_GPIO: &str = "/pi.agent.v1.NodeAgent/ControlGPIO";
const STREAM_GPIO: &str = "/pi.agent.v1.NodeAgent/StreamGPIO";
const METRICS: &str = "/pi.agent.v1.NodeAgent/GetSystemMetrics";
const STREAM_METRICS: &str = "/pi.agent.v1.NodeAgent/StreamMetrics";
/// A gRPC message without content, and the beginning of one of 100 bytes.
const EMPTY: &[u8] = &[0; 5];
const BEGUN: &[u8] = &[0, 0, 0, 0, 100];
/// All of them end within 30 s; the rest is this machine's.
const END: Duration = Duration::from_secs(33);
/// SETTINGS_INITIAL_WINDOW_SIZE.
const WINDOW: u16 = 4;

/// Stream 1 is over: reset, or ended with its trailers.
fn is_over(frame: &tests::frames::Frame) -> bool {
    frame.stream == 1
        && (frame.kind == kind::RST_STREAM || frame.kind == kind::HEADERS && frame.flags & kind::END_STREAM != 0)
}

struct Peers {
    dialer: Dialer,
    address: String,
}

impl Peers {
    async fn connect(&self, window: Option<u32>) -> Raw {
        let settings: Vec<_> = window.map(|window| (WINDOW, window)).into_iter().collect();
        Raw::connect(&self.dialer, &self.address, Expect::Node(TARGET.to_owned()), &settings).await
    }

    /// Begins a message and goes on with a byte a second.
    async fn dribble(&self, path: &str) -> Duration {
        let mut raw = self.connect(None).await;
        let began = Instant::now();
        raw.send([frame(kind::HEADERS, kind::END_HEADERS, 1, &call(path)), frame(kind::DATA, 0, 1, BEGUN)].concat())
            .await;
        while !raw.received().iter().any(is_over) {
            assert!(began.elapsed() < END, "{path}: not ended");
            raw.send(frame(kind::DATA, 0, 1, &[8])).await;
            sleep(Duration::from_secs(1)).await;
        }
        began.elapsed()
    }

    /// Asks, and opens no window for the answer.
    async fn never_open(&self, path: &str) -> Duration {
        let mut raw = self.connect(Some(0)).await;
        let began = Instant::now();
        raw.send(frame(kind::HEADERS, kind::END_HEADERS, 1, &call(path))).await;
        raw.send(frame(kind::DATA, kind::END_STREAM, 1, EMPTY)).await;
        raw.wait_for(END, is_over).await;
        began.elapsed()
    }

    /// Connects and asks nothing; `greets`: but speaks HTTP/2 and answers pings.
    async fn ask_nothing(&self, greets: bool) -> Duration {
        let began = Instant::now();
        if greets {
            let mut raw = self.connect(None).await;
            assert!(raw.wait_for(END, |frame| frame.kind == kind::RST_STREAM).await.is_none());
        } else {
            let expect = Expect::Node(TARGET.to_owned());
            let mut connection = self.dialer.connect(&self.address, expect).await.unwrap();
            let _ = timeout(END, connection.read_to_end(&mut Vec::new())).await.expect("not ended");
        }
        began.elapsed()
    }

    /// Asks for a stream of metrics and then neither reads nor answers pings.
    async fn read_nothing(&self) -> Duration {
        let expect = Expect::Node(TARGET.to_owned());
        let mut connection = self.dialer.connect(&self.address, expect).await.unwrap();
        let began = Instant::now();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(kind::SETTINGS, 0, 0, &[]));
        bytes.extend(frame(kind::HEADERS, kind::END_HEADERS, 1, &call(STREAM_METRICS)));
        bytes.extend(frame(kind::DATA, kind::END_STREAM, 1, EMPTY));
        tokio::io::AsyncWriteExt::write_all(&mut connection, &bytes).await.unwrap();
        let _ = timeout(END, connection.read_to_end(&mut Vec::new())).await.expect("not ended"); // reads, and answers nothing
        began.elapsed()
    }

    /// Control: a stream without a message in it and a connection that has asked once live on, as long as pings are answered.
    async fn be_silent(&self) {
        let mut raw = self.connect(None).await;
        raw.send(frame(kind::HEADERS, kind::END_HEADERS, 1, &call(STREAM_GPIO))).await;
        raw.send(frame(kind::DATA, 0, 1, EMPTY)).await;
        sleep(END + Duration::from_secs(2)).await;
        assert!(!raw.is_closed() && !raw.received().iter().any(is_over), "it was ended");
        raw.send(frame(kind::DATA, 0, 1, EMPTY)).await;
        assert!(raw.wait_for(Duration::from_secs(5), |frame| frame.kind == kind::DATA).await.is_some(), "it is dead");
    }

    /// Control: who has taken some of a stream may pause as long as little waits, and then goes on.
    async fn pause(&self) {
        let mut raw = self.connect(Some(300)).await;
        raw.send(frame(kind::HEADERS, kind::END_HEADERS, 1, &call(STREAM_METRICS))).await;
        raw.send(frame(kind::DATA, kind::END_STREAM, 1, EMPTY)).await;
        assert!(raw.wait_for(Duration::from_secs(5), |frame| frame.kind == kind::DATA).await.is_some());
        sleep(END + Duration::from_secs(2)).await;
        assert!(!raw.is_closed() && !raw.received().iter().any(is_over), "it was ended");
        let more = 1_000_000_u32.to_be_bytes();
        raw.send(frame(kind::WINDOW_UPDATE, 0, 1, &more)).await;
        assert!(raw.wait_for(Duration::from_secs(5), |frame| frame.kind == kind::DATA).await.is_some(), "it is dead");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_go_on_is_ended_within_thirty_seconds() {
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "").await;
    let dialer = cluster.dialer(&cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now()));
    let peers = Peers { dialer, address: target.address.to_string() };
    target.client(&cluster).health_check(()).await.unwrap();
    let rss = target.rss();
    let (unary, stream, no_window, no_window_stream, silent, mute, deaf, (), ()) = tokio::join!(
        peers.dribble(CONTROL_GPIO),
        peers.dribble(STREAM_GPIO),
        peers.never_open(METRICS),
        peers.never_open(STREAM_METRICS),
        peers.ask_nothing(true),
        peers.ask_nothing(false),
        peers.read_nothing(),
        peers.be_silent(),
        peers.pause(),
    );
    figure(format!("ended: a message by a byte a second after {unary:?}, within a stream after {stream:?}"));
    figure(format!(
        "ended: no window for an answer after {no_window:?}, for a stream of them after {no_window_stream:?}"
    ));
    figure(format!("ended: no request after {silent:?}, no HTTP/2 after {mute:?}, no answer to pings after {deaf:?}"));
    figure(format!("memory +{} KiB in all", target.rss().saturating_sub(rss) / 1024));
    for took in [unary, stream, no_window, no_window_stream, silent, mute, deaf] {
        assert!(took <= END, "{took:?}");
    }
    assert_eq!((target.count(Cause::NoRequest), target.count(Cause::Stalled)), (2, 2));
}

/// What a hundred of them hold, at most 64 KiB each.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_holds_little() {
    const CONNECTIONS: u64 = 100;
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "").await;
    let dialer = cluster.dialer(&cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now()));
    let peers = Peers { dialer, address: target.address.to_string() };
    target.client(&cluster).health_check(()).await.unwrap();
    let rss = target.rss();
    let mut raws = Vec::new();
    for _ in 0..CONNECTIONS {
        raws.push(peers.connect(Some(0)).await);
    }
    let idle = target.rss().saturating_sub(rss) / CONNECTIONS;
    for raw in &raws {
        for stream in [1, 3, 5, 7] {
            raw.send(frame(kind::HEADERS, kind::END_HEADERS, stream, &call(METRICS))).await;
            raw.send(frame(kind::DATA, kind::END_STREAM, stream, EMPTY)).await;
        }
    }
    for raw in &mut raws {
        let answered = |frame: &tests::frames::Frame| frame.kind == kind::HEADERS && frame.stream == 7;
        assert!(raw.wait_for(Duration::from_secs(20), answered).await.is_some());
    }
    let each = (target.rss().saturating_sub(rss) / CONNECTIONS).saturating_sub(idle);
    figure(format!(
        "{CONNECTIONS} connections: {} KiB each, TLS included; with four answers that nobody takes {} KiB more",
        idle / 1024,
        each / 1024
    ));
    assert!(each <= 64 * 1024, "{each} bytes each");
}
