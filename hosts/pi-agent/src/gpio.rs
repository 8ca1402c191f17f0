//! `ControlGPIO`: which operation a message asks for, and its answer.

use std::collections::BTreeSet;

use agent_lib::{Agent, Caller, LineWrite, Refusal, Token};
use hal_core::{Board, Instant, LineId, header};
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::{
    ClaimLine, ConfigureLine, GpioRequest, GpioResponse, KeepaliveLine, ListLines, ReadLine, ReleaseAllLines,
    ReleaseLine, ToggleLine, WriteLines,
};
use tonic::Status;

use crate::access::Principal;
use crate::wire;

/// As many as the kernel takes in one request (`GPIO_V2_LINES_MAX`).
const MAXIMUM_LINES: usize = 64;

/// Does what `request` asks for, on behalf of `who`. Lines beyond their reach are refused if they are named, and left out
/// of lists and of the emergency stop.
pub(crate) fn operate<B: Board>(
    agent: &mut Agent<B>,
    now: Instant,
    who: &Principal,
    request: GpioRequest,
) -> Result<GpioResponse, Status> {
    let caller = who.caller();
    let GpioRequest { pin, state, line, operation, token } = request;
    let (level, token) = (wire::level(state, "state")?, token.map(Token));
    let one = |agent: &Agent<B>| {
        let line = agent.resolve(wire::line(pin, &line)?).map_err(wire::refusal)?;
        who.check_line(agent, line).map(|()| line)
    };
    match (operation, level) {
        (Some(_), Some(_)) => Err(wire::invalid("state", "is for the short form: leave it out beside an operation")),
        (Some(Operation::List(ListLines {})), None) => Ok(list(agent, now, who)),
        (Some(Operation::ReleaseAll(ReleaseAllLines {})), None) => release_all(agent, now, who),
        (Some(Operation::Write(lines)), None) => write(agent, now, who, lines),
        (Some(operation), None) => {
            let line = one(agent)?;
            one_line(agent, now, caller, line, operation, token)
        }
        (None, Some(level)) => {
            let line = one(agent)?;
            agent.write(now, caller, line, level, token).map_err(wire::refusal)?;
            Ok(touched(agent, now, caller, line, Some(level)))
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
    caller: Caller<'_>,
    line: LineId,
    operation: Operation,
    token: Option<Token>,
) -> Result<GpioResponse, Status> {
    let refused = wire::refusal;
    let level = match operation {
        Operation::Read(ReadLine {}) => return agent.read(now, line).map(wire::reading).map_err(refused),
        Operation::Toggle(ToggleLine {}) => Some(agent.toggle(now, caller, line, token).map_err(refused)?),
        Operation::Claim(claim) => {
            agent.claim(now, caller, line, wire::claim(claim)?).map_err(refused)?;
            None
        }
        Operation::Configure(ConfigureLine { config }) => {
            let config = config.ok_or_else(|| wire::invalid("configure.config", "is required"))?;
            agent.configure(now, caller, line, wire::config(config)?, token).map_err(refused)?;
            None
        }
        Operation::Pulse(pulse) => {
            agent.pulse(now, caller, line, wire::pulse(pulse)?, token).map_err(refused)?;
            Some(true)
        }
        Operation::Keepalive(KeepaliveLine {}) => {
            agent.keepalive(now, caller, line, token).map_err(refused)?;
            None
        }
        Operation::Release(ReleaseLine {}) => {
            agent.release(now, caller, line, token).map_err(refused)?;
            None
        }
        Operation::Pwm(pwm) => {
            let signal = agent.pwm(now, caller, line, wire::pwm(pwm), token).map_err(refused)?;
            return Ok(GpioResponse { pwm: Some(wire::signal(signal)), ..touched(agent, now, caller, line, None) });
        }
        Operation::Write(_) | Operation::List(_) | Operation::ReleaseAll(_) => {
            return Err(wire::invalid("operation", "is not about one line"));
        }
    };
    Ok(touched(agent, now, caller, line, level))
}

/// The answer to what was done to one line, with the lease that the caller has on it now.
fn touched<B: Board>(
    agent: &Agent<B>,
    now: Instant,
    caller: Caller<'_>,
    line: LineId,
    level: Option<bool>,
) -> GpioResponse {
    let lease = agent.grant(caller.holder, line).map(|grant| wire::grant(grant, now));
    GpioResponse { lease, ..wire::touched(line, level) }
}

fn write<B: Board>(
    agent: &mut Agent<B>,
    now: Instant,
    who: &Principal,
    WriteLines { lines }: WriteLines,
) -> Result<GpioResponse, Status> {
    if lines.is_empty() || lines.len() > MAXIMUM_LINES {
        return Err(wire::invalid("write.lines", "takes 1 to 64 lines"));
    }
    let mut writes = Vec::with_capacity(lines.len());
    for proto::agent::v1::LineWrite { line, state, token } in lines {
        let name = line.and_then(|line| line.name).ok_or_else(|| wire::invalid("write.lines.line", "is required"))?;
        let level = wire::level(state, "write.lines.state")?;
        let level = level.ok_or_else(|| wire::invalid("write.lines.state", "is required: LOW or HIGH"))?;
        let line = agent.resolve(wire::line_name(&name)).map_err(wire::refusal)?;
        who.check_line(agent, line)?;
        writes.push(LineWrite { line, level, token: token.map(Token) });
    }
    agent.write_all(now, who.caller(), &writes).map_err(wire::refusal)?;
    Ok(wire::several(writes.into_iter().map(|write| (write.line, Some(write.level)))))
}

fn list<B: Board>(agent: &Agent<B>, now: Instant, who: &Principal) -> GpioResponse {
    let lines = agent.list(now).into_iter().filter(|status| who.reaches(agent, status.line));
    let lines = lines.map(wire::line_status).collect();
    GpioResponse { success: true, lines, ..GpioResponse::default() }
}

/// Answers which lines are free; what could not be made safe is an error that names them, after all were tried.
fn release_all<B: Board>(agent: &mut Agent<B>, now: Instant, who: &Principal) -> Result<GpioResponse, Status> {
    let released = if who.limits_lines() {
        let reach: BTreeSet<LineId> = agent.policy().allowed().filter(|line| who.reaches(agent, *line)).collect();
        agent.release_lines(now, |line| reach.contains(&line))
    } else {
        agent.release_all(now)
    };
    let mut failed = released.failed.into_iter().inspect(|(line, refusal)| {
        tracing::error!(%line, why = %startup::one_line(refusal), "could not be made safe");
    });
    match failed.next() {
        None => Ok(wire::several(released.released.into_iter().map(|line| (line, None)))),
        Some((line, first)) => {
            let all = failed.fold(line.to_string(), |all, (line, _)| format!("{all}, {line}"));
            let status = wire::refusal(first);
            Err(Status::new(status.code(), format!("not safe: {all}; {}", status.message())))
        }
    }
}

/// How many operations a request counts as: about a system call each. What leaves lines safe counts as none.
pub(crate) fn cost(request: &GpioRequest) -> u32 {
    match &request.operation {
        Some(Operation::Release(_) | Operation::ReleaseAll(_)) => 0,
        Some(Operation::Write(WriteLines { lines })) => lines_cost(lines.len()),
        Some(Operation::List(_)) => lines_cost(header::lines().count()),
        _ => 1,
    }
}

/// The same of something done to so many lines.
pub(crate) fn lines_cost(lines: usize) -> u32 {
    u32::try_from(lines.max(1)).unwrap_or(u32::MAX)
}

/// Whether a request is a claim that waits for its line, and was refused because another holds it.
pub(crate) fn is_to_wait(request: &GpioRequest, outcome: &Result<GpioResponse, Status>) -> bool {
    let waits = matches!(&request.operation, Some(Operation::Claim(ClaimLine { on_conflict, .. }))
        if *on_conflict == proto::agent::v1::OnConflict::Wait as i32);
    waits && outcome.as_ref().is_err_and(wire::is_held)
}

/// What is followed must be worth following: 1 to 64 lines, all within reach.
pub(crate) fn watched<B: Board>(
    agent: &Agent<B>,
    who: &Principal,
    lines: &[proto::agent::v1::LineName],
) -> Result<Vec<LineId>, Status> {
    if lines.is_empty() || lines.len() > MAXIMUM_LINES {
        return Err(wire::invalid("lines", "takes 1 to 64 lines"));
    }
    let name = |line: &proto::agent::v1::LineName| match &line.name {
        Some(name) => {
            let line = agent.resolve(wire::line_name(name)).map_err(|refusal: Refusal| wire::refusal(refusal))?;
            who.check_line(agent, line).map(|()| line)
        }
        None => Err(wire::invalid("lines", "must each have a name")),
    };
    lines.iter().map(name).collect()
}
