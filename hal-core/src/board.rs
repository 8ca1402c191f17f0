//! A chip full of lines, and what it is able to do.

use crate::{Fault, Instant, Label, Line, LineConfig, LineId};

/// What a board really does, so that nobody has to pretend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caps {
    /// Pull resistors can be set.
    pub bias: bool,
    /// The kernel filters bouncing contacts ([`LineMode::Input`](crate::LineMode)'s `debounce_us`).
    pub kernel_debounce: bool,
    /// Edges are numbered, so that a loss is seen; without, [`Lost`](crate::Lost) is always `Unknown`.
    pub edge_seq: bool,
    /// A task that polls for edges is woken when one comes.
    pub edge_wakeups: bool,
    /// [`Line::reconfigure`] keeps the line requested throughout.
    pub reconfigure_in_place: bool,
    /// Several lines written in one request change at the same moment. False on every Raspberry Pi: its drivers have no
    /// `set_multiple`, and the kernel writes line by line.
    pub atomic_group: bool,
    /// The board tells when another process requests, releases or reconfigures a line.
    pub info_watch: bool,
    /// An output that is released, or whose program dies, stays driven; `None` where nobody says. Without, it becomes an
    /// input and its wire goes where the pull resistors say.
    pub outputs_persist: Option<bool>,
}

/// Which side decides the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The outside.
    Input,
    /// The chip.
    Output,
}

/// What is known of a line without claiming it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LineInfo {
    /// The line.
    pub id: LineId,
    /// The kernel's name for it, from the device tree; empty if it has none. Models before the Pi 4 carry names of
    /// functions or none, so a name is for people and the number is for programs.
    pub name: Label,
    /// Who requested it, in their own words; empty if nobody did or they did not say.
    pub consumer: Label,
    /// Which side decides the level now. Of a line that nobody has, Linux tells what its last user left, even where the
    /// driver made it an input since.
    pub direction: Direction,
    /// Whether its user inverts it.
    pub active_low: bool,
    /// Whether a process or a driver has requested it. A pin muxed to PWM, I²C or SPI may look unused.
    pub used: bool,
}

/// What a chip is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChipInfo {
    /// The driver's label, such as `pinctrl-rp1`.
    pub label: Label,
    /// The number of lines; their ids are below it.
    pub lines: u16,
    /// What stands behind the trait: `gpio-cdev` (the kernel's first interface), `gpiocdev` (its second) or
    /// `simulated`.
    pub backend: &'static str,
}

/// A GPIO chip that hands out its lines.
///
/// Calls take microseconds (one system call each) and do not wait, so the trait is synchronous and needs no runtime.
pub trait Board {
    /// What goes wrong with the chip and its lines.
    type Error: Fault;
    /// A claimed line.
    type Line: Line<Error = Self::Error>;

    /// What this board is able to do. It does not change while the board is open.
    fn caps(&self) -> Caps;

    /// What this chip is. It does not change while the board is open.
    fn chip(&self) -> ChipInfo;

    /// What is known of a line; it is not requested for this.
    ///
    /// # Errors
    ///
    /// `NoSuchLine`; `Gone` if the chip is no longer there.
    fn info(&self, id: LineId) -> Result<LineInfo, Self::Error>;

    /// Requests a line for the caller alone, until it is dropped. Mode, bias and an output's first level are set in one
    /// step. `consumer` is what other processes see as its user, cut at 31 bytes.
    ///
    /// # Errors
    ///
    /// Nothing has changed then. `Busy` if it is requested already, also by this board; `NoSuchLine`, `Denied`,
    /// `Unsupported`, `InvalidConfig`, `Gone`.
    fn claim(&mut self, id: LineId, config: LineConfig, consumer: &str) -> Result<Self::Line, Self::Error>;

    /// Now, on the clock of this board's edges.
    fn now(&self) -> Instant;
}
