//! A claimed line of the simulated chip.

use std::task::{Context, Poll};

use embedded_hal::digital::{ErrorType, InputPin, OutputPin, StatefulOutputPin};
use hal_core::{EdgeEvent, Edges, Line, LineConfig, LineId, LineMode};

use crate::fault::SimError;
use crate::state::{Shared, State};

/// A claimed line. Dropping it frees the line; an output stays driven and a bias stays set.
#[derive(Debug)]
pub struct SimLine {
    shared: Shared,
    id: LineId,
    config: LineConfig,
}

impl SimLine {
    pub(crate) fn new(shared: Shared, id: LineId, config: LineConfig) -> Self {
        Self { shared, id, config }
    }

    fn read(&self) -> Result<bool, SimError> {
        let bit = self.shared.look(|state| state.pad(self.id).map(|pad| pad.bit))?;
        Ok(self.config.invert_if_active_low(bit))
    }

    fn write(&self, level: bool) -> Result<(), SimError> {
        let raw = self.config.invert_if_active_low(level);
        self.shared.with(|state, now| {
            self.driven(state)?;
            state.ordered_fault(self.id)?;
            state.change(now, self.id, |pad| pad.output = pad.output.map(|(drive, _)| (drive, raw)))
        })
    }

    /// The logical level last written.
    fn written(&self) -> Result<bool, SimError> {
        self.shared.look(|state| self.driven(state)).map(|raw| self.config.invert_if_active_low(raw))
    }

    /// The raw level of an output.
    fn driven(&self, state: &State) -> Result<bool, SimError> {
        match state.pad(self.id)?.output.filter(|_| self.config.is_output()) {
            Some((_, raw)) => Ok(raw),
            None => Err(SimError::WrongMode { line: self.id, needed: "an output" }),
        }
    }
}

impl ErrorType for SimLine {
    type Error = SimError;
}

impl InputPin for SimLine {
    fn is_high(&mut self) -> Result<bool, SimError> {
        self.read()
    }

    fn is_low(&mut self) -> Result<bool, SimError> {
        self.read().map(|level| !level)
    }
}

impl OutputPin for SimLine {
    fn set_low(&mut self) -> Result<(), SimError> {
        self.write(false)
    }

    fn set_high(&mut self) -> Result<(), SimError> {
        self.write(true)
    }
}

impl StatefulOutputPin for SimLine {
    fn is_set_high(&mut self) -> Result<bool, SimError> {
        self.written()
    }

    fn is_set_low(&mut self) -> Result<bool, SimError> {
        self.written().map(|level| !level)
    }
}

impl Line for SimLine {
    fn id(&self) -> LineId {
        self.id
    }

    fn config(&self) -> LineConfig {
        self.config
    }

    fn reconfigure(&mut self, config: LineConfig) -> Result<(), SimError> {
        self.shared.with(|state, now| state.reconfigure(now, self.id, config))?;
        self.config = config;
        Ok(())
    }

    fn poll_edge(&mut self, cx: &mut Context<'_>) -> Poll<Result<EdgeEvent, SimError>> {
        if matches!(self.config.mode, LineMode::Input { edges: Edges::Rising | Edges::Falling | Edges::Both, .. }) {
            self.shared.with(|state, _| state.fetch_edge(self.id, cx.waker()))
        } else {
            Poll::Ready(Err(SimError::WrongMode { line: self.id, needed: "an input with edges" }))
        }
    }
}

impl Drop for SimLine {
    fn drop(&mut self) {
        self.shared.with(|state, _| _ = state.pad_mut(self.id).map(|pad| pad.claim = None));
    }
}
