//! Cursors: where each source of a stream stands, as one opaque word.
//!
//! A version, the positions by source, and a checksum, in base64url. The checksum finds what was cut off or mistyped; it
//! proves nothing about who made it, and needs not: a cursor can only name a place in a source that the caller may read.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use data_encoding::BASE64URL_NOPAD;

use super::entry::SourceId;

const VERSION: u8 = 1;
/// Longer than that is no cursor of ours: 19 sources of 103 bytes in base64.
const TEXT_BYTES: usize = 2700;

/// After which entry one source goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Position {
    Journal(JournalCursor),
    Kernel {
        boot: u128,
        sequence: u64,
    },
    /// `epoch` is another one in each process.
    Memory {
        epoch: u64,
        sequence: u64,
    },
    File(FilePosition),
}

/// A place in a file: the bytes before it were these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FilePosition {
    pub(crate) inode: u64,
    pub(crate) offset: u64,
    /// Of the last bytes before the offset.
    pub(crate) hash: u64,
}

/// The journal's own cursor, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct JournalCursor {
    pub(crate) sequence_id: u128,
    pub(crate) sequence: u64,
    pub(crate) boot: u128,
    pub(crate) monotonic: u64,
    pub(crate) realtime: u64,
    pub(crate) xor_hash: u64,
}

impl JournalCursor {
    /// Reads `s=…;i=…;b=…;m=…;t=…;x=…`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|byte| *byte == b';');
        let mut next = |key: u8, digits: usize| match parts.next()? {
            [first, b'=', hex @ ..] if *first == key && (1..=digits).contains(&hex.len()) => {
                hex.iter().try_fold(0, |number: u128, digit| Some(number << 4 | u128::from(hex_digit(*digit)?)))
            }
            _ => None,
        };
        let narrow = |wide: u128| u64::try_from(wide).ok();
        let cursor = Self {
            sequence_id: next(b's', 32)?,
            sequence: narrow(next(b'i', 16)?)?,
            boot: next(b'b', 32)?,
            monotonic: narrow(next(b'm', 16)?)?,
            realtime: narrow(next(b't', 16)?)?,
            xor_hash: narrow(next(b'x', 16)?)?,
        };
        parts.next().is_none().then_some(cursor)
    }
}

/// In lower case only, as the journal writes it.
fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// As journalctl writes it.
impl fmt::Display for JournalCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence_id, sequence, boot, monotonic, realtime, xor_hash } = self;
        write!(f, "s={sequence_id:032x};i={sequence:x};b={boot:032x};m={monotonic:x};t={realtime:x};x={xor_hash:x}")
    }
}

/// Where each source of a stream stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cursor(pub(crate) BTreeMap<SourceId, Position>);

/// A text is no cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not a cursor that a node of this version made: leave it out to begin anew")]
pub(crate) struct NoCursor;

