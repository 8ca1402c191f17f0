//! `pictl gpio`.

use std::io::Write;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::{
    ClaimLine, GpioRequest, GpioResponse, GpioState, KeepaliveLine, Lease, LineConfig, LineDirection, LineStatus,
    ListLines, OnConflict, PulseLine, ReadLine, ReleaseAllLines, ReleaseLine, SafeState, ToggleLine,
};

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::{Output, duration, json, or_dash, table};
use crate::{pwm, watch};

pub(crate) const LINE_HELP: &str = "BCM number, GPIO17, header pin J8:11, or an alias of the node";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Read a line; an output stays one
    Get {
        /// Name of the node
        node: String,
        #[arg(help = LINE_HELP)]
        line: String,
    },
    /// Drive a line; you become its holder
    Set {
        /// Name of the node
        node: String,
        #[arg(help = LINE_HELP)]
        line: String,
        /// The level to drive
        #[arg(value_enum)]
        level: Level,
    },
    /// Invert an output
    Toggle {
        /// Name of the node
        node: String,
        #[arg(help = LINE_HELP)]
        line: String,
    },
    /// All lines that may be used, and who holds them
    List {
        /// Name of the node
        node: String,
    },
    /// Become a line's holder on terms: for how long without a word from you, and where it goes then
    Claim(Claim),
    /// Renew your lease on a line
    Keepalive {
        /// Name of the node
        node: String,
        #[arg(help = LINE_HELP)]
        line: String,
        /// The lease's token: refused if the line has had another holder since
        #[arg(long)]
        token: Option<u64>,
    },
    /// Drive an output active for a while; runs on the node and ends there, even if you are gone
    Pulse {
        /// Name of the node
        node: String,
        #[arg(help = LINE_HELP)]
        line: String,
        /// How long it is active, in milliseconds
        #[arg(value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
        active: u64,
        /// How often
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        count: u32,
        /// How long it is inactive in between, in milliseconds; default: as long as active
        #[arg(long, value_name = "MS")]
        gap: Option<u64>,
    },
    /// Put a signal on an output, by the PWM hardware where the line has it; runs until something ends it
    Pwm(pwm::Signal),
    /// Follow lines: how each is, then every change, until interrupted
    Watch {
        /// Name of the node
        node: String,
        #[arg(help = LINE_HELP, required = true)]
        lines: Vec<String>,
        /// Stop after this many records
        #[arg(long)]
        count: Option<u64>,
    },
    /// Emergency stop: every held line of the node goes to its safe state and is free, whoever holds it
    Estop {
        /// Name of the node
        node: String,
    },
    /// Bring a line to its safe state and give it up
    Release {
        /// Name of the node
        node: String,
        #[arg(help = LINE_HELP, required_unless_present = "all")]
        line: Option<String>,
        /// Every held line, whoever holds it: emergency stop
        #[arg(long, conflicts_with = "line")]
        all: bool,
    },
}

