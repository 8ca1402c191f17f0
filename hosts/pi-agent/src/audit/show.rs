//! The node's audit for people on the node itself: no agent has to run.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use audit::{Anchor, Entry, FolderError, Lines, ReadError, Report, Row, rfc3339};
use clap::Subcommand;

use super::FOLDER;

/// `pi-agent audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show what was done on this node, oldest first
    List {
        /// As many of the newest, 0 for all
        #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100)]
        lines: usize,
        /// Lines of JSON with their hashes, as they are stored
        #[arg(long)]
        json: bool,
    },
    /// Verify the hashes of all rows; exits with 1 if one is not as it was written
    Verify {
        /// A row noted earlier, as NUMBER:HASH: it must still be the same
        #[arg(long, value_name = "ANCHOR")]
        anchor: Vec<Anchor>,
    },
}

/// The audit cannot be shown, or is not as it was written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is none.
    #[error("{0} holds no audit: nothing has been done here, or it is another node's state folder")]
    None(String),
    /// A file cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A row was changed, dropped, moved or inserted; which, has been printed.
    #[error("the audit is not as it was written: {0} damages")]
    Damaged(usize),
    /// The output is closed, or a file cannot be read.
    #[error("cannot read or print")]
    Io(#[from] io::Error),
}

impl AuditCommand {
    /// Answers from the state folder `state`.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; damage is one of them.
    pub fn run(self, state: &Path, out: &mut dyn Write) -> Result<(), AuditError> {
        let folder = state.join(FOLDER);
        match self {
            Self::List { lines, json } => list(&folder, lines, json, out),
            Self::Verify { anchor } => {
                let found = audit::verify_folder(&folder, &anchor)?;
                let (header, report) = found.ok_or_else(|| AuditError::None(state.display().to_string()))?;
                told(&header.chain, report, out)
            }
        }
    }
}

fn told(chain: &str, Report { rows, after, last, damages }: Report, out: &mut dyn Write) -> Result<(), AuditError> {
    for damage in &damages {
        writeln!(out, "{damage}")?;
    }
    if !damages.is_empty() {
        return Err(AuditError::Damaged(damages.len()));
    }
    let from = if after > 0 { format!(" from row {} on", after + 1) } else { String::new() };
    writeln!(out, "{rows} rows of {chain}{from} are as they were written\nnote this anchor elsewhere: {last}")?;
    Ok(())
}

fn list(folder: &Path, newest: usize, json: bool, out: &mut dyn Write) -> Result<(), AuditError> {
    let mut rows = Vec::new();
    for path in audit::journal_files(folder)? {
        let failed = |source| FolderError { path: path.clone(), source };
        let lines = File::open(&path).map_err(ReadError::from).and_then(Lines::open).map_err(failed)?;
        for row in lines {
            rows.extend(row?.ok());
        }
    }
    let skipped = if newest == 0 { 0 } else { rows.len().saturating_sub(newest) };
    for row in &rows[skipped..] {
        match json {
            true => out.write_all(audit::format_row(row).as_bytes())?,
            false => writeln!(out, "{}", shown(row))?,
        }
    }
    Ok(())
}

/// One line, without anything that a terminal would obey.
fn shown(Row { sequence, entry, hash: _ }: &Row) -> String {
    let Entry { at, who, on_behalf_of, action, subject, outcome, detail } = entry;
    let by = if on_behalf_of.is_empty() { who.clone() } else { format!("{on_behalf_of} by {who}") };
    let line = format!("{sequence}  {}  {by}  {action}  {subject}  {outcome}  {detail}", rfc3339(*at));
    let inert = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
    line.trim_end().chars().map(inert).collect()
}
