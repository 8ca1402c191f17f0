//! One line of a GPIO chip: its number, its edges, and what a backend implements.

use core::fmt;
use core::task::{Context, Poll};

use embedded_hal::digital::{ErrorType, InputPin, StatefulOutputPin};

use crate::{Fault, Instant, LineConfig};

/// A line by its offset on the header chip, which on every Raspberry Pi is the BCM number.
///
/// Prints as `GPIO17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub u16);

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GPIO{}", self.0)
    }
}

/// How many edges were lost directly before an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lost {
    /// None.
    None,
    /// This many, at least one.
    Some(u32),
    /// The board cannot know; see [`Caps::edge_seq`](crate::Caps). Read the level after a burst.
    Unknown,
}

/// One change of a line's logical level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EdgeEvent {
    /// The line.
    pub line: LineId,
    /// True from inactive to active, in logical levels.
    pub rising: bool,
    /// When the kernel saw it, on the board's clock ([`Board::now`](crate::Board::now)).
    pub at: Instant,
    /// The event's number on this line since it was claimed, from 1; absent where the board does not count.
    pub seq: Option<u32>,
    /// What was lost before it.
    pub lost: Lost,
}

/// A claimed line: an embedded-hal pin whose mode can be changed.
///
/// `InputPin` and `OutputPin` speak in logical levels. Reading works in every mode and gives the wire's level; writing
/// and `StatefulOutputPin` work on outputs only and are a `WrongMode` fault otherwise. `is_set_high` gives what was last
/// written, which on an open-drain line is not what the wire shows.
///
/// Dropping the line frees it. The level after that is the kernel's business: Raspberry Pi kernels go on driving an
/// output (`persist_gpio_outputs`), others may turn it into an input.
pub trait Line: InputPin + StatefulOutputPin + ErrorType<Error: Fault> {
    /// Which line this is.
    fn id(&self) -> LineId;

    /// The configuration in force.
    fn config(&self) -> LineConfig;

    /// Changes the configuration. With [`Caps::reconfigure_in_place`](crate::Caps) the line stays requested throughout;
    /// without, another process can take it in between.
    ///
    /// # Errors
    ///
    /// The old configuration stays in force, unless the fault is `Gone`.
    fn reconfigure(&mut self, config: LineConfig) -> Result<(), Self::Error>;

    /// The next edge, oldest first.
    ///
    /// `Pending` means that there is none now. The task is woken when one comes if [`Caps::edge_wakeups`](crate::Caps);
    /// otherwise the caller polls again when it learns by other means that there may be one.
    ///
    /// # Errors
    ///
    /// `WrongMode` on a line that is not an input with edges.
    fn poll_edge(&mut self, cx: &mut Context<'_>) -> Poll<Result<EdgeEvent, Self::Error>>;
}
