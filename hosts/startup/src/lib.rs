//! Knows no host and no message: only what every `main` does first and last.

mod config;
mod descriptors;
mod failure;
mod listen;
mod own;

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use config::{ConfigError, at, load, parse};
pub use descriptors::raise_descriptor_limit;
pub use failure::{Failure, one_line};
pub use listen::{ListenError, listen};

use crate::own::Own;

/// Logs to standard error: `info` and above, or what the environment variable `PI_LOG` says (such as `debug` or
/// `info,mtls=debug`; release builds know no `trace`). Colour only on a terminal.
pub fn log() {
    log_to(|_, _, _| {});
}

/// The same, and each line goes to `keep` as well: its severity after syslog (3, error, to 7, debug), the module that
/// said it, and its text.
pub fn log_to(keep: impl Fn(u8, &str, String) + Send + Sync + 'static) {
    let wished = std::env::var("PI_LOG").ok().and_then(|wish| wish.parse().ok());
    let filter = wished.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).with(Own(keep)).init();
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
