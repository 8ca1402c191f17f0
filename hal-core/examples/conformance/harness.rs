//! A board on gpio-sim, as the test kit wants it.

use std::thread;
use std::time::Duration;

use hal_core::conformance::{Harness, Need};
use hal_core::{Board, LineId};

use crate::gpio_sim::GpioSim;

/// A board that drives the simulated chip.
pub(crate) struct OnGpioSim<'s, B> {
    pub(crate) board: B,
    pub(crate) sim: &'s GpioSim,
    pub(crate) too_many: u32,
}

impl<B: Board> Harness for OnGpioSim<'_, B> {
    type Board = B;

    fn board(&mut self) -> &mut B {
        &mut self.board
    }

    fn line(&self) -> LineId {
        LineId(17)
    }

    fn lacks(&self, need: Need) -> Option<&'static str> {
        match need {
            Need::SharedWire => Some("gpio-sim does not show what becomes of a wire that an output lets go"),
            Need::History => Some("gpio-sim does not record levels"),
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

    fn changes(&mut self, _: LineId) -> Vec<bool> {
        Vec::new()
    }

    fn settle(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn too_many_edges(&self) -> u32 {
        self.too_many
    }
}
