//! Rows, and what holds them together.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};

const GENESIS: &str = "pi-controller audit genesis v1";
const ROW: &str = "pi-controller audit row v1";

/// The name of a cluster's chain.
pub fn cluster_chain(cluster: &str) -> String {
    format!("spiffe://{cluster}")
}

/// The name of a node's chain.
pub fn node_chain(cluster: &str, node: &str) -> String {
    format!("spiffe://{cluster}/node/{node}")
}

/// A time as it is shown and written: RFC 3339 in UTC, with as many digits as it has.
pub fn rfc3339(at: SystemTime) -> String {
    prost_types::Timestamp::from(at).to_string()
}

/// What was done. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, to the nanosecond; 1970 to 2554.
    pub at: SystemTime,
    /// Who was connected: `operator/anna`, `controller/c1`, `token/…`.
    pub who: String,
    /// For whom they acted; empty if for themselves.
    pub on_behalf_of: String,
    /// What was asked, as a word such as `token.create`, or the path of a method.
    pub action: String,
    /// What it was about: a node, a line, a command; empty if about nothing in particular.
    pub subject: String,
    /// How it ended, as a word.
    pub outcome: String,
    /// The rest in a sentence; empty if there is none.
    pub detail: String,
}

/// SHA-256 of a row and of all before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

/// The text is no [`struct@Hash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a hash as 64 hexadecimal digits in lower case")]
pub struct HashError;

impl Hash {
    /// What a chain of that name begins with, in place of the hash of a row before the first.
    pub fn genesis(chain: &str) -> Hash {
        let mut digest = Context::new(&SHA256);
        text(&mut digest, GENESIS);
        text(&mut digest, chain);
        finish(digest)
    }

    /// The hash of `entry` as row number `sequence` after a row with the hash `previous`.
    pub fn of(previous: Hash, sequence: u64, entry: &Entry) -> Hash {
        let Entry { at, who, on_behalf_of, action, subject, outcome, detail } = entry;
        let mut digest = Context::new(&SHA256);
        text(&mut digest, ROW);
        digest.update(&previous.0);
        digest.update(&sequence.to_be_bytes());
        digest.update(&nanos(*at).to_be_bytes());
        for field in [who, on_behalf_of, action, subject, outcome, detail] {
            text(&mut digest, field);
        }
        finish(digest)
    }
}

/// Length first, so that no two lists of texts are the same bytes.
fn text(digest: &mut Context, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX); // nothing here is 4 GiB long
    digest.update(&length.to_be_bytes());
    digest.update(text.as_bytes());
}

fn finish(digest: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.finish().as_ref());
    Hash(hash)
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Hash, HashError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| HashError)?;
        Ok(Hash(bytes.try_into().map_err(|_| HashError)?))
    }
}

/// An entry at its place in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number, from 1, without gaps.
    pub sequence: u64,
    /// What was done.
    pub entry: Entry,
    /// Over all of this and the hash of the row before.
    pub hash: Hash,
}

impl Row {
    /// Its number and hash.
    pub fn anchor(&self) -> Anchor {
        Anchor { sequence: self.sequence, hash: self.hash }
    }
}

/// The number and the hash of a row: whoever keeps it elsewhere can tell later that this row and all before it are as they
/// were. Displays as `412:9f86…` and parses back from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The number of the row; 0: before the first.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
}

/// The text is no [`Anchor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write an anchor as NUMBER:HASH, as verify prints it")]
pub struct AnchorError;

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for Anchor {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Anchor, AnchorError> {
        let (sequence, hash) = text.split_once(':').ok_or(AnchorError)?;
        let sequence = sequence.parse().map_err(|_| AnchorError)?;
        Ok(Anchor { sequence, hash: hash.parse().map_err(|_| AnchorError)? })
    }
}

/// Where a chain ends, and what the next row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    last: Anchor,
}

impl Chain {
    /// The empty chain of that name.
    pub fn new(name: &str) -> Chain {
        Chain::after(Anchor { sequence: 0, hash: Hash::genesis(name) })
    }

    /// A chain that goes on after this row.
    pub fn after(last: Anchor) -> Chain {
        Chain { last }
    }

    /// The last row; number 0 and the genesis if there is none.
    pub fn last(&self) -> Anchor {
        self.last
    }

    /// Makes `entry` the last row.
    pub fn append(&mut self, entry: Entry) -> Row {
        let sequence = self.last.sequence + 1;
        let hash = Hash::of(self.last.hash, sequence, &entry);
        self.last = Anchor { sequence, hash };
        Row { sequence, entry, hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let text = |text: &str| text.to_owned();
        Entry {
            at: UNIX_EPOCH + Duration::new(1_780_272_000, 123_456_789),
            who: text("controller/c1"),
            on_behalf_of: text("operator/anna"),
            action: text("gpio.write"),
            subject: text("GPIO17"),
            outcome: text("done"),
            detail: text("high"),
        }
    }

    /// Made by Python's hashlib from the description in the crate's documentation.
    #[test]
    fn another_implementation_comes_to_the_same_hashes() {
        let mut chain = Chain::new("spiffe://lab/node/pi-7");
        let genesis = chain.last();
        assert_eq!(genesis.to_string(), GENESIS_BY_PYTHON);
        assert_eq!(chain.append(entry()).anchor().to_string(), ROW_BY_PYTHON);
    }
    const GENESIS_BY_PYTHON: &str = "0:f24224b5cb0f59494119617618124e7479f9bf98a83ec888f0c6197b1a38211a";
    const ROW_BY_PYTHON: &str = "1:235b9095c2f5450594b9ca860fb1913c8258737b4d2e1fabc2f781486c7495ae";

    #[test]
    fn anchors_are_written_and_read() {
        let anchor = Chain::new("spiffe://lab").append(entry()).anchor();
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        for wrong in ["", "1", "1:", ":ab", "x:00", "1:zz", &format!("-1:{}", anchor.hash), "1:00"] {
            assert_eq!(wrong.parse::<Anchor>(), Err(AnchorError), "{wrong}");
        }
    }
}
