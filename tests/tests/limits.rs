//! What one caller can ask for, and what it costs the others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hal_core::LineId;
use pi_agent::{Config, Right};
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::line_name::Name;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::stream_gpio_response::Outcome;
use proto::agent::v1::{
    GpioRequest, GpioState, LineName, ListLines, ReleaseAllLines, ReleaseLine, ToggleLine, WatchGpioRequest,
};
use sim::{Clock, Level, SimBoard};
use tests::{Cluster, Lone, eventually, trusting};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const TOGGLED: u32 = 17;
const OTHER: u32 = 27;

fn limited(operations_per_second: u32) -> Config {
    let mut config = Config { operations_per_second, ..trusting(&["anna", "ben"]) };
    config.operators.iter_mut().for_each(|operator| operator.roles.push(Right::Viewer));
    config
}

fn board() -> SimBoard {
    SimBoard::builder().clock(Clock::paced()).build()
}

fn on(pin: u32, operation: Operation) -> GpioRequest {
    GpioRequest { pin: Some(pin), operation: Some(operation), ..GpioRequest::default() }
}

fn set(pin: u32, state: GpioState) -> GpioRequest {
    GpioRequest { pin: Some(pin), state: state.into(), ..GpioRequest::default() }
}

/// What came of a flood.
#[derive(Debug, Default)]
struct Flood {
    done: usize,
    refused: usize,
}

/// Toggles as fast as it can, and reads every answer.
async fn flood(mut client: NodeAgentClient<Channel>, count: usize) -> Flood {
    let requests = tokio_stream::iter(0..count).map(|_| on(TOGGLED, Operation::Toggle(ToggleLine {})));
    let mut answers = client.stream_gpio(requests).await.unwrap().into_inner();
    let mut flood = Flood::default();
    while let Some(answer) = answers.next().await {
        match answer.unwrap().outcome.unwrap() {
            Outcome::Response(_) => flood.done += 1,
            Outcome::Refusal(refusal) => {
                assert_eq!((refusal.code, refusal.reason.as_str()), (Code::ResourceExhausted.into(), "RATE_LIMITED"));
                flood.refused += 1;
            }
        }
    }
    flood
}

/// Calls until told to stop, a few times at least; answers how long each call took, sorted. Every call must be answered.
async fn calls(mut client: NodeAgentClient<Channel>, at_least: usize, stop: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    while took.len() < at_least || !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        client.health_check(()).await.unwrap();
        took.push(start.elapsed());
        let state = if took.len() % 4 == 1 { GpioState::High } else { GpioState::Low };
        let start = Instant::now();
        client.control_gpio(set(OTHER, state)).await.unwrap();
        took.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await; // far below ben's own limit
    }
    took.sort_unstable();
    took
}

