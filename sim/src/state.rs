//! Everything that the board, its lines and the bench share.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use hal_core::{EdgeEvent, Instant, Label, LineConfig, LineId, LineMode};

use crate::bus::Wiring;
use crate::clock::Clock;
use crate::edges::{EdgeQueue, Profile};
use crate::net::{Level, Strength, resolve};
use crate::pad::{Claim, Pad};
use crate::pwm::Block;
use crate::{Contention, SimError};

/// Contentions that the bench remembers.
const CONTENTIONS: usize = 4096;

/// The chip and its wires behind one lock, the devices on its buses behind another. Who needs both takes one after the
/// other, never within.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    state: Arc<Mutex<State>>,
    wiring: Arc<Mutex<Wiring>>,
}

impl Shared {
    pub(crate) fn new(clock: Clock, mut state: State, wiring: Wiring) -> Self {
        state.settle_all(clock.now());
        Self { clock, state: Arc::new(Mutex::new(state)), wiring: Arc::new(Mutex::new(wiring)) }
    }

    /// Does something on the buses at this moment. Nothing else happens on any of them meanwhile.
    pub(crate) fn on_buses<R>(&self, act: impl FnOnce(&mut Wiring, Instant) -> R) -> R {
        let mut wiring = self.wiring.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut wiring, self.clock.now())
    }

    /// Looks at the chip, whatever the time: a look changes nothing and wakes nobody.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does something to the chip at this moment, then wakes whom it concerns: after the lock, since a waker may do
    /// anything. A test that panicked with the lock held does not take the other tests' board with it.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State, Instant) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state, self.clock.now());
        let woken = mem::take(&mut state.woken);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        result
    }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) profile: Profile,
    pub(crate) contentions: VecDeque<Contention>,
    pub(crate) pwm: Block,
    pads: Vec<Pad>,
    /// For each line the lines on its wire, itself included.
    wires: Vec<Vec<usize>>,
    woken: Vec<Waker>,
}

impl State {
    pub(crate) fn new(profile: Profile, wires: Vec<Vec<usize>>, pwm: Block) -> Self {
        let pads = (0..wires.len()).map(|number| Pad::at_reset(number as u16)).collect();
        Self { profile, contentions: VecDeque::new(), pwm, pads, wires, woken: Vec::new() }
    }

    pub(crate) fn lines(&self) -> u16 {
        self.pads.len() as u16
    }

    pub(crate) fn pad(&self, line: LineId) -> Result<&Pad, SimError> {
        self.pads.get(usize::from(line.0)).ok_or(SimError::NoSuchLine { line, lines: self.lines() })
    }

    pub(crate) fn pad_mut(&mut self, line: LineId) -> Result<&mut Pad, SimError> {
        let lines = self.lines();
        self.pads.get_mut(usize::from(line.0)).ok_or(SimError::NoSuchLine { line, lines })
    }

    /// Changes one line, then lets its wire settle.
    pub(crate) fn change(&mut self, now: Instant, line: LineId, act: impl FnOnce(&mut Pad)) -> Result<(), SimError> {
        act(self.pad_mut(line)?);
        self.settle(now, usize::from(line.0));
        Ok(())
    }

    pub(crate) fn claim(
        &mut self,
        now: Instant,
        line: LineId,
        config: LineConfig,
        consumer: &str,
    ) -> Result<(), SimError> {
        self.pad_mut(line)?.requests += 1;
        if let Some(claim) = &self.pad(line)?.claim {
            return Err(SimError::Busy { line, consumer: claim.consumer });
        }
        self.check(line, config)?;
        self.change(now, line, |pad| pad.configure(config))?;
        // Only now: what the configuration does to the level is no edge, since the kernel takes the interrupt last.
        let edges = EdgeQueue::new(self.profile);
        let consumer = Label::new(consumer);
        self.pad_mut(line)?.claim = Some(Claim { consumer, config, edges });
        Ok(())
    }

    pub(crate) fn reconfigure(&mut self, now: Instant, line: LineId, config: LineConfig) -> Result<(), SimError> {
        self.check(line, config)?;
        self.change(now, line, |pad| pad.configure(config))?;
        let in_place = self.profile.caps().reconfigure_in_place;
        if let Some(claim) = &mut self.pad_mut(line)?.claim {
            claim.config = config;
            if !in_place {
                claim.edges.restart();
            }
        }
        Ok(())
    }

    /// The oldest edge of a claimed line, or a promise to wake this task.
    pub(crate) fn fetch_edge(&mut self, line: LineId, waker: &Waker) -> Poll<Result<EdgeEvent, SimError>> {
        let edge = match self.pad_mut(line) {
            Ok(pad) => pad.claim.as_mut().and_then(|claim| claim.edges.fetch(line, waker)),
            Err(error) => return Poll::Ready(Err(error)),
        };
        edge.map_or(Poll::Pending, |edge| Poll::Ready(Ok(edge)))
    }

    /// The fault that the bench ordered for this line, once.
    pub(crate) fn ordered_fault(&mut self, line: LineId) -> Result<(), SimError> {
        match self.pad_mut(line)?.next_fault.take() {
            Some(kind) => Err(SimError::Injected { line, kind }),
            None => Ok(()),
        }
    }

    fn check(&mut self, line: LineId, config: LineConfig) -> Result<(), SimError> {
        self.ordered_fault(line)?;
        match config.mode {
            LineMode::Input { debounce_us: 1.., .. } => Err(SimError::Debounce { line }),
            _ => Ok(()),
        }
    }

    fn settle_all(&mut self, now: Instant) {
        (0..self.pads.len()).for_each(|line| self.settle(now, line));
    }

    fn settle(&mut self, now: Instant, line: usize) {
        let wire = &self.wires[line];
        let level = resolve(wire.iter().flat_map(|&line| self.pads[line].drivers()));
        if level == Level::Conflict && self.pads[line].level != level {
            self.contentions.push_back(Contention { at: now, lines: self.drivers_of(line) });
            self.contentions.truncate(CONTENTIONS);
        }
        for &line in wire {
            self.woken.extend(self.pads[line].see(now, level));
        }
    }

    fn drivers_of(&self, line: usize) -> Vec<LineId> {
        let strong =
            |line: &&usize| self.pads[**line].drivers().iter().any(|driver| driver.strength == Strength::Strong);
        self.wires[line].iter().filter(strong).map(|&line| LineId(line as u16)).collect()
    }
}
