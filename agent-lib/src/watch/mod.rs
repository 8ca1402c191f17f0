//! Watching lines: snapshots, edges, changes, and gaps instead of silence.

mod debounce;
mod edges;
mod hub;
mod record;
mod subscriber;

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use hal_core::{Board, Direction, Edges, Instant, Line, LineConfig, LineId, LineMode};

pub(crate) use hub::Hub;
pub use record::{EdgeClock, Missed, Position, Record, What};

use crate::agent::{Held, House};
use crate::{Agent, Reading, Refusal};
use debounce::Filter;

/// One watcher. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u64);

impl<B: Board> Agent<B> {
    /// Follows these lines. First comes a snapshot of each; after that what happens. `capacity` records may wait, one at
    /// least; more are dropped, and a gap says how many. Watchers do not affect each other.
    ///
    /// A free input is claimed for the watchers, with both edges, until somebody claims it or the last watcher leaves; a
    /// free output is left alone and tells what is written through the agent. An input that somebody holds reports both
    /// edges from now on; what it is held as does not change.
    ///
    /// `resume` takes up where another watch ended: instead of snapshots come the records after that position. Where that
    /// cannot be without loss (forgotten, another epoch, a line that nobody watched in between) come a gap and fresh
    /// snapshots. A host that wants its clients to be able to come back keeps the old watch for a while, since lines
    /// without watchers have no history.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `Hardware`: a free line may belong to a kernel driver. Nothing is watched then.
    pub fn watch(
        &mut self,
        now: Instant,
        lines: &[LineId],
        capacity: usize,
        resume: Option<Position>,
    ) -> Result<WatchId, Refusal> {
        lines.iter().try_for_each(|line| self.permitted(*line))?;
        lines.iter().for_each(|line| self.settle(now, *line));
        let lines: BTreeSet<_> = lines.iter().copied().collect();
        let new: BTreeSet<_> = lines.iter().copied().filter(|line| !self.hub.watches(*line)).collect();
        match self.begin(now, &new).and_then(|()| self.first(&lines, resume)) {
            Ok(first) => Ok(self.hub.subscribe(lines, capacity, first)),
            Err(refusal) => {
                new.into_iter().for_each(|line| self.stop_watching(line));
                Err(refusal)
            }
        }
    }

    /// The oldest record that a watcher has not seen. `None` also of a watch that has ended.
    pub fn next(&mut self, watch: WatchId) -> Option<Record> {
        self.hub.next(watch)
    }

    /// Whether anybody follows a line.
    pub fn is_watched(&self) -> bool {
        self.hub.has_subscribers()
    }

    /// Ends a watch. Lines that nobody else watches go back to what their holders asked for, or are free.
    pub fn unwatch(&mut self, watch: WatchId) {
        self.hub.unsubscribe(watch).into_iter().for_each(|line| self.stop_watching(line));
    }

    fn begin(&mut self, now: Instant, lines: &BTreeSet<LineId>) -> Result<(), Refusal> {
        lines.iter().try_for_each(|line| {
            self.hub.begin(*line);
            self.arm(now, *line)?;
            self.look_again(*line); // with a number of its own, above all that were told while nobody watched this line
            self.hub.begun(*line);
            Ok(())
        })
    }

