//! Commands: requests in, outcomes out.

use std::time::{Duration, SystemTime};

use agent_lib::{CommandRefusal, Holder, Job};
use hal_core::Instant;
use prost::Message;
use proto::agent::v1 as pb;
use proto::agent::v1::command_response::Outcome as Way;
use tonic::{Code, Status};

use super::{duration, invalid, status};
use crate::exec::{Ended, How, Kept, Outcome, WindowSize};

/// No request id is longer.
const REQUEST_ID_BYTES: usize = 64;
/// No terminal type is longer.
const TERMINAL_TYPE_BYTES: usize = 64;
/// The bit of a wait status that says that there is a core file.
const CORE: i32 = 0x80;

/// The request's id, if it has one, and the digest of its body.
pub(crate) fn request_id(request: &pb::CommandRequest) -> Result<Option<(String, [u8; 32])>, Status> {
    let id = &request.request_id;
    if id.is_empty() {
        return Ok(None);
    }
    if id.len() > REQUEST_ID_BYTES || id.contains(char::is_control) {
        return Err(invalid("request_id", "has at most 64 bytes, all printable"));
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, &request.encode_to_vec());
    let digest = digest.as_ref().try_into().map_err(|_| Status::internal("a digest of another length"))?;
    Ok(Some((id.clone(), digest)))
}

