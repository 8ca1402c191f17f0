//! Knows no host and no message: only what every `main` does first and last.

mod config;
mod failure;
mod listen;

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

pub use config::{ConfigError, at, load, parse};
pub use failure::{Failure, one_line};
pub use listen::{ListenError, listen};

/// Logs to standard error: `info` and above, or what the environment variable `PI_LOG` says (such as `debug` or
/// `mtls=debug,info`). Colour only on a terminal.
pub fn log() {
    let filter = EnvFilter::try_from_env("PI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Completes at the first SIGINT (Ctrl-C) or SIGTERM.
///
/// # Errors
///
/// If the system lets no handler be set up.
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted: calls in flight may end"),
            _ = terminate.recv() => tracing::info!("asked to stop: calls in flight may end"),
        }
    })
}
