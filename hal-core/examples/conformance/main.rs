//! Holds both Linux backends against what the traits promise, on a chip that the kernel simulates (gpio-sim), and prints
//! the table. Ends with 1 if a case failed.
//!
//! It makes the chip itself, so it wants to be root on a kernel with the module: `tests/vm/conformance` runs it in a virtual
//! machine that has one.

mod gpio_sim;
mod harness;

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
    Ok(chosen && report.failures().next().is_none())
}
