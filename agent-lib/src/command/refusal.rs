//! Why a command is not run.

use alloc::string::String;
use core::time::Duration;

/// Why a command is not run. Nothing has been started then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandRefusal {
    /// The node's owner has not switched commands on.
    #[error("commands are off on this node: set mode in [exec] of its configuration")]
    Off,
    /// The node runs nothing but its own templates.
    #[error("this node runs templates only: name one of {known}")]
    TemplatesOnly {
        /// Their names, joined by commas.
        known: String,
    },
    /// The node's owner has not chosen a shell.
    #[error("there is no shell for commands on this node: set shell in [exec] of its configuration, or pass argv")]
    NoShell,
    /// The caller may run commands, but not by a shell.
    #[error("{caller} lacks the role shell: pass argv, which no shell interprets")]
    ShellNotAllowed {
        /// Who asked.
        caller: String,
    },
    /// There is no such template.
    #[error("no template is called {name:?}: this node has {known}")]
    UnknownTemplate {
        /// As it was asked for.
        name: String,
        /// The names that there are, joined by commas.
        known: String,
    },
    /// A field does not make sense.
    #[error("{field} {why}")]
    Invalid {
        /// The request's field.
        field: String,
        /// What it must be.
        why: String,
    },
    /// The variable is not on the node's allow list.
    #[error("the variable {name} is not allowed on this node: list it under allow_environment in [exec]")]
    Environment {
        /// The variable's name; its value is told to nobody.
        name: String,
    },
    /// The node does not let callers choose this user.
    #[error("commands may not run as {name:?} on this node: list the user under users in [exec]")]
    User {
        /// As it was asked for.
        name: String,
    },
    /// Too many commands run already.
    #[error("{limit} commands run on this node already: try again when one has ended")]
    Busy {
        /// How many may run at once.
        limit: usize,
    },
    /// The request id has been used for another command.
    #[error("the request id {id:?} was used for another command: take a new one")]
    Reused {
        /// The id.
        id: String,
    },
    /// There is no such job, or it was forgotten, or it is somebody else's.
    #[error("no job is called {name:?}, or it was forgotten: outcomes are kept for {} s", keep.as_secs())]
    UnknownJob {
        /// As it was asked for.
        name: String,
        /// For how long an outcome is kept.
        keep: Duration,
    },
}

impl CommandRefusal {
    pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), why: why.into() }
    }
}
