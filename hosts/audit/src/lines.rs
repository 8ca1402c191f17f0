//! Rows as lines of JSON.

use std::io::{self, BufRead, BufReader, Read};
use std::time::SystemTime;

use prost_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::row::{Anchor, Entry, Hash, Row, rfc3339};
use crate::verify::{Report, Verifier};

/// The format that this release writes and reads.
const FORMAT: u32 = 1;
/// A longer line is none of ours: each text in it is bounded where it is written.
const LONGEST: u64 = 64 * 1024;

/// A line is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is no JSON object with these fields.
    #[error("expected a JSON object of the audit")]
    Json(#[from] serde_json::Error),
    /// A later release wrote it.
    #[error("use a later release: the file has format {0}, this release knows 1")]
    Format(u32),
    /// A field is wrong.
    #[error("{0} is wrong")]
    Field(&'static str),
}

/// A file could not be read as an audit.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system said no.
    #[error("cannot read it")]
    Io(#[from] io::Error),
    /// It does not begin as an audit does.
    #[error("name a file that audit export or an agent wrote: the first line is no header")]
    Header(#[source] LineError),
}

/// The first line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name of the chain.
    pub chain: String,
    /// What came before the first row here.
    pub after: Anchor,
    /// The last row at the time when it was exported; `None` where more may come.
    pub end: Option<Anchor>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    audit: u32,
    chain: String,
    after: AnchorText,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<AnchorText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorText {
    sequence: u64,
    hash: String,
}

impl From<Anchor> for AnchorText {
    fn from(anchor: Anchor) -> Self {
        Self { sequence: anchor.sequence, hash: anchor.hash.to_string() }
    }
}

impl AnchorText {
    fn parse(self) -> Result<Anchor, LineError> {
        Ok(Anchor { sequence: self.sequence, hash: hash(&self.hash)? })
    }
}

fn hash(text: &str) -> Result<Hash, LineError> {
    text.parse().map_err(|_| LineError::Field("hash"))
}

impl Header {
    /// The line, with its end.
    pub fn format(&self) -> String {
        let Header { chain, after, end } = self.clone();
        line(&HeaderLine { audit: FORMAT, chain, after: after.into(), end: end.map(Into::into) })
    }

    /// Reads what [`Header::format`] wrote.
    ///
    /// # Errors
    ///
    /// [`LineError`].
    pub fn parse(line: &str) -> Result<Header, LineError> {
        let HeaderLine { audit, chain, after, end } = serde_json::from_str(line)?;
        if audit != FORMAT {
            return Err(LineError::Format(audit));
        }
        Ok(Header { chain, after: after.parse()?, end: end.map(AnchorText::parse).transpose()? })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowLine {
    sequence: u64,
    time: String,
    who: String,
    on_behalf_of: String,
    action: String,
    subject: String,
    outcome: String,
    detail: String,
    hash: String,
}

/// A row as a line, with its end.
pub fn format_row(row: &Row) -> String {
    let Row { sequence, entry, hash } = row.clone();
    let Entry { at, who, on_behalf_of, action, subject, outcome, detail } = entry;
    let (time, hash) = (rfc3339(at), hash.to_string());
    line(&RowLine { sequence, time, who, on_behalf_of, action, subject, outcome, detail, hash })
}

/// Reads what [`format_row`] wrote.
///
/// # Errors
///
/// [`LineError`].
pub fn parse_row(line: &str) -> Result<Row, LineError> {
    let row: RowLine = serde_json::from_str(line)?;
    let RowLine { sequence, time, who, on_behalf_of, action, subject, outcome, detail, hash: text } = row;
    let at: Timestamp = time.parse().map_err(|_| LineError::Field("time"))?;
    let at = SystemTime::try_from(at).map_err(|_| LineError::Field("time"))?;
    let entry = Entry { at, who, on_behalf_of, action, subject, outcome, detail };
    Ok(Row { sequence, entry, hash: hash(&text)? })
}

fn line(object: &impl Serialize) -> String {
    // texts and numbers always serialise
    let mut line = serde_json::to_string(object).unwrap_or_default();
    line.push('\n');
    line
}

/// A file of rows, line by line.
///
/// What stands after the last end of a line is no row yet: who writes it has not finished.
pub struct Lines<R> {
    header: Header,
    file: BufReader<R>,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn open(file: R) -> Result<Self, ReadError> {
        let mut file = BufReader::new(file);
        let first = next_line(&mut file)?.unwrap_or_default();
        Ok(Self { header: Header::parse(&first).map_err(ReadError::Header)?, file, number: 1 })
    }

    /// What the file begins with.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// Each row, or the number of the line that is none.
impl<R: Read> Iterator for Lines<R> {
    type Item = io::Result<Result<Row, u64>>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = next_line(&mut self.file).transpose()?;
        self.number += 1;
        Some(line.map(|line| parse_row(&line).map_err(|_| self.number)))
    }
}

/// The next whole line without its end. One that is too long or not UTF-8 comes as a text that is no row.
fn next_line(file: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    file.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)?;
    if bytes.pop_if(|last| *last == b'\n').is_some() {
        return Ok(Some(String::from_utf8(bytes).unwrap_or_default()));
    }
    if (bytes.len() as u64) < LONGEST {
        return Ok(None);
    }
    file.skip_until(b'\n')?;
    Ok(Some(String::new()))
}

/// Verifies one exported file, against rows noted elsewhere if there are any.
///
/// # Errors
///
/// If it cannot be read at all. Damage is no error: it is what the report is for.
pub fn verify_lines(file: impl Read, noted: &[Anchor]) -> Result<(Header, Report), ReadError> {
    let lines = Lines::open(file)?;
    let header = lines.header().clone();
    let mut verifier = Verifier::from_header(&header);
    noted.iter().for_each(|anchor| verifier.note(*anchor));
    verifier.check_lines(lines)?;
    if let Some(end) = header.end {
        verifier.end_at(end);
    }
    Ok((header, verifier.finish()))
}
