//! The owner of a board: who holds which line, and how.

use alloc::collections::BTreeMap;

use hal_core::{Board, Instant, Line, LineConfig, LineId, LineMode};

use crate::event::Events;
use crate::expire::{Expired, Overdue};
use crate::lease::Leased;
use crate::pulse::Running;
use crate::watch::Hub;
use crate::{Bus, Caller, Holder, Policy, Reading, Refusal, SafeState, Token};

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
    pub(crate) line: L,
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
}

impl<B: Board> Agent<B> {
    /// An agent that holds nothing yet. No line is touched.
    pub fn new(board: B, policy: Policy) -> Self {
        Self {
            board,
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

    /// Changes the configuration of a line that the caller holds. Ends a pulse, renews a lease.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `LeaseExpired`, `StaleToken`, `Held` by somebody else, `NotHeld`, `Hardware`.
    pub fn configure(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        config: LineConfig,
        token: Option<Token>,
    ) -> Result<(), Refusal> {
        self.held_by(now, caller, line, token)?.ok_or(Refusal::NotHeld { line })?;
        self.end_pulse(line)?;
        self.reconfigure(line, config)?;
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
        let reading = match self.held.get_mut(&line) {
            Some(held) => reading(&mut held.line, held.pulse.is_some()),
            None => {
                self.board.claim(line, LineConfig::as_is(), "reading").and_then(|mut free| reading(&mut free, false))
            }
        };
        reading.map_err(|fault| Refusal::hardware(line, fault))
    }

    /// How many lines people hold, and the agent since its start. Free lines that are watched do not count.
    pub fn held_count(&self) -> usize {
        self.held.values().filter(|held| held.house != Some(House::Watch)).count()
    }

    /// Sets a held line up as wanted, as far as it is the board's part.
    pub(crate) fn reconfigure(&mut self, line: LineId, wanted: LineConfig) -> Result<(), Refusal> {
        self.pump_line(line); // what waits there might be lost with the old request
        let config = self.on_board(line, wanted);
        let Some(held) = self.held.get_mut(&line) else {
            return Ok(());
        };
        let had_edges = held.has_edges();
        held.line.reconfigure(config).map_err(|fault| Refusal::hardware(line, fault))?;
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
    /// How the line is left.
    pub(crate) fn safe(&self, declared: SafeState) -> SafeState {
        self.lease.and_then(|lease| lease.safe).unwrap_or(declared)
    }

    /// Whether the board queues edges of this line.
    pub(crate) fn has_edges(&self) -> bool {
        matches!(self.line.config().mode, LineMode::Input { edges, .. } if edges != hal_core::Edges::None)
    }
}

fn reading<L: Line>(line: &mut L, pulsing: bool) -> Result<Reading, L::Error> {
    let level = line.is_high()?;
    Ok(Reading { line: line.id(), level, raw: line.config().invert_if_active_low(level), pulsing })
}
