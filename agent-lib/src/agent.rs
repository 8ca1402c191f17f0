//! The owner of a board: who holds which line, and how.

use alloc::collections::{BTreeMap, BTreeSet};

use hal_core::{Board, Instant, Line, LineConfig, LineId, LineMode};

use crate::event::Events;
use crate::expire::{Expired, Overdue};
use crate::lease::Leased;
use crate::port::Port;
use crate::pulse::Running;
use crate::pwm::Soft;
use crate::watch::Hub;
use crate::{Bus, Caller, Holder, Policy, PwmBlock, Reading, Refusal, SafeState, Token};

/// A board and the people who use its lines.
///
/// `now` is the time of the call on the board's clock ([`Board::now`]). When an agent is dropped, also by a panic that
/// unwinds, it leaves every output in its safe state as far as the hardware lets it.
///
/// Leases, pulses and debouncing need the host to come back: it calls [`handle_timeout`](Self::handle_timeout) at
/// [`poll_timeout`](Self::poll_timeout), and looks at [`poll_event`](Self::poll_event) after each call.
#[derive(Debug)]
pub struct Agent<B: Board> {
    pub(crate) board: B,
    pub(crate) pwm: PwmBlock,
    /// Lines that have been asked of the GPIO chip: whatever their pins led to before, it is GPIO now.
    pub(crate) used_as_gpio: BTreeSet<LineId>,
    pub(crate) policy: Policy,
    pub(crate) held: BTreeMap<LineId, Held<B::Line>>,
    /// Whose lease ran out, on lines that nobody has claimed since.
    pub(crate) expired: BTreeMap<LineId, Expired>,
    pub(crate) next_token: u64,
    pub(crate) events: Events,
    pub(crate) hub: Hub,
    /// The lines of buses that are in use.
    pub(crate) on_bus: BTreeMap<LineId, Bus>,
    /// Free lines that the policy restores as they were last, and the raw level that they were left driven at.
    pub(crate) left_driven: BTreeMap<LineId, bool>,
}

/// A line in somebody's hands.
#[derive(Debug)]
pub(crate) struct Held<L> {
    pub(crate) port: Port<L>,
    pub(crate) holder: Holder,
    /// The agent holds it itself, and gives it to whoever asks first.
    pub(crate) house: Option<House>,
    pub(crate) since: Instant,
    pub(crate) token: Token,
    /// `None`: until released.
    pub(crate) lease: Option<Leased>,
    /// The hold has ended, but the line could not be made safe yet.
    pub(crate) overdue: Option<Overdue>,
    pub(crate) pulse: Option<Running>,
    /// A signal that the agent makes.
    pub(crate) soft: Option<Soft>,
    /// What the holder asked for. The board may have been told more edges and less debouncing.
    pub(crate) wanted: LineConfig,
}

/// What the agent holds a line for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum House {
    /// Restored at start.
    Restore,
    /// Watched while free.
    Watch,
    /// Left high by a PWM channel, which would fall without it.
    Level,
}

impl<B: Board> Agent<B> {
    /// An agent that holds nothing yet. No line is touched.
    pub fn new(board: B, policy: Policy) -> Self {
        Self {
            board,
            pwm: PwmBlock::NONE,
            used_as_gpio: BTreeSet::new(),
            policy,
            held: BTreeMap::new(),
            expired: BTreeMap::new(),
            next_token: 1,
            events: Events::default(),
            hub: Hub::default(),
            on_bus: BTreeMap::new(),
            left_driven: BTreeMap::new(),
        }
    }

    /// The same with this PWM block. Channels that are in use there are not the agent's.
    pub fn with_pwm(mut self, pwm: PwmBlock) -> Self {
        self.pwm = pwm;
        self
    }

    /// The same with this as its first token. A host that outlives reboots gives one above all that were ever granted, so
    /// that a call from before the reboot is refused.
    pub fn with_first_token(mut self, token: u64) -> Self {
        self.next_token = token;
        self
    }