/// A duration that may be absent.
pub(crate) fn optional_duration(
    field: &str,
    duration: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Status> {
    let duration = duration.map(Duration::try_from).transpose();
    duration.map_err(|_| invalid(field, "is not negative"))
}

/// A number up to and including `most`.
pub(crate) fn below(field: &str, number: u32, most: u32) -> Result<u32, Status> {
    (number <= most).then_some(number).ok_or_else(|| invalid(field, &format!("is at most {most}")))
}

/// A terminal's size and type.
pub(crate) fn terminal(terminal: pb::Terminal) -> Result<(WindowSize, String), Status> {
    let pb::Terminal { size, r#type } = terminal;
    let size = window_size(size.unwrap_or(pb::WindowSize { columns: 80, rows: 24 }))?;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte);
    if r#type.len() > TERMINAL_TYPE_BYTES || !r#type.bytes().all(word) {
        return Err(invalid("terminal.type", "is a name such as xterm-256color"));
    }
    Ok((size, if r#type.is_empty() { "dumb".to_owned() } else { r#type }))
}

/// A terminal's size.
pub(crate) fn window_size(size: pb::WindowSize) -> Result<WindowSize, Status> {
    let pb::WindowSize { columns, rows } = size;
    let number = |field, number| u16::try_from(number).map_err(|_| invalid(field, "is at most 65535"));
    Ok(WindowSize { columns: number("columns", columns)?, rows: number("rows", rows)? })
}

/// From a refusal to a status.
pub(crate) fn command_refusal(refusal: CommandRefusal) -> Status {
    let why = refusal.to_string();
    match refusal {
        CommandRefusal::Off => status(Code::FailedPrecondition, "COMMANDS_OFF", &why, []),
        CommandRefusal::TemplatesOnly { .. } => status(Code::FailedPrecondition, "TEMPLATES_ONLY", &why, []),
        CommandRefusal::NoShell => status(Code::FailedPrecondition, "NO_SHELL", &why, []),
        CommandRefusal::ShellNotAllowed { .. } => status(Code::PermissionDenied, "ACCESS_DENIED", &why, []),
        CommandRefusal::UnknownTemplate { name, .. } => {
            status(Code::NotFound, "UNKNOWN_TEMPLATE", &why, [("template", name)])
        }
        CommandRefusal::Invalid { field, .. } => {
            status(Code::InvalidArgument, "INVALID_FIELD", &why, [("field", field)])
        }
        CommandRefusal::Environment { name } => {
            status(Code::PermissionDenied, "VARIABLE_NOT_ALLOWED", &why, [("variable", name)])
        }
        CommandRefusal::User { name } => status(Code::PermissionDenied, "USER_NOT_ALLOWED", &why, [("user", name)]),
        CommandRefusal::Busy { .. } => {
            status(Code::ResourceExhausted, "TOO_MANY_COMMANDS", &why, [("retryable", "true".to_owned())])
        }
        CommandRefusal::Reused { .. } => status(Code::AlreadyExists, "REQUEST_ID_REUSED", &why, []),
        CommandRefusal::UnknownJob { name, .. } => status(Code::NotFound, "UNKNOWN_JOB", &why, [("job", name)]),
        _ => status(Code::Internal, "UNKNOWN_REFUSAL", &why, []),
    }
}

/// How a command ended.
pub(crate) fn command_response(outcome: Outcome) -> pb::CommandResponse {
    let Outcome { how, wall, stdout, stderr } = outcome;
    let (way, ended) = match how {
        How::Ended(ended) => (by_itself(&ended), ended),
        How::TimedOut(ended) => (Way::TimedOut(pb::CommandTimedOut {}), ended),
        How::Cancelled(ended) => (Way::Cancelled(pb::CommandCancelled {}), ended),
        How::Lost => (lost_way("its supervisor was killed"), Ended::default()),
    };
    pb::CommandResponse {
        outcome: Some(way),
        stdout: Some(output(stdout)),
        stderr: Some(output(stderr)),
        wall_time: Some(duration(wall)),
        user_time: Some(duration(Duration::from_micros(ended.user_us))),
        system_time: Some(duration(Duration::from_micros(ended.system_us))),
        peak_rss_bytes: ended.peak_rss_bytes,
        job: String::new(),
    }
}

fn by_itself(ended: &Ended) -> Way {
    let Some(status) = ended.status else {
        let (errno, message) = (ended.errno, ended.why.clone());
        return Way::SpawnFailed(pb::CommandSpawnFailed { errno, message });
    };
    match status & 0x7f {
        0 => Way::Exited(pb::CommandExited { code: status >> 8 & 0xff }),
        signal => Way::Signalled(pb::CommandSignalled { signal, core_dumped: status & CORE != 0 }),
    }
}

fn output(kept: Kept) -> pb::CommandOutput {
    let Kept { bytes, cut_off } = kept;
    let agent_lib::KeptOutput { head, tail, total, truncated } = bytes;
    pb::CommandOutput { head, tail, total_bytes: total, truncated, cut_off }
}

/// Nothing was started.
pub(crate) fn not_started(error: &std::io::Error) -> pb::CommandResponse {
    let failed = pb::CommandSpawnFailed { errno: error.raw_os_error().unwrap_or(0), message: error.to_string() };
    answered(Way::SpawnFailed(failed), String::new())
}

/// It runs.
pub(crate) fn running(job: String) -> pb::CommandResponse {
    answered(Way::Running(pb::CommandRunning {}), job)
}

/// Nobody knows.
pub(crate) fn lost(why: &str) -> pb::CommandResponse {
    answered(lost_way(why), String::new())
}

fn lost_way(why: &str) -> Way {
    Way::Lost(pb::CommandLost { reason: why.to_owned() })
}

fn answered(outcome: Way, job: String) -> pb::CommandResponse {
    pb::CommandResponse { outcome: Some(outcome), job, ..pb::CommandResponse::default() }
}

/// A job that is remembered.
pub(crate) fn job(name: &str, job: &Job<pb::CommandResponse>, now: Instant) -> pb::Job {
    let response = job.outcome.clone().unwrap_or_else(|| running(name.to_owned()));
    pb::Job {
        job: name.to_owned(),
        holder: job.holder.to_string(),
        program: job.program.clone(),
        started: SystemTime::now().checked_sub(now.saturating_since(job.started)).map(Into::into),
        response: Some(response),
    }
}

/// A job of an earlier start of the agent.
pub(crate) fn lost_job(name: &str, holder: &Holder) -> pb::Job {
    let response = Some(lost("the agent restarted while it ran, or since"));
    pb::Job { job: name.to_owned(), holder: holder.to_string(), response, ..pb::Job::default() }
}

/// The same with counts only.
pub(crate) fn without_outputs(mut job: pb::Job) -> pb::Job {
    let response = job.response.iter_mut();
    for output in response.flat_map(|response| [&mut response.stdout, &mut response.stderr]).flatten() {
        (output.head, output.tail) = (Vec::new(), Vec::new());
    }
    job
}

/// What keeping it takes.
pub(crate) fn kept_bytes(response: &pb::CommandResponse) -> usize {
    response.encoded_len()
}

/// One word for the log.
pub(crate) fn outcome_word(response: &pb::CommandResponse) -> String {
    match &response.outcome {
        Some(Way::Exited(pb::CommandExited { code })) => format!("exited {code}"),
        Some(Way::Signalled(pb::CommandSignalled { signal, .. })) => format!("signalled {signal}"),
        Some(Way::TimedOut(_)) => "timed out".to_owned(),
        Some(Way::Cancelled(_)) => "cancelled".to_owned(),
        Some(Way::SpawnFailed(failed)) => format!("not started: {}", failed.message),
        Some(Way::Lost(_)) | None => "lost".to_owned(),
        Some(Way::Running(_)) => "running".to_owned(),
    }
}
