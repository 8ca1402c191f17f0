//! A board on gpio-sim, as the test kit wants it.

use std::thread;
use std::time::Duration;

use hal_core::conformance::kernel::{Act, GpioSim, Trace};
use hal_core::conformance::{Harness, Need};
use hal_core::{Board, LineId};

/// The line that is played with.
const LINE: LineId = LineId(17);

/// A board that drives the simulated chip.
pub(crate) struct OnGpioSim<'s, B> {
    pub(crate) board: B,
    pub(crate) sim: &'s GpioSim,
    pub(crate) trace: &'s mut Trace,
    pub(crate) too_many: u32,
    /// Whether the driver was told last to drive the line.
    drives: bool,
    /// The level after the last look at the trace.
    level: bool,
}

impl<'s, B: Board> OnGpioSim<'s, B> {
    /// Of a line that nobody has driven since the chip was made, or whose last user left it as an input.
    pub(crate) fn new(board: B, sim: &'s GpioSim, trace: &'s mut Trace, too_many: u32) -> Self {
        Self { board, sim, trace, too_many, drives: false, level: false }
    }

    /// The levels that the driver was told to set, where they were others than before.
    fn follow(&mut self) -> Vec<bool> {
        let mut changes = Vec::new();
        for told in self.trace.take().expect("a whole trace").into_iter().filter(|told| told.line == LINE) {
            match told.act {
                Act::Input => self.drives = false,
                Act::Output => self.drives = true,
                Act::Set(level) if level != self.level => {
                    changes.push(level);
                    self.level = level;
                }
                Act::Set(_) | Act::Read(_) => {}
            }
        }
        self.level = self.sim.value(LINE).expect("gpio-sim tells a level");
        changes
    }
}

impl<B: Board> Harness for OnGpioSim<'_, B> {
    type Board = B;

    fn board(&mut self) -> &mut B {
        &mut self.board
    }

    fn line(&self) -> LineId {
        LINE
    }

    fn lacks(&self, need: Need) -> Option<&'static str> {
        match need {
            Need::SharedWire => Some("gpio-sim does not show what becomes of a wire that an output lets go"),
            Need::Persistence => {
                Some("gpio-sim sets a released line to its pull; a Raspberry Pi's kernel leaves it driven")
            }
            _ => None,
        }
    }

    /// Letting go leaves the level until the chip's own pull changes it.
    fn drive(&mut self, line: LineId, level: Option<bool>) {
        if let Some(high) = level {
            self.sim.pull(line, high).expect("gpio-sim takes a pull");
        }
    }

    fn level(&mut self, line: LineId) -> Option<bool> {
        Some(self.sim.value(line).expect("gpio-sim tells a level"))
    }

    /// By the kernel's trace of what the driver is told.
    fn changes(&mut self, _: LineId) -> Vec<bool> {
        self.follow()
    }

    fn driven(&mut self, line: LineId) -> Option<bool> {
        self.follow();
        self.drives.then(|| self.level(line))?
    }

    fn settle(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn too_many_edges(&self) -> u32 {
        self.too_many
    }
}
