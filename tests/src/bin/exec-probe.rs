//! What the tests of commands run: the agent's own two processes, and a program that says what it was given.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use pi_agent::{LinuxRunner, Plan, Runner};

fn main() -> ExitCode {
    if let Some(ended) = pi_agent::run_as_stage() {
        return ended;
    }
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let mut out = std::io::stdout();
    let said = match arguments.first().and_then(|first| first.to_str()) {
        // each argument with a NUL behind it, which no argument holds
        Some("argv") => arguments[1..].iter().try_for_each(|one| out.write_all(&[one.as_bytes(), b"\0"].concat())),
        Some("environment") => {
            let mut all: Vec<_> = std::env::vars_os().collect();
            all.sort();
            all.iter().try_for_each(|(name, value)| writeln!(out, "{}={}", name.display(), value.display()))
        }
        Some("descriptors") => descriptors(&mut out),
        Some("agent") => agent(),
        _ => return ExitCode::from(2),
    };
    said.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// Without the one that lists them.
fn descriptors(out: &mut impl Write) -> std::io::Result<()> {
    let list = std::fs::read_dir("/proc/self/fd")?;
    let mut numbers: Vec<u32> = list.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.retain(|number| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok()); // the list is closed now
    numbers.sort_unstable();
    writeln!(out, "{numbers:?}")
}

/// Starts a daemon as a command, and lives on until it is killed.
#[tokio::main(flavor = "current_thread")]
async fn agent() -> std::io::Result<()> {
    let mark = std::env::args().nth(2).unwrap_or_default();
    let script = format!("trap '' TERM; setsid -f sleep {mark}; sleep {mark}");
    let plan = Plan {
        argv: ["/bin/sh", "-c", &script].map(str::to_owned).into(),
        environment: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        working_directory: "/".to_owned(),
        grace_ms: 60_000,
        ..Plan::default()
    };
    let _process = LinuxRunner::this_program().start(plan, None)?;
    std::future::pending().await
}
