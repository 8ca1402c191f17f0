//! The owner of a board: who holds which line, and how.

use alloc::collections::BTreeMap;

use hal_core::{Board, Instant, Line, LineConfig, LineId};

use crate::{Holder, LineName, Policy, Reading, Refusal};

/// A board and the people who use its lines.
///
/// `now` is the time of the call on the board's clock ([`Board::now`]). When an agent is dropped, also by a panic that
/// unwinds, it leaves every output in its safe state as far as the hardware lets it.
#[derive(Debug)]
pub struct Agent<B: Board> {
    pub(crate) board: B,
    pub(crate) policy: Policy,
    pub(crate) held: BTreeMap<LineId, Held<B::Line>>,
}

/// A line in somebody's hands.
#[derive(Debug)]
pub(crate) struct Held<L> {
    pub(crate) line: L,
    pub(crate) holder: Holder,
    pub(crate) since: Instant,
}

impl<B: Board> Agent<B> {
    /// An agent that holds nothing yet. No line is touched.
    pub fn new(board: B, policy: Policy) -> Self {
        Self { board, policy, held: BTreeMap::new() }
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

    /// Makes the caller the holder of a line and configures it. Who holds it already has it reconfigured, so that
    /// asking twice does no harm.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `Held` by somebody else, `Hardware`.
    pub fn claim(&mut self, now: Instant, holder: &Holder, line: LineId, config: LineConfig) -> Result<(), Refusal> {
        match self.held_by(now, holder, line)? {
            Some(held) => held.line.reconfigure(config).map_err(|fault| Refusal::hardware(line, fault)),
            None => self.request(now, holder, line, config),
        }
    }

    /// Changes the configuration of a line that the caller holds.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `Held` by somebody else, `NotHeld`, `Hardware`.
    pub fn configure(
        &mut self,
        now: Instant,
        holder: &Holder,
        line: LineId,
        config: LineConfig,
    ) -> Result<(), Refusal> {
        let held = self.held_by(now, holder, line)?.ok_or(Refusal::NotHeld { line })?;
        held.line.reconfigure(config).map_err(|fault| Refusal::hardware(line, fault))
    }

    /// Reads a line, whoever holds it. A free line is claimed as it is for the moment of reading: its direction is not
    /// touched, so an output goes on driving. (What becomes of it when that claim ends is the kernel's business: see
    /// [`Line`].)
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `Hardware`: a free line may belong to a kernel driver.
    pub fn read(&mut self, _now: Instant, line: LineId) -> Result<Reading, Refusal> {
        self.permitted(line)?;
        let reading = match self.held.get_mut(&line) {
            Some(held) => reading(&mut held.line),
            None => self.board.claim(line, LineConfig::as_is(), "reading").and_then(|mut free| reading(&mut free)),
        };
        reading.map_err(|fault| Refusal::hardware(line, fault))
    }

    /// How many lines are held.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// The caller's hold on a line, `None` on a free line; refused if it is somebody else's.
    pub(crate) fn held_by(
        &mut self,
        now: Instant,
        holder: &Holder,
        line: LineId,
    ) -> Result<Option<&mut Held<B::Line>>, Refusal> {
        self.permitted(line)?;
        match self.held.get_mut(&line) {
            Some(held) if held.holder != *holder => {
                let held_for = now.saturating_since(held.since);
                Err(Refusal::Held { line, holder: held.holder.clone(), held_for })
            }
            held => Ok(held),
        }
    }

    /// Claims a free line from the board.
    pub(crate) fn request(
        &mut self,
        now: Instant,
        holder: &Holder,
        line: LineId,
        config: LineConfig,
    ) -> Result<(), Refusal> {
        let claimed = self.board.claim(line, config, holder.as_str());
        let claimed = claimed.map_err(|fault| Refusal::hardware(line, fault))?;
        self.held.insert(line, Held { line: claimed, holder: holder.clone(), since: now });
        Ok(())
    }

    fn permitted(&self, line: LineId) -> Result<(), Refusal> {
        if !self.exists(line) {
            return Err(self.unknown(LineName::Number(line.0.into())));
        }
        if self.policy.allows(line) { Ok(()) } else { Err(Refusal::NotAllowed { line }) }
    }

    pub(crate) fn exists(&self, line: LineId) -> bool {
        line.0 < self.board.chip().lines
    }
}

fn reading<L: Line>(line: &mut L) -> Result<Reading, L::Error> {
    let level = line.is_high()?;
    Ok(Reading { line: line.id(), level, raw: line.config().invert_if_active_low(level) })
}