impl Cursor {
    /// The opaque word; empty for the empty cursor.
    pub(crate) fn encode(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut bytes = Vec::with_capacity(96);
        bytes.push(VERSION);
        for (source, position) in &self.0 {
            put(&mut bytes, source, position);
        }
        let check = fnv(&bytes) as u32; // half of it is enough
        bytes.extend_from_slice(&check.to_le_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Reads the word again.
    pub(crate) fn decode(text: &str) -> Result<Self, NoCursor> {
        if text.len() > TEXT_BYTES {
            return Err(NoCursor);
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| NoCursor)?;
        let (content, check) = bytes.split_last_chunk::<4>().ok_or(NoCursor)?;
        if u32::from_le_bytes(*check) != fnv(content) as u32 {
            return Err(NoCursor);
        }
        let mut rest = content.strip_prefix(&[VERSION]).ok_or(NoCursor)?;
        let mut positions = BTreeMap::new();
        while !rest.is_empty() {
            let (source, position) = take(&mut rest).ok_or(NoCursor)?;
            if positions.insert(source, position).is_some() {
                return Err(NoCursor);
            }
        }
        (!positions.is_empty()).then_some(Self(positions)).ok_or(NoCursor)
    }
}

fn put(bytes: &mut Vec<u8>, source: &SourceId, position: &Position) {
    let tag = match source {
        SourceId::Journal => 0,
        SourceId::Kernel => 1,
        SourceId::Agent => 2,
        SourceId::File(_) => 3,
    };
    bytes.push(tag);
    if let SourceId::File(name) = source {
        bytes.push(name.len().min(255) as u8); // at most 32, see `config`
        bytes.extend_from_slice(name.as_bytes());
    }
    match position {
        Position::Journal(cursor) => {
            let JournalCursor { sequence_id, sequence, boot, monotonic, realtime, xor_hash } = cursor;
            bytes.push(0);
            bytes.extend_from_slice(&sequence_id.to_le_bytes());
            bytes.extend_from_slice(&boot.to_le_bytes());
            for word in [sequence, monotonic, realtime, xor_hash] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        Position::Kernel { boot, sequence } => {
            bytes.push(1);
            bytes.extend_from_slice(&boot.to_le_bytes());
            bytes.extend_from_slice(&sequence.to_le_bytes());
        }
        Position::Memory { epoch, sequence } => {
            bytes.push(2);
            for word in [epoch, sequence] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        Position::File(FilePosition { inode, offset, hash }) => {
            bytes.push(3);
            for word in [inode, offset, hash] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
    }
}

fn take(rest: &mut &[u8]) -> Option<(SourceId, Position)> {
    let source = match byte(rest)? {
        0 => SourceId::Journal,
        1 => SourceId::Kernel,
        2 => SourceId::Agent,
        3 => {
            let length = byte(rest)?;
            let (name, after) = rest.split_at_checked(length.into())?;
            *rest = after;
            SourceId::File(std::str::from_utf8(name).ok()?.to_owned())
        }
        _ => return None,
    };
    let position = match byte(rest)? {
        0 => {
            let (sequence_id, boot) = (wide(rest)?, wide(rest)?);
            let [sequence, monotonic, realtime, xor_hash] = [word(rest)?, word(rest)?, word(rest)?, word(rest)?];
            Position::Journal(JournalCursor { sequence_id, sequence, boot, monotonic, realtime, xor_hash })
        }
        1 => Position::Kernel { boot: wide(rest)?, sequence: word(rest)? },
        2 => Position::Memory { epoch: word(rest)?, sequence: word(rest)? },
        3 => Position::File(FilePosition { inode: word(rest)?, offset: word(rest)?, hash: word(rest)? }),
        _ => return None,
    };
    Some((source, position))
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

fn word(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*bytes))
}

fn wide(rest: &mut &[u8]) -> Option<u128> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u128::from_le_bytes(*bytes))
}

/// FNV-1a: the same in every version, unlike the standard library's.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A boot id as text, in the journal's form.
pub(crate) fn boot_text(boot: u128) -> String {
    let mut text = String::with_capacity(32);
    _ = write!(text, "{boot:032x}"); // cannot fail
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        let journal = any::<(u128, u64, u128, u64, u64, u64)>().prop_map(|(s, i, b, m, t, x)| {
            let (sequence_id, sequence, boot, monotonic, realtime, xor_hash) = (s, i, b, m, t, x);
            Position::Journal(JournalCursor { sequence_id, sequence, boot, monotonic, realtime, xor_hash })
        });
        prop_oneof![
            journal,
            any::<(u128, u64)>().prop_map(|(boot, sequence)| Position::Kernel { boot, sequence }),
            any::<(u64, u64)>().prop_map(|(epoch, sequence)| Position::Memory { epoch, sequence }),
            any::<[u64; 3]>().prop_map(|[inode, offset, hash]| Position::File(FilePosition { inode, offset, hash })),
        ]
    }

    fn cursor() -> impl Strategy<Value = Cursor> {
        let file = "[a-z][a-z0-9_-]{0,31}".prop_map(SourceId::File);
        let source = prop_oneof![Just(SourceId::Journal), Just(SourceId::Kernel), Just(SourceId::Agent), file];
        prop::collection::btree_map(source, position(), 1..=19).prop_map(Cursor)
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back(cursor in cursor()) {
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }

        #[test]
        fn a_changed_cursor_is_refused(cursor in cursor(), at: prop::sample::Index, other in "[A-Za-z0-9_-]") {
            let mut text = cursor.encode();
            let at = at.index(text.len());
            prop_assume!(text[at..=at] != other);
            text.replace_range(at..=at, &other);
            prop_assert_ne!(Cursor::decode(&text), Ok(cursor));
        }

        #[test]
        fn nothing_else_is_one(text in ".{0,200}") {
            prop_assert_eq!(Cursor::decode(&text), Err(NoCursor));
        }

        #[test]
        fn the_journals_own_comes_back(position in position()) {
            if let Position::Journal(cursor) = position {
                prop_assert_eq!(JournalCursor::parse(cursor.to_string().as_bytes()), Some(cursor));
            }
        }
    }

    #[test]
    fn the_journals_own_is_parsed_strictly() {
        let good = "s=e9dbb3e6740c44bea950340e500a0a1e;i=15e;b=c77d0b575c5448288a8b7a8454ffcb1d;m=2c63f116d;t=660e30dfa5fbb;x=c029a1e9e874d38a";
        assert_eq!(JournalCursor::parse(good.as_bytes()).unwrap().to_string(), good);
        for bad in ["", "s=", "s=1;i=2", "-s=1", &format!("{good};y=1"), &good.replace("i=15e", "i=+15"), &good[1..]] {
            assert_eq!(JournalCursor::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_long_text_is_refused_before_it_is_decoded() {
        assert_eq!(Cursor::decode(&"A".repeat(1 << 20)), Err(NoCursor));
        assert_eq!(Cursor::decode(""), Err(NoCursor));
    }
}
