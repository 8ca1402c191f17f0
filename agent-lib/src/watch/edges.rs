//! Fetching edges from the board and handing them out.

use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};

use hal_core::{Board, EdgeEvent, Instant, Line, LineId, Lost};

use super::hub::gap;
use super::{EdgeClock, Missed, What};
use crate::Agent;
use crate::port::Port;

/// Edges fetched from one line before the next line has its turn.
const TURN: usize = 64;

/// Edges that the kernel's first interface keeps for a line (`lineevent_state` in `drivers/gpio/gpiolib-cdev.c`). Who
/// finds as many at once cannot know what was dropped behind them.
const FIFO: u32 = 16;

impl<B: Board> Agent<B> {
    /// Fetches the edges of all watched lines and hands them to their watchers. The task is woken when there are more, if
    /// [`Caps::edge_wakeups`](hal_core::Caps); any later call on the agent keeps this promise alive, so that a host needs
    /// to poll only when it is woken. The edges of a line come in order; for the order across lines go by their times.
    pub fn poll_edges(&mut self, cx: &mut Context<'_>) {
        self.hub.waker = Some(cx.waker().clone());
        self.pump();
    }

    fn pump(&mut self) {
        let lines: Vec<_> = self.hub.lines().collect();
        lines.into_iter().for_each(|line| self.pump_line(line));
    }

    /// Fetches what waits on one line, if it is watched.
    pub(crate) fn pump_line(&mut self, line: LineId) {
        if !self.hub.watches(line) {
            return;
        }
        for _ in 0..TURN {
            match self.fetch(line) {
                Some(Poll::Ready(Ok(edge))) => self.fetched(line, edge),
                Some(Poll::Ready(Err(_))) => return self.unfetched(line),
                Some(Poll::Pending) => return self.drained(line),
                None => return,
            }
        }
        self.waker().wake(); // there may be more, and nobody else would say so
    }

    /// Throws away edges from before anybody watched.
    pub(crate) fn discard(&mut self, line: LineId) {
        // An unwatched line holds a queue's worth; an endless storm is cut short.
        let waiting = |_: &u32| matches!(self.fetch(line), Some(Poll::Ready(Ok(_))));
        _ = (0..1024).take_while(waiting).count();
        if let Some(watched) = self.hub.watched(line) {
            watched.burst = 0;
        }
    }

    /// Tells of a new queue of edges on a watched line: the board may have dropped some with the old one.
    pub(crate) fn queue_restarted(&mut self, line: LineId) {
        if self.hub.watches(line) && !self.board.caps().reconfigure_in_place {
            self.hub.publish(line, gap(line, Missed::Unknown));
        }
    }

    /// Reports the edges that have been stable long enough by `now`.
    pub(crate) fn debounce(&mut self, now: Instant) {
        let due = self.hub.deadlines().any(|at| at <= now);
        if !due {
            return;
        }
        self.pump(); // an edge that waits there may say that the level was not stable
        let lines: Vec<_> = self.hub.lines().collect();
        for line in lines {
            let filter = self.hub.watched(line).and_then(|watched| watched.filter.as_mut());
            let settled = filter.and_then(|filter| filter.settled(now));
            settled.into_iter().for_each(|edge| self.tell(line, edge));
        }
    }

    /// One look at a line's queue; `None` if it has none.
    fn fetch(&mut self, line: LineId) -> Option<Poll<Result<EdgeEvent, B::Error>>> {
        let waker = self.waker();
        let held = self.held.get_mut(&line).filter(|held| held.has_edges())?;
        match &mut held.port {
            Port::Gpio(input) => Some(input.poll_edge(&mut Context::from_waker(&waker))),
            Port::Pwm(_) => None,
        }
    }

    fn waker(&self) -> Waker {
        self.hub.waker.clone().unwrap_or_else(|| Waker::noop().clone())
    }

    fn fetched(&mut self, line: LineId, edge: EdgeEvent) {
        if let Lost::Some(missed) = edge.lost {
            self.hub.publish(line, gap(line, Missed::Exactly(missed.into())));
        }
        let Some(watched) = self.hub.watched(line) else {
            return;
        };
        watched.failing = false;
        watched.burst = if edge.lost == Lost::Unknown { watched.burst.saturating_add(1) } else { 0 };
        let counts = match &mut watched.filter {
            Some(filter) => filter.edge(edge),
            None => Some(edge),
        };
        counts.into_iter().for_each(|edge| self.tell(line, edge));
    }

    /// The queue is empty. If it was full before, and the board cannot know what it dropped, the line is read anew.
    fn drained(&mut self, line: LineId) {
        let burst = self.hub.watched(line).map(|watched| core::mem::take(&mut watched.burst)).unwrap_or_default();
        if burst >= FIFO {
            self.hub.publish(line, gap(line, Missed::Unknown));
            self.look_again(line);
        }
    }

    /// The board does not give the edges: said once, until it does again.
    fn unfetched(&mut self, line: LineId) {
        let first = self.hub.watched(line).is_some_and(|watched| !core::mem::replace(&mut watched.failing, true));
        if first {
            self.hub.publish(line, gap(line, Missed::Unknown));
        }
    }

    fn tell(&mut self, line: LineId, edge: EdgeEvent) {
        let EdgeEvent { rising, at, seq, .. } = edge;
        self.hub.publish(line, What::Edge { line, rising, at, seq_of_kernel: seq, clock: EdgeClock::Board });
    }
}
