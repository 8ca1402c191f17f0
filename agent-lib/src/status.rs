//! What the agent tells about lines.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use hal_core::{Board, Instant, Line, LineConfig, LineId, LineInfo, header};

use crate::agent::Held;
use crate::{Agent, Holder};

/// The level of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The line.
    pub line: LineId,
    /// The logical level: true is active. On a line that nobody holds it is the raw level.
    pub level: bool,
    /// The raw level: true is high.
    pub raw: bool,
}

/// All that is known of an allowed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineStatus {
    /// The line.
    pub line: LineId,
    /// What the board tells without claiming; absent if it could not be read.
    pub info: Option<LineInfo>,
    /// The policy's names for it, in alphabetical order.
    pub aliases: Vec<String>,
    /// The pin of the header J8 that carries it, 1 to 40.
    pub header_pin: Option<u8>,
    /// Who holds it, and how; absent if nobody does.
    pub held: Option<HeldStatus>,
}

/// Who holds a line, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldStatus {
    /// Who holds it.
    pub holder: Holder,
    /// For how long.
    pub held_for: Duration,
    /// The configuration in force.
    pub config: LineConfig,
}

impl<B: Board> Agent<B> {
    /// Every allowed line that the board has, in order.
    pub fn list(&self, now: Instant) -> Vec<LineStatus> {
        self.policy.allowed().filter(|line| self.exists(*line)).map(|line| self.status(now, line)).collect()
    }

    fn status(&self, now: Instant, line: LineId) -> LineStatus {
        let aliases = self.policy.aliases().filter(|(_, of)| *of == line);
        LineStatus {
            line,
            info: self.board.info(line).ok(),
            aliases: aliases.map(|(alias, _)| alias.into()).collect(),
            header_pin: header::pin_of_bcm(line),
            held: self.held.get(&line).map(|held| held.status(now)),
        }
    }
}

impl<L: Line> Held<L> {
    fn status(&self, now: Instant) -> HeldStatus {
        let held_for = now.saturating_since(self.since);
        HeldStatus { holder: self.holder.clone(), held_for, config: self.line.config() }
    }
}
