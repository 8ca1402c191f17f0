//! What is measured in which order.

use std::time::{Duration, Instant};

use crate::Plan;
use crate::lab::Lab;
use crate::load;
use crate::report::{Goal, Row};
use crate::series::Series;
use crate::server::{AGENT, FLOOR, Server};

/// Agent, floor, and the floor again as a control.
const PROGRAMS: [&str; 3] = [AGENT, FLOOR, FLOOR];
const MEGA: f64 = 1e6;

type Trio = [Series; PROGRAMS.len()];

/// All measurements of a run.
#[derive(Default)]
pub(crate) struct Sheet {
    latency: Trio,
    cpu_alone: Trio,
    cpu: Trio,
    rate: Trio,
    stream_cpu: Trio,
    stream_rate: Trio,
    resting: Trio,
    loaded: Trio,
    start: Trio,
}

impl Sheet {
    /// Takes them.
    pub(crate) async fn fill(plan: &Plan, lab: &Lab) -> Self {
        let mut sheet = Self::default();
        for _ in 0..plan.blocks {
            sheet.block(plan, lab).await;
        }
        for number in 0..plan.starts {
            for who in in_turn(number) {
                let begun = Instant::now();
                let _server = Server::start(PROGRAMS[who], lab).await;
                sheet.start[who].round(vec![begun.elapsed().as_secs_f64() * 1e3]);
            }
        }
        sheet
    }

    /// Starts every server anew and measures some rounds.
    async fn block(&mut self, plan: &Plan, lab: &Lab) {
        let mut servers = Vec::new();
        for program in PROGRAMS {
            servers.push(Server::start(program, lab).await);
        }
        tokio::time::sleep(Duration::from_secs_f32(plan.settle)).await;
        for (server, resting) in servers.iter().zip(&mut self.resting) {
            resting.round(vec![server.resident() as f64 / MEGA]);
        }
        for server in &servers {
            load::all_at_once(&server.client, plan.many).await; // the first calls are dearer
            load::streamed(&server.client, plan.streamed).await;
        }
        for number in 0..plan.rounds {
            for who in in_turn(number) {
                self.single(who, &servers[who], plan.single).await;
            }
            for who in in_turn(number) {
                self.many(who, &servers[who], plan.many).await;
            }
            for who in in_turn(number) {
                self.streamed(who, &servers[who], plan.streamed).await;
            }
        }
        for (server, loaded) in servers.iter().zip(&mut self.loaded) {
            loaded.round(vec![server.resident() as f64 / MEGA]);
        }
    }

    async fn single(&mut self, who: usize, server: &Server, calls: usize) {
        let before = server.cpu();
        self.latency[who].round(load::one_at_a_time(&server.client, calls).await);
        self.cpu_alone[who].round(vec![per_call(server.cpu() - before, calls)]);
    }

    async fn many(&mut self, who: usize, server: &Server, calls: usize) {
        let before = server.cpu();
        let took = load::all_at_once(&server.client, calls).await;
        self.cpu[who].round(vec![per_call(server.cpu() - before, calls)]);
        self.rate[who].round(vec![calls as f64 / took.as_secs_f64() / 1e3]);
    }

    async fn streamed(&mut self, who: usize, server: &Server, messages: usize) {
        let before = server.cpu();
        let took = load::streamed(&server.client, messages).await;
        self.stream_cpu[who].round(vec![per_call(server.cpu() - before, messages)]);
        self.stream_rate[who].round(vec![messages as f64 / took.as_secs_f64() / 1e3]);
    }

    /// The measurements as rows of the table.
    pub(crate) fn rows(self) -> Vec<Row> {
        vec![
            row("P1: 64 in flight, server CPU a call", "µs", self.cpu, Goal::Ratio(1.15)),
            row("64 in flight, calls a second", "k/s", self.rate, Goal::None),
            row("P2: single flight, latency", "µs", self.latency, Goal::Ratio(1.05)),
            row("single flight, server CPU a call", "µs", self.cpu_alone, Goal::None),
            row("P3: one stream, 64 deep, server CPU a message", "µs", self.stream_cpu, Goal::Ratio(1.3)),
            row("P3: one stream, 64 deep, messages a second", "k/s", self.stream_rate, Goal::Share(0.7)),
            row("P12: memory, connected", "MB", self.resting, Goal::Ratio(1.6)),
            row("memory after the load", "MB", self.loaded, Goal::None),
            row("P13: start to first answer", "ms", self.start, Goal::Value(3.2)),
        ]
    }
}

/// In microseconds.
fn per_call(used: Duration, calls: usize) -> f64 {
    used.as_secs_f64() * 1e6 / calls as f64
}

/// Every server once, another one first each time.
fn in_turn(round: usize) -> impl Iterator<Item = usize> {
    (0..PROGRAMS.len()).map(move |turn| (round + turn) % PROGRAMS.len())
}

fn row(what: &'static str, unit: &'static str, [agent, floor, control]: Trio, goal: Goal) -> Row {
    Row { what, unit, agent, floor, control: Some(control), goal }
}
