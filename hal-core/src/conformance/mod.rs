//! The test kit for boards: what [`Board`] and [`Line`](crate::Line) promise, as cases that any board can be held against.
//!
//! Whoever makes a board writes a [`Harness`], which is the board and the world outside it, and calls [`run`]. Everything
//! is said in the [`Report`], which prints as a table of cases and boards. A case ends as [`Outcome::Passed`],
//! [`Outcome::Failed`] with what was seen, or [`Outcome::NotPossible`] with the reason; none is left out in silence.
//!
//! The kit needs alloc, no std. It plays with one line, [`Harness::line`]: connect nothing to it that could mind.
//!
//! ```
//! use core::time::Duration;
//! use hal_core::conformance::{Harness, Need, Report, run};
//! # use hal_core::{Board, LineId};
//!
//! struct OnMyDesk<B> {
//!     board: B,
//! }
//!
//! impl<B: Board> Harness for OnMyDesk<B> {
//!     type Board = B;
//!     fn board(&mut self) -> &mut B {
//!         &mut self.board
//!     }
//!     fn line(&self) -> LineId {
//!         LineId(17)
//!     }
//!     fn lacks(&self, need: Need) -> Option<&'static str> {
//!         match need {
//!             Need::Edges => None,
//!             _ => Some("nothing is connected to the line"),
//!         }
//!     }
//!     fn drive(&mut self, _: LineId, _: Option<bool>) {}
//!     fn level(&mut self, _: LineId) -> Option<bool> {
//!         None
//!     }
//!     fn changes(&mut self, _: LineId) -> Vec<bool> {
//!         Vec::new()
//!     }
//!     fn driven(&mut self, _: LineId) -> Option<bool> {
//!         None
//!     }
//!     fn settle(&mut self, time: Duration) {
//!         std::thread::sleep(time);
//!     }
//! }
//!
//! fn conforms(board: impl Board) -> bool {
//!     let mut report = Report::default();
//!     run(&mut OnMyDesk { board }, "my board", &mut report);
//!     println!("{report}");
//!     report.failures().next().is_none()
//! }
//! ```

mod claims;
mod edges;
#[cfg(feature = "linux")]
pub mod kernel;
mod levels;
mod outputs;
mod reconfigure;
mod report;
mod stand;
mod table;
mod wake;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

pub use report::{CaseResult, Outcome, Report};

use crate::{Board, LineId};
use stand::{Stand, Verdict};

/// A board, and the world outside it as far as the test has it in hand.
pub trait Harness {
    /// What is tested.
    type Board: Board;

    /// The board. Always the same one.
    fn board(&mut self) -> &mut Self::Board;

    /// The line to play with: nobody else uses it, and it may be driven either way.
    fn line(&self) -> LineId;

    /// Why the harness does not have something, as a fragment that completes "not possible: …"; `None` if it has it. Cases
    /// that need it are then reported as [`Outcome::NotPossible`] with this reason.
    fn lacks(&self, need: Need) -> Option<&'static str>;

    /// Drives the wire from outside, harder than the chip's pull, or lets it go. Not called without [`Need::Drive`].
    fn drive(&mut self, line: LineId, level: Option<bool>);

    /// What a probe on the wire shows; `None` if nothing decides. Not called without [`Need::Level`].
    fn level(&mut self, line: LineId) -> Option<bool>;

    /// The levels that the wire has changed to since the last call, oldest first. Not called without [`Need::History`].
    fn changes(&mut self, line: LineId) -> Vec<bool>;

    /// The raw level that the chip itself drives the wire to; `None` while it lets go. Not called without
    /// [`Need::Driven`].
    fn driven(&mut self, line: LineId) -> Option<bool>;

    /// Lets time pass on the board's clock, for a change to get through.
    fn settle(&mut self, time: Duration);

    /// How many edges, 2 ms apart, are more than the board keeps for somebody who does not fetch them. The default, 40,
    /// is more than the kernel's default of 16.
    fn too_many_edges(&self) -> u32 {
        40
    }
}

/// What a case may need of a [`Harness`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// The outside can drive the line high and low while it is an input.
    Drive,
    /// The outside can let go, so that the chip's own pull decides.
    LetGo,
    /// The outside sees the wire's level.
    Level,
    /// The outside can pull a wire that an open-drain or open-source output has let go, and sees its pull.
    SharedWire,
    /// The outside remembers every change of the wire's level, however short.
    History,
    /// The outside sees what the chip drives, and when it lets go.
    Driven,
    /// An output stays driven when nobody has the line any more, as on Raspberry Pi kernels.
    Persistence,
    /// The chip reports edges.
    Edges,
}

/// One promise and how it is tried.
struct Case<H: Harness> {
    name: &'static str,
    attempt: fn(&mut Stand<'_, H>) -> Verdict,
}

/// In the order in which a broken board is best understood.
fn cases<H: Harness>() -> impl Iterator<Item = Case<H>> {
    let all = [claims::cases(), levels::cases(), outputs::cases(), reconfigure::cases(), edges::cases()];
    all.into_iter().flatten()
}

/// Holds a board against every promise and adds a column called `name` to the report.
///
/// The line is left claimed by nobody, as an input if the board allows it.
pub fn run<H: Harness>(harness: &mut H, name: &str, report: &mut Report) {
    let caps = harness.board().caps();
    let mut results = Vec::new();
    for case in cases::<H>() {
        let mut stand = Stand::new(harness);
        stand.clear();
        let outcome = (case.attempt)(&mut stand).into();
        stand.clear();
        results.push(CaseResult { case: case.name, outcome });
    }
    report.add(String::from(name), caps, results);
}
