//! The journal's export format, as `journalctl -o export` writes it, in pieces of any size.
//!
//! An entry is fields and an empty line. A field is `NAME=value` and a line break, or, where the value is not plain text,
//! `NAME`, a line break, its length as eight bytes, the value, a line break. Values are cut off at a cap and never held
//! beyond it, whatever length is announced; what does not have this form ends the reading.

use std::mem::take;

/// A name longer than this is none: the journal allows 64.
const NAME_BYTES: usize = 64;
/// Fields beyond this many of one entry are an error: the journal allows 1,024.
const FIELDS: usize = 1024;
/// A value longer than this is an error: the journal allows 768 MiB.
const VALUE_BYTES: u64 = 768 << 20;

/// What was read is not the export format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("a field has no name of A to Z, 0 to 9 and _")]
    Name,
    #[error("an entry has more than {FIELDS} fields")]
    Fields,
    #[error("a value is longer than {VALUE_BYTES} bytes")]
    Value,
    #[error("a binary value does not end in a line break")]
    Unended,
    #[error("it ends within an entry")]
    Cut,
}

/// A field; its value may have been cut off.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: Vec<u8>,
    /// Before it was cut off.
    pub(crate) length: u64,
}

/// Where the next byte belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A name, or the empty line that ends an entry.
    Name,
    /// A value that a line break ends.
    Text,
    /// The length, of which this many bytes are there.
    Length { bytes: [u8; 8], have: usize },
    /// A value of which this many bytes are missing.
    Binary { left: u64 },
    /// The line break after it.
    Break,
}

/// Reads entries from pieces.
#[derive(Debug)]
pub(crate) struct Parser {
    state: State,
    field: Field,
    name: Vec<u8>,
    entry: Vec<Field>,
    /// Bytes of a value that are kept.
    cap: usize,
}

impl Parser {
    /// One that keeps `cap` bytes of each value.
    pub(crate) fn new(cap: usize) -> Self {
        Self { state: State::Name, field: Field::default(), name: Vec::new(), entry: Vec::new(), cap }
    }

    /// Reads one more piece; each entry that it completes goes to `out`.
    ///
    /// # Errors
    ///
    /// If it is not the format; nothing can be read after that.
    pub(crate) fn read(&mut self, piece: &[u8], mut out: impl FnMut(Vec<Field>)) -> Result<(), ExportError> {
        let mut rest = piece;
        while !rest.is_empty() {
            rest = match self.state {
                State::Name => self.read_name(rest, &mut out)?,
                State::Text => self.read_text(rest)?,
                State::Length { bytes, have } => self.read_length(rest, bytes, have)?,
                State::Binary { left } => self.read_binary(rest, left),
                State::Break if rest[0] == b'\n' => {
                    self.end_field();
                    &rest[1..]
                }
                State::Break => return Err(ExportError::Unended),
            };
        }
        Ok(())
    }

    /// To be called where the pieces end.
    ///
    /// # Errors
    ///
    /// If they end within an entry.
    pub(crate) fn end(&self) -> Result<(), ExportError> {
        let between = self.state == State::Name && self.name.is_empty() && self.entry.is_empty();
        between.then_some(()).ok_or(ExportError::Cut)
    }

