//! More outputs for three wires.

use hal_core::{Instant, LineId};

use super::SpiModel;
use crate::net::Driver;

/// A shift register of eight bits with a latch, such as a 74HC595: the last byte before its chip select ends appears on
/// its outputs, the lowest bit on the first. The byte before that leaves at the other end, to be read.
///
/// Its outputs drive lines of the board as test leads do.
#[derive(Clone, Debug)]
pub struct ShiftRegister {
    outputs: Vec<LineId>,
    bits: u8,
}

impl ShiftRegister {
    /// A register with these lines at its outputs; those after the eighth hang in the air.
    pub fn new(outputs: impl Into<Vec<LineId>>) -> Self {
        Self { outputs: outputs.into(), bits: 0 }
    }
}

impl SpiModel for ShiftRegister {
    fn exchange(&mut self, _now: Instant, byte: u8) -> u8 {
        std::mem::replace(&mut self.bits, byte)
    }

    fn deselect(&mut self, _now: Instant) -> Vec<(LineId, Driver)> {
        let driven = |(bit, line): (usize, &LineId)| (*line, Driver::strong(self.bits >> bit & 1 == 1));
        self.outputs.iter().take(8).enumerate().map(driven).collect()
    }
}
