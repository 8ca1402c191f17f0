//! `pictl`.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use startup::Failure;

fn main() -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(pictl::run(std::env::args_os(), &mut stdout(), &mut stderr()));
    Ok(ExitCode::from(exit.code()))
}
