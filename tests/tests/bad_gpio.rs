//! B15: lines that are not there, not allowed or not to be had so, whole: client → TLS → agent → simulated board.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use hal_core::LineId;
use pi_agent::Config;
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::line_name::Name;
use proto::agent::v1::{
    ClaimLine, GpioRequest, GpioState, LineName, LineWrite, PulseLine, ReadLine, ReleaseLine, ToggleLine,
    WatchGpioRequest, WriteLines,
};
use sim::{Clock, SimBoard};
use tests::{Cluster, Lone, trusting};
use tonic::Status;
use tonic_types::StatusExt;

/// A line of a Pi that is none of the header's.
const RESERVED: u32 = 42;

/// A node on which GPIO17 matters.
fn config() -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[gpio]\nsafe = { 17 = 'low' }\n").unwrap();
    Config { policy: Config::load(file.path()).unwrap().policy, ..trusting(&["anna"]) }
}

fn name(name: Name) -> LineName {
    LineName { name: Some(name) }
}

fn set(name: Name) -> GpioRequest {
    let state = GpioState::High.into();
    match name {
        Name::Pin(pin) => GpioRequest { pin: Some(pin), state, ..GpioRequest::default() },
        Name::Text(line) => GpioRequest { line, state, ..GpioRequest::default() },
    }
}

fn on(pin: u32, operation: Operation) -> GpioRequest {
    GpioRequest { pin: Some(pin), operation: Some(operation), ..GpioRequest::default() }
}

fn write(lines: impl IntoIterator<Item = u32>) -> GpioRequest {
    let line = |pin| LineWrite { line: Some(name(Name::Pin(pin))), state: GpioState::High.into(), token: None };
    let write = WriteLines { lines: lines.into_iter().map(line).collect() };
    GpioRequest { operation: Some(Operation::Write(write)), ..GpioRequest::default() }
}

fn told(status: &Status) -> String {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    format!("{:?} {reason}: {}", status.code(), status.message())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_told_and_a_reserved_line_is_never_requested() {
    let cluster = Cluster::start().await;
    let board = SimBoard::builder().clock(Clock::paced()).label("pinctrl-bcm2835").lines(54).build();
    let bench = board.bench();
    let agent = Lone::start(&cluster, &config(), &board).await;
    let mut anna = agent.client(&cluster, "anna");
    let text = |text: &str| set(Name::Text(text.to_owned()));
    let pulse = PulseLine { active: Some(prost_types::Duration { seconds: 1, nanos: 0 }), ..PulseLine::default() };
    let requests = [
        ("no line", set(Name::Text(String::new()))),
        ("pin 2^32-1", set(Name::Pin(u32::MAX))),
        ("pin 54, one past the chip", set(Name::Pin(54))),
        ("line -1", text("-1")),
        ("line GPIO-1", text("GPIO-1")),
        ("line of a chip that is not there", text("chip99:0")),
        ("line past the end of the chip", text("pinctrl-bcm2835:54")),
        ("line 4096 characters long", text(&"x".repeat(4096))),
        ("reserved: write", set(Name::Pin(RESERVED))),
        ("reserved: by name", text("GPIO42")),
        ("reserved: by chip and offset", text("pinctrl-bcm2835:42")),
        ("reserved: read", on(RESERVED, Operation::Read(ReadLine {}))),
        ("reserved: toggle", on(RESERVED, Operation::Toggle(ToggleLine {}))),
        ("reserved: claim", on(RESERVED, Operation::Claim(ClaimLine::default()))),
        ("reserved: pulse", on(RESERVED, Operation::Pulse(pulse))),
        ("reserved: release", on(RESERVED, Operation::Release(ReleaseLine {}))),
        ("reserved: beside an allowed line", write([18, RESERVED])),
        ("65 lines", write(0..65)),
        ("no lines", write([])),
        ("one line twice", write([18, 18])),
        ("state 7", GpioRequest { state: 7, ..set(Name::Pin(18)) }),
        ("for good without the permission", on(17, Operation::Claim(ClaimLine::default()))),
    ];
    let mut answers = String::new();
    for (what, request) in requests {
        let refused = anna.control_gpio(request).await.unwrap_err();
        writeln!(answers, "{what}\n    {}", told(&refused)).unwrap();
    }
    for pin in [RESERVED, u32::MAX] {
        let watch = WatchGpioRequest { lines: vec![name(Name::Pin(pin))], ..WatchGpioRequest::default() };
        writeln!(answers, "watch {pin}\n    {}", told(&anna.watch_gpio(watch).await.unwrap_err())).unwrap();
    }
    insta::assert_snapshot!(answers.replace(&"x".repeat(4096), "xxx…"));
    let requested: Vec<u16> = (0..54).filter(|line| bench.requests(LineId(*line)) > 0).collect();
    assert_eq!(requested, [17], "nothing that was refused came as far as the board");
    assert_eq!(bench.requests(LineId(17)), 1, "made safe when the agent started, and not since");
    anna.control_gpio(set(Name::Pin(18))).await.unwrap();
    assert_eq!(bench.requests(LineId(18)), 1, "the control: the board counts");
    agent.stop().await;
}
