//! P15: a line is written, high and low in turn.

use std::path::Path;
use std::time::Instant;

use agent_lib::{Agent, Holder, Policy};
use gpio_cdev::{Chip, LineHandle, LineRequestFlags};
use gpiocdev::Request;
use gpiocdev::line::Value;
use hal_core::linux::{Interface, LinuxBoard};
use hal_core::{Board, LineId};

use crate::{LINES, Trio, WRITES, in_turn};

/// A line in the hands of the bare crate.
enum Bare {
    V1(LineHandle),
    V2(Request),
}

impl Bare {
    fn request(interface: Interface, chip: &Path, LineId(line): LineId) -> Self {
        match interface {
            Interface::V1 => {
                let mut chip = Chip::new(chip).expect("the chip");
                let line = chip.get_line(line.into()).expect("a line");
                Self::V1(line.request(LineRequestFlags::OUTPUT, 0, "floor").expect("a request"))
            }
            Interface::V2 => {
                let mut builder = Request::builder();
                builder.on_chip(chip).with_line(line.into()).as_output(Value::Inactive);
                Self::V2(builder.request().expect("a request"))
            }
        }
    }

    fn set(&self, level: bool) {
        match self {
            Self::V1(handle) => handle.set_value(level.into()).expect("a write"),
            Self::V2(request) => request.set_lone_value(level.into()).expect("a write"),
        }
    }
}

/// In microseconds, with one look at the clock in each.
pub(crate) fn measure(interface: Interface, chip: &Path, rounds: usize) -> Trio {
    let board = LinuxBoard::open_through(interface, chip).expect("the chip");
    let mut agent = Agent::new(board, Policy::default());
    let holder = Holder::new("operator/bench").expect("a name");
    let bare = [Bare::request(interface, chip, LINES[1]), Bare::request(interface, chip, LINES[2])];
    let mut trio = Trio::default();
    for round in 0..rounds {
        for who in in_turn(round) {
            let samples = match who {
                // as a host does it: the time, then the write
                0 => timed(|level| {
                    let now = agent.board().now();
                    agent.write(now, holder.caller(), LINES[0], level, None).expect("a write");
                }),
                other => timed(|level| bare[other - 1].set(level)),
            };
            trio[who].round(samples);
        }
    }
    trio
}

fn timed(mut write: impl FnMut(bool)) -> Vec<f64> {
    let mut samples = Vec::with_capacity(WRITES);
    for number in 0..WRITES {
        let start = Instant::now();
        write(number % 2 == 0);
        samples.push(start.elapsed().as_secs_f64() * 1e6);
    }
    samples
}
