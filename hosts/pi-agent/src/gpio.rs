//! `ControlGPIO`: which operation a message asks for, and its answer.

use agent_lib::{Agent, Holder};
use hal_core::{Board, Instant, LineId};
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::{
    ClaimLine, ConfigureLine, GpioRequest, GpioResponse, LineWrite, ListLines, ReadLine, ReleaseAllLines, ReleaseLine,
    ToggleLine, WriteLines,
};
use tonic::Status;

use crate::wire;

/// As many as the kernel takes in one request (`GPIO_V2_LINES_MAX`).
const MAXIMUM_LINES: usize = 64;

/// Does what `request` asks for, as `holder`.
pub(crate) fn operate<B: Board>(
    agent: &mut Agent<B>,
    now: Instant,
    holder: &Holder,
    request: GpioRequest,
) -> Result<GpioResponse, Status> {
    let GpioRequest { pin, state, line, operation } = request;
    let level = wire::level(state, "state")?;
    let one = |agent: &Agent<B>| agent.resolve(wire::line(pin, &line)?).map_err(wire::refusal);
    match (operation, level) {
        (Some(_), Some(_)) => Err(wire::invalid("state", "is for the short form: leave it out beside an operation")),
        (Some(Operation::List(ListLines {})), None) => Ok(list(agent, now)),
        (Some(Operation::ReleaseAll(ReleaseAllLines {})), None) => release_all(agent, now),
        (Some(Operation::Write(WriteLines { lines })), None) => write(agent, now, holder, lines),
        (Some(operation), None) => {
            let line = one(agent)?;
            one_line(agent, now, holder, line, operation)
        }
        (None, Some(level)) => {
            let line = one(agent)?;
            agent.write(now, holder, line, level).map_err(wire::refusal)?;
            Ok(wire::touched(line, Some(level)))
        }
        (None, None) => {
            let line = one(agent)?;
            agent.read(now, line).map(wire::reading).map_err(wire::refusal)
        }
    }
}

fn one_line<B: Board>(
    agent: &mut Agent<B>,
    now: Instant,
    holder: &Holder,
    line: LineId,
    operation: Operation,
) -> Result<GpioResponse, Status> {
    let level = match operation {
        Operation::Read(ReadLine {}) => return agent.read(now, line).map(wire::reading).map_err(wire::refusal),
        Operation::Toggle(ToggleLine {}) => Some(agent.toggle(now, holder, line).map_err(wire::refusal)?),
        Operation::Claim(ClaimLine { config }) => {
            agent.claim(now, holder, line, wire::config(config.unwrap_or_default())?).map_err(wire::refusal)?;
            None
        }
        Operation::Configure(ConfigureLine { config }) => {
            let config = config.ok_or_else(|| wire::invalid("configure.config", "is required"))?;
            agent.configure(now, holder, line, wire::config(config)?).map_err(wire::refusal)?;
            None
        }
        Operation::Release(ReleaseLine {}) => {
            agent.release(now, holder, line).map_err(wire::refusal)?;
            None
        }
        Operation::Write(_) | Operation::List(_) | Operation::ReleaseAll(_) => {
            return Err(wire::invalid("operation", "is not about one line"));
        }
    };
    Ok(wire::touched(line, level))
}

fn write<B: Board>(
    agent: &mut Agent<B>,
    now: Instant,
    holder: &Holder,
    lines: Vec<LineWrite>,
) -> Result<GpioResponse, Status> {
    if lines.is_empty() || lines.len() > MAXIMUM_LINES {
        return Err(wire::invalid("write.lines", "takes 1 to 64 lines"));
    }
    let mut writes = Vec::with_capacity(lines.len());
    for LineWrite { line, state } in lines {
        let name = line.and_then(|line| line.name).ok_or_else(|| wire::invalid("write.lines.line", "is required"))?;
        let level = wire::level(state, "write.lines.state")?;
        let level = level.ok_or_else(|| wire::invalid("write.lines.state", "is required: LOW or HIGH"))?;
        writes.push((agent.resolve(wire::line_name(&name)).map_err(wire::refusal)?, level));
    }
    agent.write_all(now, holder, &writes).map_err(wire::refusal)?;
    Ok(wire::several(writes.into_iter().map(|(line, level)| (line, Some(level)))))
}

fn list<B: Board>(agent: &Agent<B>, now: Instant) -> GpioResponse {
    let lines = agent.list(now).into_iter().map(wire::line_status).collect();
    GpioResponse { success: true, lines, ..GpioResponse::default() }
}

/// Answers which lines are free; what could not be made safe is an error that names them, after all were tried.
fn release_all<B: Board>(agent: &mut Agent<B>, now: Instant) -> Result<GpioResponse, Status> {
    let released = agent.release_all(now);
    if let Some((line, refusal)) = released.failed.into_iter().next() {
        tracing::error!(%line, why = %startup::one_line(&refusal), "could not be made safe");
        return Err(wire::refusal(refusal));
    }
    Ok(wire::several(released.released.into_iter().map(|line| (line, None))))
}