#[derive(clap::Args)]
pub(crate) struct Claim {
    /// Name of the node
    node: String,
    #[arg(help = LINE_HELP)]
    line: String,
    /// How the line is set up
    #[arg(long, value_enum, default_value = "output")]
    direction: Direction,
    /// An output's first level
    #[arg(long, value_enum)]
    initial: Option<Level>,
    /// Let go of the line after so many milliseconds without a call of yours; 0 is for good
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=86_400_000))]
    lease: u32,
    /// Where the line goes then
    #[arg(long, value_enum)]
    safe: Option<Safe>,
    /// If another holds it: wait until it is free
    #[arg(long, conflicts_with = "steal")]
    wait: bool,
    /// If another holds it: make it safe and take it (admins)
    #[arg(long)]
    steal: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Direction {
    /// Read it
    Input,
    /// Drive it
    Output,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Safe {
    /// Goes on driving
    Hold,
    /// An input, as after reset
    Input,
    /// Driven low
    Low,
    /// Driven high
    High,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    /// Active
    #[value(alias = "1", alias = "on")]
    High,
    /// Inactive
    #[value(alias = "0", alias = "off")]
    Low,
}

pub(crate) async fn run(
    caller: &Caller,
    command: Command,
    output: Output,
    out: &mut dyn Write,
) -> Result<String, Failure> {
    let (node, request) = match command {
        Command::Watch { node, lines, count } => {
            watch::run(caller, &node, lines, count, output, out).await?;
            return Ok(String::new());
        }
        Command::Pwm(signal) => (signal.node.clone(), signal.request()),
        Command::Claim(claim) => (claim.node.clone(), claim.request()),
        Command::Keepalive { node, line, token } => {
            (node, GpioRequest { token, ..one(line, Operation::Keepalive(KeepaliveLine {})) })
        }
        Command::Pulse { node, line, active, count, gap } => (node, one(line, pulse(active, count, gap))),
        Command::Estop { node } => (node, one(String::new(), Operation::ReleaseAll(ReleaseAllLines {}))),
        Command::Get { node, line } => (node, one(line, Operation::Read(ReadLine {}))),
        Command::Set { node, line, level } => (node, write(line, level)),
        Command::Toggle { node, line } => (node, one(line, Operation::Toggle(ToggleLine {}))),
        Command::Release { node, line: Some(line), .. } => (node, one(line, Operation::Release(ReleaseLine {}))),
        Command::Release { node, line: None, .. } => {
            (node, one(String::new(), Operation::ReleaseAll(ReleaseAllLines {})))
        }
        Command::List { node } => (node, one(String::new(), Operation::List(ListLines {}))),
    };
    let listed = matches!(request.operation, Some(Operation::List(_)));
    let request = caller.request_to(&node, request)?;
    let answer = caller.node(&node)?.control_gpio(request).await?.into_inner();
    match output {
        Output::Json => json(&answer),
        Output::Table if listed => Ok(list_table(&answer.lines)),
        Output::Table => Ok(sentence(&node, &answer)),
    }
}

fn one(line: String, operation: Operation) -> GpioRequest {
    GpioRequest { line, operation: Some(operation), ..GpioRequest::default() }
}

fn pulse(active: u64, count: u32, gap: Option<u64>) -> Operation {
    let ms = |ms| prost_types::Duration::try_from(Duration::from_millis(ms)).ok();
    Operation::Pulse(PulseLine { active: ms(active), count, gap: ms(gap.unwrap_or(active)) })
}

impl Claim {
    fn request(self) -> GpioRequest {
        let Self { node: _, line, direction, initial, lease, safe, wait, steal } = self;
        let direction = match direction {
            Direction::Input => LineDirection::Input,
            Direction::Output => LineDirection::Output,
        };
        let safe = match safe {
            None => SafeState::Unspecified,
            Some(Safe::Hold) => SafeState::Hold,
            Some(Safe::Input) => SafeState::Input,
            Some(Safe::Low) => SafeState::Low,
            Some(Safe::High) => SafeState::High,
        };
        let on_conflict = match (wait, steal) {
            (true, _) => OnConflict::Wait,
            (_, true) => OnConflict::Steal,
            _ => OnConflict::Unspecified,
        };
        let config = LineConfig {
            direction: direction.into(),
            initial: initial.map(state).unwrap_or_default().into(),
            ..LineConfig::default()
        };
        let claim = ClaimLine {
            config: Some(config),
            lease_ms: lease,
            safe_state: safe.into(),
            on_conflict: on_conflict.into(),
        };
        one(line, Operation::Claim(claim))
    }
}

fn write(line: String, level: Level) -> GpioRequest {
    GpioRequest { line, state: state(level).into(), ..GpioRequest::default() }
}

fn state(level: Level) -> GpioState {
    match level {
        Level::High => GpioState::High,
        Level::Low => GpioState::Low,
    }
}

/// Such as `sim-1 GPIO18 is high`.
fn sentence(node: &str, answer: &GpioResponse) -> String {
    let Some(pin) = answer.pin else {
        let lines: Vec<String> = answer.lines.iter().map(|line| format!("GPIO{}", line.pin)).collect();
        return format!(
            "{node} released {}",
            if lines.is_empty() { "nothing: no line was held".to_owned() } else { lines.join(", ") }
        );
    };
    let raw = match (answer.raw_state(), answer.state()) {
        (GpioState::High, GpioState::Low) => " (the wire is high: active low)",
        (GpioState::Low, GpioState::High) => " (the wire is low: active low)",
        _ => "",
    };
    let lease = lease(answer.lease.as_ref());
    if let Some(signal) = &answer.pwm {
        return format!("{node} GPIO{pin} carries {}{lease}", pwm::words(signal));
    }
    match answer.state() {
        GpioState::High => format!("{node} GPIO{pin} is high{raw}{lease}"),
        GpioState::Low => format!("{node} GPIO{pin} is low{raw}{lease}"),
        GpioState::Unspecified if answer.lease.is_some() => format!("{node} GPIO{pin} is yours{lease}"),
        GpioState::Unspecified => format!("{node} GPIO{pin} is free"),
    }
}

/// Such as `, lease 60s (token 4294967297)`; nothing for a hold without an end.
fn lease(lease: Option<&Lease>) -> String {
    let left = lease.and_then(|lease| Some((lease.left.as_ref()?, lease.token)));
    let Some((left, token)) = left else { return String::new() };
    let seconds = left.seconds as f64 + f64::from(left.nanos) / 1e9;
    format!(", lease {seconds:.1} s (token {token})")
}

fn list_table(lines: &[LineStatus]) -> String {
    let row = |line: &LineStatus| {
        let direction = match line.direction() {
            LineDirection::Input => "input",
            LineDirection::Output => "output",
            LineDirection::Unspecified => "-",
        };
        vec![
            format!("GPIO{}", line.pin),
            line.header_pin.map(|pin| format!("J8:{pin}")).unwrap_or_else(|| "-".to_owned()),
            or_dash(line.aliases.join(", ")),
            line.pwm.as_ref().map(pwm::words).unwrap_or_else(|| direction.to_owned()),
            or_dash(line.consumer.clone()),
            or_dash(line.holder.clone()),
            duration(line.held_for.as_ref()),
            duration(line.lease.as_ref().and_then(|lease| lease.left.as_ref())),
        ]
    };
    table(&["LINE", "PIN", "ALIAS", "DIRECTION", "CONSUMER", "HOLDER", "FOR", "LEASE"], lines.iter().map(row))
}
