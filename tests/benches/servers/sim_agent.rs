//! The agent as it ships, on a simulated board: what `pi-agent serve` does where there is a GPIO chip.
//!
//! Its first argument is a state folder with an `agent.toml`; the listener is its standard input.

mod listener;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use hal_core::linux::ProcfsMetrics;
use mtls::{Credentials, PeerIdentity};
use pi_agent::{Config, Hardware, LinuxRunner, SystemLog, run_as_stage, serve};
use startup::Failure;

fn main() -> Result<ExitCode, Failure> {
    if let Some(ended) = run_as_stage() {
        return Ok(ended);
    }
    let state = PathBuf::from(std::env::args_os().nth(1).unwrap_or_default());
    startup::log();
    // one thread, as in pi-agent's own main
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(state))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(state: PathBuf) -> Result<(), Failure> {
    let config = Config { state: state.clone(), ..Config::load(&state.join("agent.toml"))? };
    // the board of the node that the folder is of
    let own = Credentials::load(&state)?.chain.first().and_then(|leaf| PeerIdentity::from_certificate(leaf).ok());
    let (simulated, _hands, _log) = pi_sim::hardware(&own.map(|own| own.name).unwrap_or_default());
    let hardware = Hardware {
        board: simulated.board,
        pwm: simulated.pwm,
        buses: simulated.buses,
        // the sampler reads this machine, as it would on a Pi
        metrics: ProcfsMetrics::new(),
        log: SystemLog::Linux,
        inventory: simulated.inventory,
        runner: Arc::new(LinuxRunner::this_program()),
    };
    let shutdown = startup::stop_signal()?;
    serve(config, hardware, listener::inherited()?, shutdown).await?;
    Ok(())
}
