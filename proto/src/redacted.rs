//! `Debug` of messages in which callers send secrets: names and lengths instead of values, so that whoever prints a request
//! prints no password.

use std::fmt;

use crate::agent::v1::execute_stream_request::Input;
use crate::agent::v1::{CommandRequest, ExecuteStreamRequest};

impl fmt::Debug for CommandRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // in full, so that a new field is thought of
        let Self {
            argv,
            environment,
            working_directory,
            stdin,
            timeout,
            request_id,
            shell,
            template,
            parameters,
            detach,
            user,
            umask,
            nice,
            limits,
            kill_grace,
            output_limit,
            terminal,
        } = self;
        f.debug_struct("CommandRequest")
            .field("argv", argv)
            .field("environment", &environment.keys())
            .field("working_directory", working_directory)
            .field("stdin", &Bytes(stdin.len()))
            .field("timeout", timeout)
            .field("request_id", request_id)
            .field("shell", shell)
            .field("template", template)
            .field("parameters", &parameters.keys())
            .field("detach", detach)
            .field("user", user)
            .field("umask", umask)
            .field("nice", nice)
            .field("limits", limits)
            .field("kill_grace", kill_grace)
            .field("output_limit", output_limit)
            .field("terminal", terminal)
            .finish()
    }
}

impl fmt::Debug for ExecuteStreamRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input } = self;
        f.debug_struct("ExecuteStreamRequest").field("input", input).finish()
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(start) => f.debug_tuple("Start").field(start).finish(),
            Self::Stdin(bytes) => f.debug_tuple("Stdin").field(&Bytes(bytes.len())).finish(),
            Self::CloseStdin(_) => f.write_str("CloseStdin"),
            Self::Signal(number) => f.debug_tuple("Signal").field(number).finish(),
            Self::WindowSize(size) => f.debug_tuple("WindowSize").field(size).finish(),
        }
    }
}

/// So many of them.
struct Bytes(usize);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0)
    }
}
