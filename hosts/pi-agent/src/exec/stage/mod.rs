//! `pi-agent run-command`: between the agent and a command stand two processes of the agent's own binary.
//!
//! The *supervisor* is the parent of everything that the command leaves behind: a daemon that forks twice becomes its
//! child and is ended with the rest. It keeps the agent's user, so that the command cannot end it where the command has
//! another, and it ends everything when its socket closes: nothing outlives the agent. The *launcher* takes on user,
//! limits and terminal and then becomes the command by exec(3). Both are started before they are needed and wait.
//!
//! They do what `pre_exec` would, which takes `unsafe`; and setrlimit, setsid and setresuid concern only them.

mod launcher;
mod message;
mod program;
mod supervisor;
mod tree;

use std::process::ExitCode;

pub use message::{Ended, Identity, Plan};
pub(crate) use message::{Order, frame, pass_descriptors};

/// The hidden subcommand of the supervisor.
pub(crate) const SUPERVISE: &str = "run-command";
/// The hidden subcommand of the launcher.
const LAUNCH: &str = "launch-command";

/// If this process was started as one of the two: is it until it ends. To be called first, before any thread starts.
pub fn run_as_stage() -> Option<ExitCode> {
    let role = std::env::args_os().nth(1)?;
    let ended = match role.to_str()? {
        SUPERVISE => {
            close_inherited();
            supervisor::supervise()
        }
        LAUNCH => launcher::launch(),
        _ => return None,
    };
    // the agent hears of it by the closed socket
    Some(ended.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

/// What the agent opened closes by itself. What it was started with, by a careless parent, would reach the command.
fn close_inherited() {
    let list = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> = list.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        let _ = nix_process::unistd::close(number); // the list itself is closed already
    }
}
