//! A report as a table for people: cases down, boards across, reasons as notes below.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::report::{Column, Outcome, Report};
use crate::Caps;

/// What [`Caps`] declares, by name.
fn declared(caps: Caps) -> [(&'static str, bool); 8] {
    // In full, so that a new capability is not forgotten here.
    let Caps {
        bias,
        kernel_debounce,
        edge_seq,
        edge_wakeups,
        reconfigure_in_place,
        atomic_group,
        info_watch,
        outputs_persist,
    } = caps;
    [
        ("bias", bias),
        ("kernel debounce", kernel_debounce),
        ("edge numbers", edge_seq),
        ("edge wake-ups", edge_wakeups),
        ("reconfigure in place", reconfigure_in_place),
        ("atomic groups", atomic_group),
        ("info watch", info_watch),
        ("outputs persist", outputs_persist == Some(true)),
    ]
}

/// Reasons, each once, numbered from 1.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn number(&mut self, note: String) -> usize {
        let known = self.0.iter().position(|one| *one == note);
        known.unwrap_or_else(|| {
            self.0.push(note);
            self.0.len() - 1
        }) + 1
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notes = Notes::default();
        let mut rows = self.capabilities();
        rows.extend(self.cases(&mut notes));
        let widths: Vec<usize> = (0..=self.columns.len()).map(|at| width(&rows, at)).collect();
        for row in &rows {
            line(f, row, &widths)?;
        }
        for (index, note) in notes.0.iter().enumerate() {
            write!(f, "\n{:>3}  {note}", index + 1)?;
        }
        Ok(())
    }
}

impl Report {
    fn capabilities(&self) -> Vec<Vec<String>> {
        let names = self.columns.iter().map(|column| column.board.clone());
        let mut rows = Vec::from([row("declares", names)]);
        for (at, (capability, _)) in declared(Caps::default()).into_iter().enumerate() {
            let says = |column: &Column| if declared(column.caps)[at].1 { "yes" } else { "no" }.to_string();
            rows.push(row(capability, self.columns.iter().map(says)));
        }
        rows
    }

    fn cases(&self, notes: &mut Notes) -> Vec<Vec<String>> {
        let mut rows = Vec::from([row("case", self.columns.iter().map(|_| String::new()))]);
        let names = self.columns.first().map(|column| column.results.as_slice()).unwrap_or_default();
        for (at, one) in names.iter().enumerate() {
            let cells = self.columns.iter().map(|column| cell(column, at, notes));
            rows.push(row(one.case, cells.collect::<Vec<_>>()));
        }
        rows
    }
}

fn cell(column: &Column, at: usize, notes: &mut Notes) -> String {
    match column.results.get(at).map(|one| &one.outcome) {
        Some(Outcome::Passed) => "passed".to_string(),
        Some(Outcome::Failed(why)) => format!("FAILED ({})", notes.number(why.clone())),
        Some(Outcome::NotPossible(why)) => format!("not possible ({})", notes.number(why.clone())),
        None => String::new(),
    }
}

fn row(head: &str, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    core::iter::once(head.to_string()).chain(cells).collect()
}

fn width(rows: &[Vec<String>], at: usize) -> usize {
    rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default()
}

fn line(f: &mut fmt::Formatter<'_>, row: &[String], widths: &[usize]) -> fmt::Result {
    let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    writeln!(f, "{}", cells.join("  ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::CaseResult;
    use super::*;

    #[test]
    fn boards_stand_side_by_side_and_reasons_below() {
        let result = |outcome| CaseResult { case: "busy", outcome };
        let mut report = Report::default();
        report.add("one".to_string(), Caps::default(), [result(Outcome::Passed)].into());
        let failed = Outcome::Failed("went through".to_string());
        report.add("other".to_string(), Caps { bias: true, ..Caps::default() }, [result(failed)].into());
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "declares              one     other");
        assert_eq!(lines[1], "bias                  no      yes");
        assert_eq!(lines[10], "busy                  passed  FAILED (1)");
        assert_eq!(lines.last(), Some(&"  1  went through"));
        assert_eq!(report.failures().map(|(board, one)| (board, one.case)).collect::<Vec<_>>(), [("other", "busy")]);
    }
}
