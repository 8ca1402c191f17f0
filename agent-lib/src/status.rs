//! What the agent tells about lines.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use hal_core::{Board, Instant, Line, LineConfig, LineId, LineInfo, LineMode, header};

use crate::agent::Held;
use crate::{Agent, Holder, SafeState, Signal};

/// The level of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The line.
    pub line: LineId,
    /// The logical level: true is active. On a line that nobody holds it is the raw level.
    pub level: bool,
    /// The raw level: true is high.
    pub raw: bool,
    /// Whether a pulse runs on the line.
    pub pulsing: bool,
    /// The signal on the line. If the PWM block makes it, the levels say whether it is active at times.
    pub pwm: Option<Signal>,
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
    /// The configuration that the holder asked for. While the line is watched, an input reports both edges to the
    /// watchers, whatever this says.
    pub config: LineConfig,
    /// Until when unless they renew; absent if they hold it until they release it.
    pub lease: Option<LeaseStatus>,
    /// Whether a pulse runs on it.
    pub pulsing: bool,
    /// The signal on it; absent if there is none.
    pub pwm: Option<Signal>,
    /// Who debounces it; absent if the configuration asks for no debouncing.
    pub debounce: Option<Debounce>,
}

/// How a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseStatus {
    /// How long the holder may be silent.
    pub ttl: Duration,
    /// What is left of that; zero while an expired line cannot be made safe.
    pub left: Duration,
    /// How the line is left.
    pub safe: SafeState,
}

/// Who waits for a bouncing contact to come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Debounce {
    /// The kernel: short disturbances never reach the agent.
    Kernel,
    /// The agent, for those who watch the line. A read shows the wire as it is at the moment, and a contact that bounces
    /// more than 16 times between two looks costs a gap.
    Software,
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
            held: self.held.get(&line).map(|held| held.status(now, self.policy.safe_state(line))),
        }
    }
}

impl<L: Line> Held<L> {
    fn status(&self, now: Instant, declared: SafeState) -> HeldStatus {
        HeldStatus {
            holder: self.holder.clone(),
            held_for: now.saturating_since(self.since),
            config: self.wanted,
            lease: self.lease_status(now, declared),
            pulsing: self.pulse.is_some(),
            pwm: self.signal(),
            debounce: self.debounced_by(),
        }
    }

    fn lease_status(&self, now: Instant, declared: SafeState) -> Option<LeaseStatus> {
        let safe = self.safe(declared);
        self.lease.map(|lease| LeaseStatus { ttl: lease.ttl, left: lease.expires.saturating_since(now), safe })
    }

    fn debounced_by(&self) -> Option<Debounce> {
        let period = |config: LineConfig| match config.mode {
            LineMode::Input { debounce_us, .. } => debounce_us,
            LineMode::AsIs | LineMode::Output { .. } => 0,
        };
        match (period(self.wanted), period(self.port.config())) {
            (0, _) => None,
            (_, 0) => Some(Debounce::Software),
            _ => Some(Debounce::Kernel),
        }
    }
}
