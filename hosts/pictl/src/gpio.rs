//! `pictl gpio`.

use clap::{Subcommand, ValueEnum};
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::{
    GpioRequest, GpioResponse, GpioState, LineDirection, LineStatus, ListLines, ReadLine, ReleaseAllLines, ReleaseLine,
    ToggleLine,
};

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::{Output, duration, json, or_dash, table};

const LINE_HELP: &str = "BCM number, GPIO17, header pin J8:11, or an alias of the node";

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

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    /// Active
    #[value(alias = "1", alias = "on")]
    High,
    /// Inactive
    #[value(alias = "0", alias = "off")]
    Low,
}

pub(crate) async fn run(caller: &Caller, command: Command, output: Output) -> Result<String, Failure> {
    let (node, request) = match command {
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

fn write(line: String, level: Level) -> GpioRequest {
    let state = match level {
        Level::High => GpioState::High,
        Level::Low => GpioState::Low,
    };
    GpioRequest { line, state: state.into(), ..GpioRequest::default() }
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
    match answer.state() {
        GpioState::High => format!("{node} GPIO{pin} is high{raw}"),
        GpioState::Low => format!("{node} GPIO{pin} is low{raw}"),
        GpioState::Unspecified => format!("{node} GPIO{pin} is free"),
    }
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
            direction.to_owned(),
            or_dash(line.consumer.clone()),
            or_dash(line.holder.clone()),
            duration(line.held_for.as_ref()),
        ]
    };
    table(&["LINE", "PIN", "ALIAS", "DIRECTION", "CONSUMER", "HOLDER", "FOR"], lines.iter().map(row))
}
