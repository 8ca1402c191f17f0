//! The agent as it ships, on a simulated board: what `pi-agent serve` does where there is a GPIO chip.
//!
//! Its first argument is a state folder with an `agent.toml`; the listener is its standard input.

mod listener;

use std::path::PathBuf;

use hal_core::linux::ProcfsMetrics;
use pi_agent::{Config, Hardware, SystemLog, serve};
use startup::Failure;

fn main() -> Result<(), Failure> {
    let state = PathBuf::from(std::env::args_os().nth(1).unwrap_or_default());
    startup::log();
    // one thread, as in pi-agent's own main
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(state))
}

async fn run(state: PathBuf) -> Result<(), Failure> {
    let config = Config { state: state.clone(), ..Config::load(&state.join("agent.toml"))? };
    let (simulated, _hands, _log) = pi_sim::hardware("bench");
    let hardware = Hardware {
        board: simulated.board,
        pwm: simulated.pwm,
        buses: simulated.buses,
        // the sampler reads this machine, as it would on a Pi
        metrics: ProcfsMetrics::new(),
        log: SystemLog::Linux,
        inventory: simulated.inventory,
    };
    let shutdown = startup::stop_signal()?;
    serve(config, hardware, listener::inherited()?, shutdown).await?;
    Ok(())
}
