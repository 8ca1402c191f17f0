//! Whether a chain is as it was written, and if not, which rows are not.

use std::io::{self, Read};

use crate::lines::{Header, Lines};
use crate::row::{Anchor, Hash, Row};

/// As many are told; whoever has more has found out enough.
const TOLD: usize = 100;

/// What is wrong with a chain. `Display` names the row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The first row is another one than the chain's name asks for.
    #[error("row 1 does not begin the chain of {chain}: it was changed, or the rows are another chain's")]
    Beginning {
        /// The name of the chain that was asked for.
        chain: String,
    },
    /// A row does not have the hash that its content and the row before it give.
    #[error("row {0} was changed, or another row was put before it")]
    Changed(u64),
    /// Rows are not there.
    #[error("{} missing before row {before}", are(*first, *last))]
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
        /// The row that stands there.
        before: u64,
    },
    /// The last rows are not there.
    #[error("{} missing at the end: it was cut off", are(*first, *last))]
    Cut {
        /// The first of them.
        first: u64,
        /// The last of them, as far as is known.
        last: u64,
    },
    /// A row stands after one that it should stand before: it was moved, repeated or inserted.
    #[error("row {sequence} stands after row {after}: it was moved or inserted")]
    Moved {
        /// Its number.
        sequence: u64,
        /// The row before it.
        after: u64,
    },
    /// Rows after what is said to be the last one.
    #[error("row {0} was added after the end")]
    Added(u64),
    /// A row is not the one that was noted.
    #[error("row {0} has another hash than was noted: it or rows before it were written anew")]
    Rewritten(u64),
    /// A line of a file is no row.
    #[error("line {0} is no row")]
    Unreadable(u64),
}

fn are(first: u64, last: u64) -> String {
    if first == last { format!("row {first} is") } else { format!("rows {first} to {last} are") }
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Rows that were looked at.
    pub rows: u64,
    /// The number of the row before the first of them; 0 unless earlier ones are elsewhere.
    pub after: u64,
    /// The last of them; what came before the first if there is none. To be noted elsewhere.
    pub last: Anchor,
    /// What is wrong, in the order in which it was found; at most 100.
    pub damages: Vec<Damage>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.damages.is_empty()
    }
}

/// Looks at the rows of a chain one by one, in the order in which they are stored.
#[derive(Debug)]
pub struct Verifier {
    /// The chain, where it is looked at from its beginning.
    chain: Option<String>,
    last: Anchor,
    /// The hash that `last` should have, if it has another: what follows tells which of the two was changed.
    should_be: Option<Hash>,
    noted: Vec<Anchor>,
    rows: u64,
    after: u64,
    damages: Vec<Damage>,
}

impl Verifier {
    /// For the chain of that name, from its first row on.
    pub fn new(chain: &str) -> Self {
        let genesis = Anchor { sequence: 0, hash: Hash::genesis(chain) };
        Self { chain: Some(chain.to_owned()), ..Self::after(genesis) }
    }

    /// For what comes after this row.
    pub fn after(last: Anchor) -> Self {
        let (noted, damages) = Default::default();
        Self { chain: None, last, should_be: None, noted, rows: 0, after: last.sequence, damages }
    }

    /// For the rows after this header.
    pub fn from_header(header: &Header) -> Self {
        // a header that claims to begin the chain is not believed which chain's beginning that is
        if header.after.sequence == 0 { Self::new(&header.chain) } else { Self::after(header.after) }
    }

    /// The chain must have this row.
    pub fn note(&mut self, anchor: Anchor) {
        self.noted.push(anchor);
    }

    /// The next row.
    pub fn check(&mut self, row: &Row) {
        self.rows += 1;
        let expected = self.last.sequence + 1;
        if row.sequence < expected {
            return self.found(Damage::Moved { sequence: row.sequence, after: self.last.sequence });
        }
        let right = |previous| Hash::of(previous, row.sequence, &row.entry);
        let follows = right(self.last.hash) == row.hash || self.should_be.is_some_and(|hash| right(hash) == row.hash);
        self.should_be = None;
        if row.sequence > expected {
            // its hash rests on one that is not there
            self.found(Damage::Missing { first: expected, last: row.sequence - 1, before: row.sequence });
        } else if !follows {
            self.should_be = Some(right(self.last.hash));
            self.found(match &self.chain {
                Some(chain) if expected == 1 => Damage::Beginning { chain: chain.clone() },
                _ => Damage::Changed(row.sequence),
            });
        }
        self.last = row.anchor();
        if self.noted.iter().any(|noted| noted.sequence == row.sequence && noted.hash != row.hash) {
            self.found(Damage::Rewritten(row.sequence));
        }
    }

    /// The next rows, as they stand in a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read. A line that is no row is damage.
    pub fn check_lines<R: Read>(&mut self, lines: Lines<R>) -> io::Result<()> {
        for row in lines {
            match row? {
                Ok(row) => self.check(&row),
                Err(line) => self.found(Damage::Unreadable(line)),
            }
        }
        Ok(())
    }

    /// The next rows are in another file, which says that it goes on after `anchor`.
    pub fn go_on(&mut self, anchor: Anchor) {
        let Anchor { sequence, hash } = anchor;
        match self.last.sequence {
            last if last < sequence => {
                self.found(Damage::Missing { first: last + 1, last: sequence, before: sequence + 1 });
            }
            last if last > sequence => self.found(Damage::Moved { sequence: sequence + 1, after: last }),
            _ if self.last.hash != hash => self.found(Damage::Changed(sequence)),
            _ => return,
        }
        (self.last, self.should_be) = (anchor, None);
    }

    /// There are no more rows, and the last one should be this.
    pub fn end_at(&mut self, end: Anchor) {
        if self.last.sequence > end.sequence {
            self.found(Damage::Added(end.sequence + 1));
        } else if self.last.sequence == end.sequence && self.last.hash != end.hash {
            self.found(Damage::Rewritten(end.sequence));
        }
        self.note(end);
    }

    /// There are no more rows.
    pub fn finish(mut self) -> Report {
        let known = self.noted.iter().map(|noted| noted.sequence).max().unwrap_or(0);
        if known > self.last.sequence {
            self.found(Damage::Cut { first: self.last.sequence + 1, last: known });
        }
        Report { rows: self.rows, after: self.after, last: self.last, damages: self.damages }
    }

    /// The last row so far.
    pub fn last(&self) -> Anchor {
        self.last
    }

    fn found(&mut self, damage: Damage) {
        if self.damages.len() < TOLD && !self.damages.contains(&damage) {
            self.damages.push(damage);
        }
    }
}
