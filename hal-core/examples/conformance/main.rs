//! Holds both Linux backends against what the traits promise, on a chip that the kernel simulates (gpio-sim), and prints
//! the table. Ends with 1 if a case failed.
//!
//! It makes the chip itself, so it wants to be root on a kernel with the module: `tests/vm/conformance` runs it in a virtual
//! machine that has one.

mod gpio_sim;
mod harness;
mod linux;

use std::error::Error;
use std::process::ExitCode;

use gpio_sim::GpioSim;
use hal_core::conformance::{Report, run};
use hal_core::linux::{Cdev2Board, CdevBoard, LinuxBoard, persist_outputs};
use hal_core::{Board, ChipInfo};
use harness::OnGpioSim;

/// The chip of all Raspberry Pis before the 4.
const LABEL: &str = "pinctrl-bcm2835";
const LINES: u16 = 54;

fn main() -> ExitCode {
    match conformance() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::FAILURE
        }
    }
}

fn conformance() -> Result<bool, Box<dyn Error>> {
    let sim = GpioSim::new(LABEL, LINES)?;
    std::os::unix::fs::symlink(sim.device(), "/dev/gpiochip99")?; // as on a Pi 5; found once all the same
    let ChipInfo { label, lines, backend } = LinuxBoard::open_header()?.chip();
    println!("header: {label} with {lines} lines, through {backend}");
    println!("persist_gpio_outputs: {:?}\n", persist_outputs("/".as_ref()));
    let chosen = (&*label, lines, backend) == (LABEL, LINES, "gpiocdev");

    let mut report = Report::default();
    run(&mut OnGpioSim { board: CdevBoard::open_header()?, sim: &sim, too_many: 40 }, "gpio-cdev", &mut report);
    run(&mut OnGpioSim { board: Cdev2Board::open_header()?, sim: &sim, too_many: 100 }, "gpiocdev", &mut report);
    run(&mut OnGpioSim { board: LinuxBoard::open_header()?, sim: &sim, too_many: 100 }, "chosen at start", &mut report);
    println!("{report}");
    Ok(beyond_the_traits(sim)? && chosen && report.failures().next().is_none())
}

fn beyond_the_traits(sim: GpioSim) -> Result<bool, Box<dyn Error>> {
    let mut first = LinuxBoard::V1(CdevBoard::open_header()?);
    let mut second = LinuxBoard::V2(Cdev2Board::open_header()?);
    let results = [
        ("edge_fd, gpio-cdev", linux::edge_fd(&mut first, &sim)),
        ("edge_fd, gpiocdev", linux::edge_fd(&mut second, &sim)),
        ("held throughout a reconfiguration, gpiocdev", linux::held_throughout()),
        ("unplugged, both", linux::unplugged(vec![first, second], sim)),
    ];
    for (what, result) in &results {
        println!("{what}: {}", result.as_ref().map_or_else(|why| format!("FAILED, {why}"), |()| "passed".into()));
    }
    Ok(results.iter().all(|(_, result)| result.is_ok()))
}