/// Another client's calls beside a flood, whatever becomes of it.
async fn others_are_served(operations_per_second: u32) -> Flood {
    let cluster = Cluster::start().await;
    let board = board();
    let agent = Lone::start(&cluster, &limited(operations_per_second), &board).await;
    let ben = agent.client(&cluster, "ben");
    let quiet = calls(ben.clone(), 400, &AtomicBool::new(true)).await;
    let over = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn({
        let over = over.clone();
        async move { calls(ben, 20, &over).await }
    });
    let (start, count) = (Instant::now(), tests::size(100_000, 1_000_000));
    let flood = flood(agent.client(&cluster, "anna"), count).await;
    let seconds = start.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let loud = beside.await.unwrap();
    let shown = |name: &str, took: &[Duration]| {
        let at = |percent: usize| took[(took.len() - 1) * percent / 100];
        tests::figure(format!(
            "{name}: {} calls answered, none failed; p50 {:.1?}, p99 {:.1?}",
            took.len(),
            at(50),
            at(99)
        ));
        at(50)
    };
    tests::figure(format!("{count} toggles in {seconds:.1} s, {:.0} a second: {flood:?}", count as f64 / seconds));
    let (quiet, loud) = (shown("quiet", &quiet), shown("loud ", &loud));
    assert_eq!(flood.done + flood.refused, count, "each is answered");
    let high = board.bench().level(LineId(17)) == Level::High;
    assert_eq!(high, flood.done % 2 == 1, "what was refused was not done");
    assert!(loud < quiet * 500, "ben waits {loud:?} instead of {quiet:?}");
    agent.stop().await;
    flood
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_toggles_is_limited_and_others_are_served() {
    let flood = others_are_served(1000).await;
    assert!(flood.done >= 1000 && flood.refused > 0, "{flood:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_others_are_served_too() {
    assert_eq!(others_are_served(0).await.refused, 0);
}

/// A status as people and programs see it, without the numbers that change.
fn told(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap();
    let mut facts: Vec<_> = info.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    facts.sort();
    let text = format!("{:?} {}: {} {facts:?}", status.code(), info.reason, status.message());
    let mut parts = text.split("retry_after_ms=");
    let (before, after) = (parts.next().unwrap(), parts.next().unwrap_or_default());
    let ms: String = after.chars().take_while(char::is_ascii_digit).collect();
    assert!(ms.is_empty() || (1..=1000).contains(&ms.parse::<u32>().unwrap()), "{text}");
    let after = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let before = before.replace(&format!("in {ms} ms"), "in N ms");
    if after.is_empty() { before } else { format!("{before}retry_after_ms=N{after}") }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_and_can_still_let_go() {
    let cluster = Cluster::start().await;
    let agent = Lone::start(&cluster, &limited(1), &board()).await; // 64 at once, then one a second
    let (mut anna, mut ben) = (agent.client(&cluster, "anna"), agent.client(&cluster, "ben"));
    let mut done = 0;
    let refused = loop {
        match anna.control_gpio(set(TOGGLED, GpioState::High)).await {
            Ok(_) => done += 1,
            Err(status) => break status,
        }
    };
    assert!((64..80).contains(&done), "{done}");
    insta::assert_snapshot!(told(&refused), @r#"ResourceExhausted RATE_LIMITED: more than 1 line operations a second; try again in N ms ["limit_per_second=1", "retry_after_ms=N", "retryable=true"]"#);
    let list = GpioRequest { operation: Some(Operation::List(ListLines {})), ..GpioRequest::default() };
    assert_eq!(anna.control_gpio(list.clone()).await.unwrap_err().code(), Code::ResourceExhausted, "28 lines are 28");
    let watch =
        WatchGpioRequest { lines: vec![LineName { name: Some(Name::Pin(24)) }; 64], ..WatchGpioRequest::default() };
    assert_eq!(anna.watch_gpio(watch).await.unwrap_err().code(), Code::ResourceExhausted);
    ben.control_gpio(list).await.unwrap(); // another caller has their own
    anna.control_gpio(on(TOGGLED, Operation::Release(ReleaseLine {}))).await.unwrap();
    for _ in 0..100 {
        let stop = Some(Operation::ReleaseAll(ReleaseAllLines {}));
        anna.control_gpio(GpioRequest { operation: stop, ..GpioRequest::default() }).await.unwrap();
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_so_many_watches_and_frees_the_place_of_one_that_ends() {
    let cluster = Cluster::start().await;
    let agent = Lone::start(&cluster, &limited(0), &board()).await;
    // a connection has 64 streams at most, whatever they are for
    let (mut anna, mut ben) = (agent.client(&cluster, "anna"), agent.client(&cluster, "ben"));
    let watch = WatchGpioRequest { lines: vec![LineName { name: Some(Name::Pin(24)) }], ..WatchGpioRequest::default() };
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(anna.watch_gpio(watch.clone()).await.unwrap());
        open.push(ben.watch_gpio(watch.clone()).await.unwrap());
    }
    let refused = ben.watch_gpio(watch.clone()).await.unwrap_err();
    insta::assert_snapshot!(told(&refused), @r#"ResourceExhausted TOO_MANY_STREAMS: 64 WatchGPIO streams are open on this node, as many as it serves; end one or try again later ["limit=64", "retryable=true"]"#);
    ben.control_gpio(set(OTHER, GpioState::High)).await.unwrap();
    drop(open.pop());
    eventually(async || ben.clone().watch_gpio(watch.clone()).await.is_ok()).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_so_many_streams_of_requests_and_frees_the_place_of_one_that_ends() {
    let cluster = Cluster::start().await;
    let agent = Lone::start(&cluster, &limited(0), &board()).await;
    let (mut anna, mut ben) = (agent.client(&cluster, "anna"), agent.client(&cluster, "ben"));
    let mut open = Vec::new();
    for _ in 0..32 {
        for client in [&mut anna, &mut ben] {
            let (requests, received) = mpsc::channel(1);
            open.push((client.stream_gpio(ReceiverStream::new(received)).await.unwrap(), requests));
        }
    }
    let refused = ben.stream_gpio(tokio_stream::pending()).await.unwrap_err();
    insta::assert_snapshot!(told(&refused), @r#"ResourceExhausted TOO_MANY_STREAMS: 64 StreamGPIO streams are open on this node, as many as it serves; end one or try again later ["limit=64", "retryable=true"]"#);
    drop(open.pop()); // its requests end
    eventually(async || ben.clone().stream_gpio(tokio_stream::empty()).await.is_ok()).await;
    agent.stop().await;
}
