//! One line of the simulated chip: what it drives, what it sees, who has it.

use std::collections::VecDeque;
use std::task::Waker;

use hal_core::{Bias, Drive, FaultKind, Instant, Label, LineConfig, LineMode};

use crate::edges::EdgeQueue;
use crate::net::{Driver, Level};

/// Changes of level that a line remembers, so that a simulation may run for months.
const HISTORY: usize = 4096;

#[derive(Debug)]
pub(crate) struct Pad {
    /// The drive and the raw level of an output. Nobody resets it when the line is released: on Raspberry Pi kernels an
    /// output outlives its program (`persist_gpio_outputs`), and so does its bias.
    pub(crate) output: Option<(Drive, bool)>,
    pub(crate) pull: Driver,
    pub(crate) outside: Driver,
    pub(crate) level: Level,
    /// What a read gives: the level's bit, or the last one while there is none.
    pub(crate) bit: bool,
    pub(crate) history: VecDeque<(Instant, Level)>,
    pub(crate) claim: Option<Claim>,
    /// How often the line was requested since reset, also in vain.
    pub(crate) requests: u64,
    pub(crate) next_fault: Option<FaultKind>,
}

#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) consumer: Label,
    pub(crate) config: LineConfig,
    pub(crate) edges: EdgeQueue,
}

impl Pad {
    /// A line after reset: an input with the chip's pull.
    pub(crate) fn at_reset(number: u16) -> Self {
        Self {
            output: None,
            pull: pull_at_reset(number),
            outside: Driver::OPEN,
            level: Level::Floating,
            bit: false,
            history: VecDeque::new(),
            claim: None,
            requests: 0,
            next_fault: None,
        }
    }

    /// Everything on this line that drives the wire.
    pub(crate) fn drivers(&self) -> [Driver; 3] {
        [self.output.map_or(Driver::OPEN, output_driver), self.pull, self.outside]
    }

    /// Takes on direction, bias and level in one step.
    pub(crate) fn configure(&mut self, config: LineConfig) {
        match config.mode {
            LineMode::AsIs => {}
            LineMode::Input { bias, .. } => {
                self.output = None;
                self.bias(bias);
            }
            LineMode::Output { drive, bias, initial } => {
                self.output = Some((drive, config.invert_if_active_low(initial)));
                self.bias(bias);
            }
        }
    }

    /// Notices the wire's level. Answers whom to wake.
    pub(crate) fn see(&mut self, now: Instant, level: Level) -> Option<Waker> {
        if level != self.level {
            self.remember(now, level);
        }
        self.level = level;
        let before = self.bit;
        self.bit = level.bit().unwrap_or(before);
        if self.bit == before { None } else { self.edge(now) }
    }

    fn edge(&mut self, now: Instant) -> Option<Waker> {
        let claim = self.claim.as_mut()?;
        let rising = claim.config.invert_if_active_low(self.bit);
        match claim.config.mode {
            LineMode::Input { edges, .. } if edges.wants(rising) => claim.edges.push(rising, now),
            _ => None,
        }
    }

    fn remember(&mut self, now: Instant, level: Level) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((now, level));
    }

    fn bias(&mut self, bias: Bias) {
        self.pull = match bias {
            Bias::AsIs => self.pull,
            Bias::Disabled => Driver::OPEN,
            Bias::PullUp => Driver::pull(true),
            Bias::PullDown => Driver::pull(false),
        };
    }
}

/// GPIO0 to 8 are pulled up and 9 to 27 down after reset (BCM2835 ARM Peripherals, table 6-31; the same on RP1). What a
/// Pi does to its own lines above is not modelled: they float.
fn pull_at_reset(number: u16) -> Driver {
    match number {
        0..=8 => Driver::pull(true),
        9..=27 => Driver::pull(false),
        _ => Driver::OPEN,
    }
}

fn output_driver((drive, high): (Drive, bool)) -> Driver {
    match (drive, high) {
        (Drive::OpenDrain, true) | (Drive::OpenSource, false) => Driver::OPEN,
        _ => Driver::strong(high),
    }
}
