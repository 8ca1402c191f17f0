//! What the Linux backends promise beyond the traits: a descriptor to wait for, and what is left of a chip that is gone.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread::{sleep, spawn};
use std::time::Duration;

use embedded_hal::digital::{InputPin, OutputPin};
use hal_core::conformance::kernel::GpioSim;
use hal_core::linux::{Cdev2Board, LinuxBoard, LinuxLine};
use hal_core::{Board, Edges, Fault, FaultKind, Line, LineConfig, LineId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

type Outcome = Result<(), Box<dyn Error>>;

const WATCHED: LineConfig = LineConfig::input().with_edges(Edges::Both);

/// The descriptor of a watched line is readable exactly while edges wait.
pub(crate) fn edge_fd(board: &mut LinuxBoard, sim: &GpioSim) -> Outcome {
    let id = LineId(22);
    let mut line = board.claim(id, LineConfig::input(), "conformance")?;
    must(line.edge_fd().is_none(), "a line without edges has a descriptor for them")?;
    sim.pull(id, false)?;
    line.reconfigure(WATCHED)?;
    must(!readable(&line)?, "readable without an edge")?;
    sim.pull(id, true)?;
    sleep(Duration::from_millis(5));
    must(readable(&line)?, "an edge waits, and the descriptor is not readable")?;
    must(line.poll_edge(&mut Context::from_waker(Waker::noop())).is_ready(), "readable, and no edge waits")?;
    must(!readable(&line)?, "readable when all edges are fetched")?;
    must(line.poll_edge(&mut Context::from_waker(Waker::noop())).is_pending(), "an edge that nobody made")
}

/// The second interface keeps a line requested while it is reconfigured: another that tries all the time never gets it.
pub(crate) fn held_throughout() -> Outcome {
    let id = LineId(23);
    let mut line = Cdev2Board::open_header()?.claim(id, LineConfig::output(true), "conformance")?;
    let mut other = Cdev2Board::open_header()?;
    let done = Arc::new(AtomicBool::new(false));
    let until = done.clone();
    let thief = spawn(move || {
        while !until.load(Ordering::SeqCst) {
            if other.claim(id, LineConfig::as_is(), "thief").is_ok() {
                return true;
            }
        }
        false
    });
    for config in
        [WATCHED, LineConfig::output(false), LineConfig::as_is(), LineConfig::input()].iter().cycle().take(400)
    {
        line.reconfigure(*config)?;
    }
    done.store(true, Ordering::SeqCst);
    must(!thief.join().map_err(|_| "the other panicked")?, "the line was free while it was reconfigured")
}

/// Takes the chip away while its lines are held: everything is `Gone` from then on, nothing hangs.
pub(crate) fn unplugged(mut boards: Vec<LinuxBoard>, sim: GpioSim) -> Outcome {
    let mut held = Vec::new();
    for (board, first) in boards.iter_mut().zip((2..).step_by(2)) {
        held.push((board.claim(LineId(first), LineConfig::output(true), "conformance")?, LineConfig::output(true)));
        held.push((board.claim(LineId(first + 1), WATCHED, "conformance")?, WATCHED));
    }
    sim.unplug()?;
    for (line, config) in &mut held {
        gone(line.is_high(), "is_high")?;
        gone(line.reconfigure(LineConfig::input()), "reconfigure")?;
        if config.is_output() {
            gone(line.set_low(), "set_low")?;
        }
    }
    for board in &mut boards {
        gone(board.info(LineId(2)), "info")?;
        gone(board.claim(LineId(8), LineConfig::input(), "conformance"), "claim")?;
    }
    gone(LinuxBoard::open_header(), "open_header")
}

fn readable(line: &LinuxLine) -> Result<bool, Box<dyn Error>> {
    let fd = line.edge_fd().ok_or("a watched line has no descriptor")?;
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now))? == 1)
}

fn gone<T, E: Fault>(answer: Result<T, E>, what: &str) -> Outcome {
    match answer {
        Err(error) if error.fault() == FaultKind::Gone => Ok(()),
        Err(error) => Err(format!("{what} is {:?}: {error}", error.fault()).into()),
        Ok(_) => Err(format!("{what} goes through").into()),
    }
}

fn must(holds: bool, otherwise: &str) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
