//! What became of each case, on each board.

use alloc::string::String;
use alloc::vec::Vec;

use crate::Caps;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The board keeps the promise.
    Passed,
    /// It does not: what was seen, and what was expected.
    Failed(String),
    /// It could not be tried: the board does not declare the capability, or the harness lacks something.
    NotPossible(String),
}

/// A case and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// The case's name; the same on every board.
    pub case: &'static str,
    /// How it ended.
    pub outcome: Outcome,
}

/// The results of one board or several; prints as a table with a column for each, reasons below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub(super) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) board: String,
    pub(super) caps: Caps,
    pub(super) results: Vec<CaseResult>,
}

impl Report {
    pub(super) fn add(&mut self, board: String, caps: Caps, results: Vec<CaseResult>) {
        self.columns.push(Column { board, caps, results });
    }

    /// The results of one board, in the order of the cases; none if there is no board of this name.
    pub fn of(&self, board: &str) -> impl Iterator<Item = &CaseResult> {
        let columns = self.columns.iter().filter(move |column| column.board == board);
        columns.flat_map(|column| &column.results)
    }

    /// Every case that failed, with the board's name.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &CaseResult)> {
        let all = self.columns.iter().flat_map(|column| column.results.iter().map(|one| (column.board.as_str(), one)));
        all.filter(|(_, one)| matches!(one.outcome, Outcome::Failed(_)))
    }
}
