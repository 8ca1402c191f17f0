//! What was done, by whom, to what: rows in a hash chain, so that nobody changes, drops, inserts or moves one unseen.
//!
//! | to | use |
//! | --- | --- |
//! | append | [`Chain`] makes a [`Row`] of an [`Entry`]; [`Journal`] keeps rows in files of bounded size |
//! | verify | [`Verifier`], row by row; [`verify_lines`] and [`verify_folder`] for files |
//! | count what is repeated instead of writing it each time | [`Tally`] |
//!
//! # The hash of a row
//!
//! So that a program of another hand can verify a chain:
//!
//! ```text
//! text(t)  = length of t in bytes as u32, big endian, then t in UTF-8
//! genesis  = SHA-256( text("pi-controller audit genesis v1") text(chain) )
//! hash(n)  = SHA-256( text("pi-controller audit row v1") hash(n-1) sequence time
//!                     text(who) text(on_behalf_of) text(action) text(subject) text(outcome) text(detail) )
//! ```
//!
//! `hash(0)` is the genesis; `sequence` is n as u64, big endian, from 1; `time` is nanoseconds since 1970 (UTC) as u64, big
//! endian. The chain of a cluster is called `spiffe://<cluster>`, that of a node `spiffe://<cluster>/node/<name>`: a row is
//! good in its own chain only.
//!
//! # What the chain can show, and what not
//!
//! Whoever may write where the rows are can write the whole chain anew, or cut off its end. Against that somebody keeps an
//! [`Anchor`] elsewhere, the number and hash of a row: verification with it fails if that row is gone or another one.
//!
//! # The file
//!
//! JSON, one object a line. The first is a header: `audit` (the format, 1), `chain`, `after` (the anchor of the row before the
//! first one here) and, where the file was exported, `end` (that of the last). Each further line is a row: `sequence`,
//! `time` (RFC 3339), `who`, `on_behalf_of`, `action`, `subject`, `outcome`, `detail`, `hash` (hexadecimal).

mod journal;
mod lines;
mod row;
mod tally;
mod verify;

pub use journal::{FolderError, Journal, JournalError, Limits, Recovery, journal_files, verify_folder};
pub use lines::{Header, LineError, Lines, ReadError, format_row, parse_row, verify_lines};
pub use row::{Anchor, AnchorError, Chain, Entry, Hash, HashError, Row, cluster_chain, node_chain, rfc3339};
pub use tally::{Repeats, Seen, Tally};
pub use verify::{Damage, Report, Verifier};