    fn read_name<'a>(&mut self, piece: &'a [u8], out: &mut impl FnMut(Vec<Field>)) -> Result<&'a [u8], ExportError> {
        let is_end = |byte: &u8| matches!(byte, b'=' | b'\n');
        let window = &piece[..piece.len().min(NAME_BYTES + 1)];
        let end = window.iter().position(is_end);
        self.name.extend_from_slice(&window[..end.unwrap_or(window.len())]);
        if self.name.len() > NAME_BYTES || !self.name.iter().all(|byte| is_of_name(*byte)) {
            return Err(ExportError::Name);
        }
        let Some(end) = end else { return Ok(&piece[window.len()..]) };
        let is_line = piece[end] == b'\n';
        match (self.name.is_empty(), is_line) {
            (true, true) => {
                if !self.entry.is_empty() {
                    let capacity = self.entry.len();
                    out(std::mem::replace(&mut self.entry, Vec::with_capacity(capacity)));
                }
            }
            (true, false) => return Err(ExportError::Name),
            (false, _) if self.entry.len() == FIELDS => return Err(ExportError::Fields),
            (false, _) => {
                let name = String::from_utf8(take(&mut self.name)).map_err(|_| ExportError::Name)?;
                self.field = Field { name, ..Field::default() };
                self.state = if is_line { State::Length { bytes: [0; 8], have: 0 } } else { State::Text };
            }
        }
        Ok(&piece[end + 1..])
    }

    fn read_text<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], ExportError> {
        let end = memchr::memchr(b'\n', piece);
        self.keep(&piece[..end.unwrap_or(piece.len())]);
        if self.field.length > VALUE_BYTES {
            return Err(ExportError::Value);
        }
        let Some(end) = end else { return Ok(&[]) };
        self.end_field();
        Ok(&piece[end + 1..])
    }

    fn read_length<'a>(&mut self, piece: &'a [u8], mut bytes: [u8; 8], have: usize) -> Result<&'a [u8], ExportError> {
        let more = piece.len().min(bytes.len() - have);
        bytes[have..have + more].copy_from_slice(&piece[..more]);
        self.state = match u64::from_le_bytes(bytes) {
            _ if have + more < bytes.len() => State::Length { bytes, have: have + more },
            left if left > VALUE_BYTES => return Err(ExportError::Value),
            0 => State::Break,
            left => State::Binary { left },
        };
        Ok(&piece[more..])
    }

    fn read_binary<'a>(&mut self, piece: &'a [u8], left: u64) -> &'a [u8] {
        let more = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        self.keep(&piece[..more]);
        let left = left - more as u64;
        self.state = if left == 0 { State::Break } else { State::Binary { left } };
        &piece[more..]
    }

    fn keep(&mut self, bytes: &[u8]) {
        let value = &mut self.field.value;
        let kept = &bytes[..bytes.len().min(self.cap.saturating_sub(value.len()))];
        value.reserve_exact(kept.len()); // mostly the whole of it
        value.extend_from_slice(kept);
        self.field.length += bytes.len() as u64;
    }

    fn end_field(&mut self) {
        self.entry.push(take(&mut self.field));
        self.state = State::Name;
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(pieces: &[&[u8]], cap: usize) -> Result<Vec<Vec<Field>>, ExportError> {
        let (mut parser, mut entries) = (Parser::new(cap), Vec::new());
        for piece in pieces {
            parser.read(piece, |entry| entries.push(entry))?;
        }
        parser.end().map(|()| entries)
    }

    /// Writes as the journal does.
    fn written(entries: &[Vec<(String, Vec<u8>)>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            for (name, value) in entry {
                bytes.extend_from_slice(name.as_bytes());
                if value.iter().all(|byte| (b' '..0x7f).contains(byte)) {
                    bytes.push(b'=');
                } else {
                    bytes.push(b'\n');
                    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
                }
                bytes.extend_from_slice(value);
                bytes.push(b'\n');
            }
            bytes.push(b'\n');
        }
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_in_pieces_of_any_size(
            entries in prop::collection::vec(
                prop::collection::vec(("[A-Z_][A-Z0-9_]{0,63}", prop::collection::vec(any::<u8>(), 0..80)), 1..6), 0..6),
            size in 1..64usize, cap in 0..100usize,
        ) {
            let bytes = written(&entries);
            let read = parse(&bytes.chunks(size).collect::<Vec<_>>(), cap).unwrap();
            let field = |(name, value): &(String, Vec<u8>)| {
                let kept = value[..value.len().min(cap)].to_vec();
                Field { name: name.clone(), value: kept, length: value.len() as u64 }
            };
            let expected: Vec<Vec<Field>> = entries.iter().map(|entry| entry.iter().map(field).collect()).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn nothing_makes_it_panic_or_hold_more_than_its_cap(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'='), Just(b'A')], 0..400),
            size in 1..50usize,
        ) {
            let mut parser = Parser::new(8);
            for piece in bytes.chunks(size) {
                let fits = |field: &Field| field.value.len() <= 8 && !field.name.is_empty();
                let mut fit = true;
                let read = parser.read(piece, |entry| fit &= entry.iter().all(fits));
                prop_assert!(fit && parser.field.value.len() <= 8 && parser.name.len() <= 2 * NAME_BYTES + 1);
                if read.is_err() {
                    return Ok(());
                }
            }
        }

        #[test]
        fn a_cut_is_told(value in prop::collection::vec(any::<u8>(), 0..40), at: prop::sample::Index) {
            let bytes = written(&[vec![("MESSAGE".to_owned(), value)]]);
            let at = 1 + at.index(bytes.len() - 1);
            let cut = parse(&[&bytes[..at]], 100);
            prop_assert_eq!(cut, Err(ExportError::Cut));
        }
    }

    #[test]
    fn each_fault_is_told() {
        assert_eq!(parse(&[b"=x\n"], 9), Err(ExportError::Name));
        assert_eq!(parse(&[b"lower=x\n"], 9), Err(ExportError::Name));
        assert_eq!(parse(&[&[b'A'; 65]], 9), Err(ExportError::Name));
        assert_eq!(parse(&[&b"A=\n".repeat(1025)], 9), Err(ExportError::Fields));
        assert_eq!(parse(&[b"A\n\xff\xff\xff\xff\xff\xff\xff\xff"], 9), Err(ExportError::Value));
        assert_eq!(parse(&[b"A\n\x01\0\0\0\0\0\0\0xy"], 9), Err(ExportError::Unended));
    }

    #[test]
    fn an_announced_length_is_not_allocated() {
        let mut parser = Parser::new(16);
        parser.read(&[b"A\n".as_slice(), &(VALUE_BYTES).to_le_bytes()].concat(), |_| {}).unwrap();
        parser.read(&[b'x'; 1000], |_| {}).unwrap();
        assert!(parser.field.value.capacity() <= 32);
    }
}
