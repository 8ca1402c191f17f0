//! What a command's end means to a script.

use std::error::Error;

use mtls::{ContextError, DialError};
use tonic::{Code, Status};

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done: 0.
    Done,
    /// Failed for another reason than those below: 1.
    Failed,
    /// Wrong usage: 2.
    Usage,
    /// Not allowed: 3.
    Denied,
    /// No such node or line: 4.
    NotFound,
    /// Held by another, or not in the state that the command needs: 5.
    Conflict,
    /// Nobody reached, or no answer in time: 6.
    Unreachable,
    /// The node answers and is not well: 7.
    Unwell,
    /// A command on a node ended: its own code.
    Command(u8),
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Unreachable => 6,
            Self::Unwell => 7,
            Self::Command(code) => code,
        }
    }
}

/// A command failed; `Display` is the one line that says why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{}", startup::one_line(.0))]
    Context(#[from] ContextError),
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("no home folder to find the context in: name one with --context")]
    NoHome,
    #[error("{}", why(.0))]
    Status(#[from] Status),
    #[error("no join token: {0}")]
    Token(String),
    #[error("the node ended the stream")]
    Ended,
    #[error("{0}")]
    Unwell(String),
    #[error("{0}")]
    Usage(&'static str),
    #[error("{}", crate::output::inert(.1))]
    Command(Exit, String),
    #[error("cannot print: {0}")]
    Print(#[from] std::io::Error),
    #[error("the answer cannot be shown as JSON: {0}")]
    Json(String),
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            // not the other end's word, but the end of the connection
            Self::Status(status) if status.source().is_some() => Exit::Unreachable,
            Self::Status(status) => of_code(status.code()),
            Self::Context(_) | Self::Dial(_) | Self::NoHome | Self::Usage(_) => Exit::Usage,
            Self::Command(exit, _) => *exit,
            Self::Unwell(_) => Exit::Unwell,
            Self::Ended => Exit::Unreachable,
            Self::Print(_) | Self::Json(_) | Self::Token(_) => Exit::Failed,
        }
    }
}

fn of_code(code: Code) -> Exit {
    match code {
        Code::PermissionDenied | Code::Unauthenticated => Exit::Denied,
        Code::NotFound => Exit::NotFound,
        Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition => Exit::Conflict,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Exit::Unreachable,
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        _ => Exit::Failed,
    }
}

fn why(status: &Status) -> String {
    if status.code() == Code::DeadlineExceeded || mtls::timed_out(status) {
        return "no answer in time: give it more with --timeout".to_owned();
    }
    let why = match mtls::explain(status) {
        Some(why) => why,
        None if status.message().is_empty() => format!("{:?}", status.code()),
        None => status.message().to_owned(),
    };
    crate::output::inert(&why)
}
