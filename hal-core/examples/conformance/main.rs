//! Holds both Linux backends against what the traits promise and prints the table. Ends with 1 if a case failed.
//!
//! Without arguments it does so on a chip that the kernel simulates (gpio-sim), and makes it itself: it wants to be root on
//! a kernel with that module, and `tests/vm/conformance` runs it in a virtual machine that has one. With `registers` it
//! takes the header of an emulated Raspberry Pi 3, and its PWM block: `tests/vm/pi3`.

mod gpio_sim;
mod harness;
mod linux;
mod pwm;
mod registers;

use std::error::Error;
use std::process::ExitCode;

use gpio_sim::GpioSim;
use hal_core::conformance::{Report, run};
use hal_core::linux::{Cdev2Board, CdevBoard, LinuxBoard, persist_outputs};
use hal_core::{Board, ChipInfo};
use harness::OnGpioSim;
use registers::OnRegisters;

/// The chip of all Raspberry Pis before the 4.
const LABEL: &str = "pinctrl-bcm2835";
const LINES: u16 = 54;

fn main() -> ExitCode {
    let registers = std::env::args().nth(1).is_some_and(|argument| argument == "registers");
    match if registers { on_registers() } else { on_gpio_sim() } {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::FAILURE
        }
    }
}

fn on_registers() -> Result<bool, Box<dyn Error>> {
    header()?;
    let mut report = Report::default();
    run(&mut OnRegisters { board: CdevBoard::open_header()? }, "gpio-cdev", &mut report);
    run(&mut OnRegisters { board: Cdev2Board::open_header()? }, "gpiocdev", &mut report);
    println!("{report}");
    pwm::on_kernel()?;
    Ok(report.failures().next().is_none())
}

/// Says what is found at start.
fn header() -> Result<ChipInfo, Box<dyn Error>> {
    let chip = LinuxBoard::open_header()?.chip();
    println!("header: {} with {} lines, through {}", chip.label, chip.lines, chip.backend);
    println!("persist_gpio_outputs: {:?}\n", persist_outputs("/".as_ref()));
    Ok(chip)
}

fn on_gpio_sim() -> Result<bool, Box<dyn Error>> {
    let sim = GpioSim::new(LABEL, LINES)?;
    std::os::unix::fs::symlink(sim.device(), "/dev/gpiochip99")?; // as on a Pi 5; found once all the same
    let ChipInfo { label, lines, backend } = header()?;
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