    /// Has a newly watched line report its edges.
    fn arm(&mut self, now: Instant, line: LineId) -> Result<(), Refusal> {
        match self.held.get(&line) {
            Some(held) if held.wants_input() => {
                let wanted = held.wanted;
                self.discard(line);
                self.reconfigure(line, wanted)?;
            }
            None if !self.board.info(line).is_ok_and(|info| info.direction == Direction::Output) => {
                self.take_for_house(now, House::Watch, line, LineConfig::input())?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What a new watcher is told first.
    fn first(&mut self, lines: &BTreeSet<LineId>, resume: Option<Position>) -> Result<VecDeque<Record>, Refusal> {
        lines.iter().for_each(|line| self.pump_line(*line)); // what waits there is older than the snapshot
        if let Some(records) = resume.and_then(|position| self.hub.after(position, lines)) {
            return Ok(records);
        }
        let position = self.hub.last();
        let gap = resume.map(|_| Record { position, what: What::Gap { line: None, missed: Missed::Unknown } });
        let mut first: VecDeque<_> = gap.into_iter().collect();
        for line in lines {
            first.push_back(Record { position, what: self.snapshot(*line)? });
        }
        Ok(first)
    }

    fn stop_watching(&mut self, line: LineId) {
        self.hub.end(line);
        match self.held.get(&line) {
            Some(held) if held.house == Some(House::Watch) => _ = self.held.remove(&line),
            Some(held) if held.wants_input() && held.port.config() != self.on_board(line, held.wanted) => {
                // Edges that nobody fetches do no harm, so a line that cannot be set back keeps them.
                let wanted = held.wanted;
                _ = self.reconfigure(line, wanted);
            }
            _ => {}
        }
    }

    /// Keeps a line that is about to be free for its watchers, if it is an input. An output has just been left in its
    /// safe state, which must not be undone.
    pub(crate) fn keep_watching(&mut self, now: Instant, line: LineId) -> bool {
        let watched = self.hub.watches(line);
        let Some(held) = self.held.get(&line).filter(|held| watched && held.wants_input()) else {
            return false;
        };
        let wanted = held.wanted.with_edges(Edges::Both);
        let kept = self.reconfigure(line, wanted).is_ok();
        if let Some(held) = self.held.get_mut(&line).filter(|_| kept) {
            held.keep_for_watchers(now);
        }
        kept
    }

    /// Tells the watchers of a line how it stands, from scratch.
    pub(crate) fn look_again(&mut self, line: LineId) {
        if !self.hub.watches(line) {
            return;
        }
        if !self.held.contains_key(&line) && self.leads_to_pwm(line) {
            // looking would lead the pin away from the PWM block
            return self.hub.publish(line, hub::gap(line, Missed::Unknown));
        }
        match self.refilter(line).and_then(|()| self.snapshot(line)) {
            Ok(snapshot) => self.hub.publish(line, snapshot),
            Err(_) => self.hub.publish(line, hub::gap(line, Missed::Unknown)),
        }
    }

    /// Tells the watchers of an output that it was written.
    pub(crate) fn changed(&mut self, line: LineId) {
        if !self.hub.watches(line) {
            return;
        }
        let at = self.board.now();
        match self.look(line) {
            Ok(Reading { level, raw, .. }) => self.hub.publish(line, What::Changed { line, level, raw, at }),
            Err(_) => self.hub.publish(line, hub::gap(line, Missed::Unknown)),
        }
    }

    /// How a line stands.
    fn snapshot(&mut self, line: LineId) -> Result<What, Refusal> {
        let Reading { mut level, mut raw, .. } = self.look(line)?;
        let debounced = self.hub.watched(line).and_then(|watched| Some(watched.filter.as_ref()?.level()));
        let held = self.held.get(&line);
        let (config, holder) = (held.map(|held| held.wanted), held.map(|held| held.holder.clone()));
        if let (Some(debounced), Some(config)) = (debounced, config) {
            (level, raw) = (debounced, config.invert_if_active_low(debounced));
        }
        Ok(What::Snapshot { line, level, raw, config, holder, at: self.board.now() })
    }

    /// Debounces a watched line afresh, from the level it has now.
    fn refilter(&mut self, line: LineId) -> Result<(), Refusal> {
        let period = self.held.get(&line).map(Held::software_debounce).unwrap_or_default();
        let filter = match period {
            Duration::ZERO => None,
            period => Some(Filter::new(period, self.look(line)?.level)),
        };
        if let Some(watched) = self.hub.watched(line) {
            watched.filter = filter;
        }
        Ok(())
    }
}

impl<L: Line> Held<L> {
    fn wants_input(&self) -> bool {
        matches!(self.wanted.mode, LineMode::Input { .. })
    }

    /// The debouncing that was asked for and that the board does not do.
    fn software_debounce(&self) -> Duration {
        match (self.wanted.mode, self.port.config().mode) {
            (LineMode::Input { debounce_us, .. }, LineMode::Input { debounce_us: 0, .. }) => {
                Duration::from_micros(debounce_us.into())
            }
            _ => Duration::ZERO,
        }
    }

    fn keep_for_watchers(&mut self, now: Instant) {
        self.holder = House::Watch.holder();
        self.house = Some(House::Watch);
        self.since = now;
        (self.lease, self.overdue, self.pulse) = (None, None, None);
        self.soft = None;
    }
}
