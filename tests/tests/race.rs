//! F11: two racers for one line, many times: their leases exclude each other, and every write that was done was the
//! holder's. What they did and were told is recorded and judged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{GpioRequest, GpioResponse, OnConflict, ReleaseLine};
use tests::history::{Event, Violation, What, judge};
use tests::{Cluster, claim, direct, figure, reason, seed, size, trusting, write};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const RACERS: [&str; 2] = ["anna", "bob"];
const NODES: usize = 2;
/// The shortest there is.
const TTL_MS: u32 = 100;
const TTL: Duration = Duration::from_millis(100);
/// One of two who want the same line.
struct Racer {
    number: usize,
    client: NodeAgentClient<Channel>,
    pin: u32,
    random: Rng,
    /// The token of the last lease.
    last: Option<u64>,
    told: Vec<Event>,
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_racers_for_a_line_one_holds_it() {
    let rounds: usize = size(1000, 10_000);
    let mut random = Rng::with_seed(seed());
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(NODES, &trusting(&RACERS)).await;
    let lines: Vec<(usize, u32)> =
        (0..NODES).flat_map(|node| (0..28).filter(|pin| *pin != 23).map(move |pin| (node, pin))).collect();
    // one connection a racer and node: two programs that each use many lines
    let clients: Vec<_> = (0..NODES).map(|node| RACERS.map(|who| direct(&cluster, &fleet, node, who))).collect();
    let mut races = JoinSet::new();
    for (at, (node, pin)) in lines.iter().copied().enumerate() {
        let rounds = rounds / lines.len() + usize::from(at < rounds % lines.len());
        let racers = [0, 1].map(|number| Racer {
            number,
            client: clients[node][number].clone(),
            pin,
            random: random.fork(),
            last: None,
            told: Vec::new(),
        });
        races.spawn(race(racers, rounds));
    }
    let histories = races.join_all().await;
    report(rounds, &histories);
}

/// What both did on their line, in order of their beginnings.
async fn race(racers: [Racer; 2], rounds: usize) -> Vec<Event> {
    let line = Arc::new(Barrier::new(racers.len()));
    let mut running = JoinSet::new();
    for mut racer in racers {
        let line = line.clone();
        running.spawn(async move {
            for _ in 0..rounds {
                line.wait().await;
                racer.round().await;
            }
            racer.told
        });
    }
    let mut told = running.join_all().await.concat();
    told.sort_by_key(|event| event.began);
    told
}

impl Racer {
    async fn round(&mut self) {
        self.pause(3000).await;
        let Some(token) = self.claim().await else {
            // whoever once held the line tries what it has left
            if let Some(old) = self.last {
                self.write(old).await;
            }
            self.pause(3000).await;
            _ = self.claim().await;
            return;
        };
        for _ in 0..self.random.usize(1..4) {
            self.write(token).await;
            self.pause(2000).await;
        }
        match self.random.u8(0..10) {
            0..7 => self.release(token).await,
            // as long as the lease, or a little less or more
            7..9 => sleep(TTL - Duration::from_millis(5) + Duration::from_micros(self.random.u64(0..10_000))).await,
            _ => sleep(TTL + Duration::from_millis(self.random.u64(1..20))).await,
        }
        self.write(token).await;
    }

    /// At most so many microseconds.
    async fn pause(&mut self, most: u64) {
        sleep(Duration::from_micros(self.random.u64(0..most))).await;
    }

    async fn claim(&mut self) -> Option<u64> {
        let (span, answer) = self.call(claim(self.pin, TTL_MS, OnConflict::Unspecified)).await;
        let what = match answer {
            Ok(response) => What::Granted { token: response.lease.unwrap().token, ttl: TTL },
            Err(status) => What::Held { by: holder(&status) },
        };
        let token = match what {
            What::Granted { token, .. } => Some(token),
            _ => None,
        };
        self.last = token.or(self.last);
        self.record(span, what);
        token
    }

    async fn write(&mut self, token: u64) {
        let high = self.random.bool();
        let (span, answer) = self.call(write(self.pin, high, token)).await;
        self.record(span, outcome(answer, token, What::Written));
    }

    async fn release(&mut self, token: u64) {
        let request = GpioRequest {
            pin: Some(self.pin),
            operation: Some(Operation::Release(ReleaseLine {})),
            token: Some(token),
            ..GpioRequest::default()
        };
        let (span, answer) = self.call(request).await;
        self.record(span, outcome(answer, token, What::Released));
    }

    async fn call(&mut self, request: GpioRequest) -> ((Instant, Instant), Result<GpioResponse, Status>) {
        let began = Instant::now();
        let answer = self.client.control_gpio(request).await;
        ((began, Instant::now()), answer.map(tonic::Response::into_inner))
    }

    fn record(&mut self, (began, ended): (Instant, Instant), what: What) {
        self.told.push(Event { racer: self.number, began, ended, what });
    }
}

fn outcome(answer: Result<GpioResponse, Status>, token: u64, done: fn(u64) -> What) -> What {
    let Err(status) = answer else { return done(token) };
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(["LEASE_EXPIRED", "STALE_TOKEN"].contains(&reason(&status).as_str()), "{status}");
    What::Late(token)
}

/// Whom a refused claim names.
fn holder(status: &Status) -> usize {
    assert_eq!((status.code(), reason(status).as_str()), (Code::Aborted, "LINE_HELD"), "{status}");
    let info = status.get_details_error_info().unwrap();
    RACERS.iter().position(|who| info.metadata["holder"] == format!("operator/{who}")).unwrap()
}

fn report(rounds: usize, histories: &[Vec<Event>]) {
    let count = |which: fn(&What) -> bool| histories.concat().iter().filter(|event| which(&event.what)).count();
    let granted = count(|what| matches!(what, What::Granted { .. }));
    let (held, late) = (count(|what| matches!(what, What::Held { .. })), count(|what| matches!(what, What::Late(_))));
    let written = count(|what| matches!(what, What::Written(_)));
    figure(format!(
        "{rounds} rounds on {} lines: {granted} leases, {held} claims refused in the holder's name, {written} writes done, \
         {late} writes refused as late",
        histories.len()
    ));
    let violations: Vec<Violation> = histories.iter().flat_map(|history| judge(history)).collect();
    figure(format!("violations: {}", violations.len()));
    let (planted, found) = plant(histories);
    figure(format!("control: of {planted} violations planted into this history {found} were found"));
    assert_eq!(violations, []);
    assert!(held > rounds / 10 && late > rounds / 10, "nobody raced");
    assert!(planted > 0 && planted == found);
}

/// Turns refused writes into done ones, one a copy of the history and some a line, where the line had another lease by
/// then. Answers how many, and how many of them the judge finds.
fn plant(histories: &[Vec<Event>]) -> (usize, usize) {
    const A_LINE: usize = 5;
    let (mut planted, mut found) = (0, 0);
    for history in histories {
        let overtaken = |(at, late): (usize, &Event)| {
            let What::Late(token) = late.what else { return None };
            let newer = |event: &Event| matches!(event.what, What::Granted { token: newer, .. } if newer > token);
            history.iter().any(|event| newer(event) && event.ended < late.began).then_some((at, token))
        };
        for (at, token) in history.iter().enumerate().filter_map(overtaken).take(A_LINE) {
            let mut forged = history.clone();
            forged[at].what = What::Written(token);
            planted += 1;
            found += usize::from(judge(&forged).contains(&Violation::StaleWrite(token)));
        }
    }
    (planted, found)
}
