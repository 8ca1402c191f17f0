//! The simulated chip.

use std::collections::BTreeMap;

use hal_core::{
    Board, Caps, ChipInfo, Direction, Instant, Label, LineConfig, LineId, LineInfo, PI_5_PWM_LINES, PwmLines,
    SpiDeviceId,
};

use crate::bench::Bench;
use crate::bus::{Controller, I2cModel, SimBuses, SpiModel, Wiring};
use crate::clock::Clock;
use crate::edges::Profile;
use crate::fault::SimError;
use crate::line::SimLine;
use crate::pwm::{Block, SimPwmChip};
use crate::state::{Shared, State};

/// A GPIO chip that exists only here.
///
/// It keeps a Raspberry Pi kernel's habits: a second claim is refused, the first level comes with the direction, and a
/// released output stays driven. Clones are the same chip, opened again.
#[derive(Clone, Debug)]
pub struct SimBoard {
    shared: Shared,
    profile: Profile,
    chip: ChipInfo,
    names: BTreeMap<LineId, Label>,
}

impl SimBoard {
    /// A board to be described: 28 lines GPIO0 to GPIO27, no wires, [`Profile::V1`], a virtual clock, label
    /// `sim`, PWM as on a Pi 5, empty buses.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The world outside the chip. It may be cloned, sent away and outlive the board.
    pub fn bench(&self) -> Bench {
        Bench::new(self.shared.clone())
    }

    /// The chip's PWM block.
    pub fn pwm(&self) -> SimPwmChip {
        SimPwmChip::new(self.shared.clone())
    }

    /// The chip's I²C and SPI buses.
    pub fn buses(&self) -> SimBuses {
        SimBuses::new(self.shared.clone())
    }

    fn name(&self, line: LineId) -> Label {
        let own = self.names.get(&line).copied();
        own.unwrap_or_else(|| Label::new(&line.to_string()))
    }
}

impl Board for SimBoard {
    type Error = SimError;
    type Line = SimLine;

    fn caps(&self) -> Caps {
        self.profile.caps()
    }

    fn chip(&self) -> ChipInfo {
        self.chip
    }

    fn info(&self, id: LineId) -> Result<LineInfo, SimError> {
        self.shared.with(|state, _| {
            let pad = state.pad(id)?;
            let claim = pad.claim.as_ref();
            Ok(LineInfo {
                id,
                name: self.name(id),
                consumer: claim.map(|claim| claim.consumer).unwrap_or_default(),
                direction: if pad.output.is_some() { Direction::Output } else { Direction::Input },
                active_low: claim.is_some_and(|claim| claim.config.active_low),
                used: claim.is_some(),
            })
        })
    }

    fn claim(&mut self, id: LineId, config: LineConfig, consumer: &str) -> Result<SimLine, SimError> {
        self.shared.with(|state, now| state.claim(now, id, config, consumer))?;
        Ok(SimLine::new(self.shared.clone(), id, config))
    }

    fn now(&self) -> Instant {
        self.shared.clock.now()
    }
}

/// Describes a [`SimBoard`].
#[derive(Debug)]
pub struct Builder {
    lines: u16,
    wires: Vec<(LineId, LineId)>,
    profile: Profile,
    clock: Clock,
    label: Label,
    names: BTreeMap<LineId, Label>,
    pwm_lines: PwmLines,
    wiring: Wiring,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            lines: 28,
            wires: Vec::new(),
            profile: Profile::default(),
            clock: Clock::default(),
            label: Label::new("sim"),
            names: BTreeMap::new(),
            pwm_lines: PI_5_PWM_LINES,
            wiring: Wiring::default(),
        }
    }
}

impl Builder {
    /// How many lines the chip has.
    pub fn lines(self, lines: u16) -> Self {
        Self { lines, ..self }
    }

    /// Joins two lines by a wire. Wires that share a line are one wire.
    pub fn wire(mut self, a: LineId, b: LineId) -> Self {
        self.wires.push((a, b));
        self
    }

    /// Which of the kernel's interfaces the chip is seen through.
    pub fn profile(self, profile: Profile) -> Self {
        Self { profile, ..self }
    }

    /// The clock to share with the rest of the simulation.
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The kernel's name of a line, cut at 31 bytes. Several lines may bear the same, as on real chips.
    pub fn name(mut self, line: LineId, name: &str) -> Self {
        self.names.insert(line, Label::new(name));
        self
    }

    /// The chip's label, cut at 31 bytes.
    pub fn label(self, label: &str) -> Self {
        Self { label: Label::new(label), ..self }
    }

    /// Which lines can carry which PWM channel; unless told otherwise, as on a Pi 5.
    pub fn pwm_lines(self, pwm_lines: PwmLines) -> Self {
        Self { pwm_lines, ..self }
    }

    /// Whose habits the I²C controllers have.
    pub fn controller(mut self, controller: Controller) -> Self {
        self.wiring.controller = controller;
        self
    }

    /// Puts a device on an I²C bus. Bus 1 is there without any.
    ///
    /// # Panics
    ///
    /// If the address is reserved.
    pub fn i2c(mut self, bus: u8, address: u8, device: impl I2cModel + 'static) -> Self {
        self.wiring.attach_i2c(bus, address, Box::new(device));
        self
    }

    /// Puts a device behind an SPI chip select. Bus 0 has 0 and 1 without any.
    pub fn spi(mut self, bus: u8, chip_select: u8, device: impl SpiModel + 'static) -> Self {
        self.wiring.attach_spi(SpiDeviceId { bus, chip_select }, Box::new(device));
        self
    }

    /// The board, at reset.
    ///
    /// # Panics
    ///
    /// If a wire ends at a line that the chip does not have.
    pub fn build(self) -> SimBoard {
        let chip = ChipInfo { label: self.label, lines: self.lines, backend: "simulated" };
        let state = State::new(self.profile, joined(self.lines, &self.wires), Block::new(self.pwm_lines));
        let shared = Shared::new(self.clock, state, self.wiring);
        SimBoard { shared, profile: self.profile, chip, names: self.names }
    }
}

/// For each line all lines that it is wired to, itself included, in order.
fn joined(lines: u16, wires: &[(LineId, LineId)]) -> Vec<Vec<usize>> {
    let mut wire_of: Vec<usize> = (0..usize::from(lines)).collect();
    for (a, b) in wires {
        assert!(a.0.max(b.0) < lines, "a wire from {a} to {b} needs more than {lines} lines");
        let (kept, gone) = (wire_of[usize::from(a.0)], wire_of[usize::from(b.0)]);
        wire_of.iter_mut().filter(|wire| **wire == gone).for_each(|wire| *wire = kept);
    }
    let on = |wire: &usize| (0..wire_of.len()).filter(|&line| wire_of[line] == *wire).collect();
    wire_of.iter().map(on).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_that_share_a_line_are_one() {
        let wires = joined(5, &[(LineId(0), LineId(1)), (LineId(3), LineId(4)), (LineId(1), LineId(3))]);
        assert_eq!(wires[4], [0, 1, 3, 4]);
        assert_eq!(wires[2], [2]);
    }

    #[test]
    #[should_panic(expected = "a wire from GPIO17 to GPIO28 needs more than 28 lines")]
    fn a_wire_to_nowhere_is_a_mistake() {
        SimBoard::builder().wire(LineId(17), LineId(28)).build();
    }
}