    /// The same with this epoch for the numbers of its records: a number that no earlier agent on this node had. 0
    /// unless given.
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.hub.set_epoch(epoch);
        self
    }

    /// The same remembering this many records for watchers who come back; 1024 unless given.
    pub fn with_memory(mut self, records: usize) -> Self {
        self.hub.set_memory(records);
        self
    }

    /// The board.
    pub fn board(&self) -> &B {
        &self.board
    }

    /// The board, for what goes past the agent. Lines claimed here are not the agent's to hold or to make safe.
    pub fn board_mut(&mut self) -> &mut B {
        &mut self.board
    }

    /// The node's rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Changes the configuration of a line that the caller holds. Ends a pulse, and a signal at the line's first level
    /// (inactive if it has none); "as it is" leaves a signal alone. Renews a lease.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `LeaseExpired`, `StaleToken`, `Held` by somebody else, `NotHeld`, `Hardware`;
    /// `CarriesPwm` if the PWM block drives the line and cannot do this.
    pub fn configure(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        config: LineConfig,
        token: Option<Token>,
    ) -> Result<(), Refusal> {
        self.held_by(now, caller, line, token)?.ok_or(Refusal::NotHeld { line })?;
        self.set_up(line, config)?;
        self.renew(now, line);
        self.look_again(line);
        Ok(())
    }

    /// Reads a line, whoever holds it. A free line is claimed as it is for the moment of reading: its direction is not
    /// touched, so an output goes on driving. (What becomes of it when that claim ends is the kernel's business: see
    /// [`Line`].)
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `Hardware`: a free line may belong to a kernel driver.
    pub fn read(&mut self, now: Instant, line: LineId) -> Result<Reading, Refusal> {
        self.permitted(line)?;
        self.settle(now, line);
        self.look(line)
    }

    /// Reads a line as it is now.
    pub(crate) fn look(&mut self, line: LineId) -> Result<Reading, Refusal> {
        match self.held.get_mut(&line) {
            Some(held) => held.reading(line),
            None => self.reading_of_free(line),
        }
    }

    fn reading_of_free(&mut self, line: LineId) -> Result<Reading, Refusal> {
        let free = self.board.claim(line, LineConfig::as_is(), "reading");
        let free = free.map_err(|fault| Refusal::hardware(line, fault))?;
        self.used_as_gpio.insert(line);
        let level = Port::Gpio(free).level()?;
        Ok(Reading { line, level, raw: level, pulsing: false, pwm: None })
    }

    /// How many lines people hold, and the agent since its start. Free lines that are watched
    /// or left high do not count.
    pub fn held_count(&self) -> usize {
        self.held.values().filter(|held| !held.is_idle()).count()
    }

    /// Sets a held line up as asked for. What moves on it ends, unless the line is to stay as it is.
    pub(crate) fn set_up(&mut self, line: LineId, config: LineConfig) -> Result<(), Refusal> {
        let signal = self.held.get(&line).is_some_and(|held| held.signal().is_some());
        if signal && config == LineConfig::as_is() {
            return Ok(());
        }
        self.end_pulse(line)?;
        self.end_signal(line)?;
        self.reconfigure(line, config)
    }

    /// Sets a held line up as wanted, as far as it is the board's part.
    pub(crate) fn reconfigure(&mut self, line: LineId, wanted: LineConfig) -> Result<(), Refusal> {
        self.pump_line(line); // what waits there might be lost with the old request
        let config = self.on_board(line, wanted);
        let Some(held) = self.held.get_mut(&line) else {
            return Ok(());
        };
        let had_edges = held.has_edges();
        held.port.reconfigure(config)?;
        held.wanted = wanted;
        if had_edges {
            self.queue_restarted(line);
        }
        Ok(())
    }

    /// What the board is told when this is wanted: watchers need every edge, and what it cannot debounce the agent does.
    pub(crate) fn on_board(&self, line: LineId, mut wanted: LineConfig) -> LineConfig {
        if let LineMode::Input { edges, debounce_us, .. } = &mut wanted.mode {
            if self.hub.watches(line) {
                *edges = hal_core::Edges::Both;
            }
            if *debounce_us > 0 && !self.board.caps().kernel_debounce {
                *debounce_us = 0;
            }
        }
        wanted
    }
}

impl<L: Line> Held<L> {
    fn reading(&mut self, line: LineId) -> Result<Reading, Refusal> {
        let level = self.port.level()?;
        let raw = self.port.config().invert_if_active_low(level);
        Ok(Reading { line, level, raw, pulsing: self.pulse.is_some(), pwm: self.signal() })
    }

    /// How the line is left.
    pub(crate) fn safe(&self, declared: SafeState) -> SafeState {
        self.lease.and_then(|lease| lease.safe).unwrap_or(declared)
    }

    /// Nobody's: the agent only keeps it as it is.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.house, Some(House::Watch | House::Level))
    }

    /// Whether the board queues edges of this line.
    pub(crate) fn has_edges(&self) -> bool {
        matches!(self.port.config().mode, LineMode::Input { edges, .. } if edges != hal_core::Edges::None)
    }
}
