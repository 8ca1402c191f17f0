//! A file that grows, is renamed and is cut off: line by line, each once.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::cursor::{FilePosition, fnv};
use super::entry::{Capped, MESSAGE_BYTES};

/// Read at once.
const CHUNK: usize = 32 << 10;
/// As many bytes before a place show whether it is still the same.
const WINDOW: usize = 32;
/// Rotated files that are looked at: `name.1` to `name.9`.
const ROTATED: u32 = 9;

/// Opens a regular file, and follows no symbolic link on the way: whoever may write to a folder of logs must not choose
/// what the agent reads.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(openat2(CWD, path, flags, Mode::empty(), resolve)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// A line without its line break, and where the next one begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) position: FilePosition,
    pub(crate) text: Capped,
}

/// What one step brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) lines: Vec<Line>,
    /// The file was cut off or replaced before its end was read.
    pub(crate) is_truncated: bool,
    /// There was nothing more to read.
    pub(crate) is_end: bool,
}

/// The last bytes before a place.
#[derive(Clone, Debug, Default)]
struct Window(Vec<u8>);

impl Window {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&bytes[bytes.len().saturating_sub(WINDOW)..]);
        self.0.drain(..self.0.len().saturating_sub(WINDOW));
    }

    fn before(file: &File, offset: u64) -> io::Result<Self> {
        let start = offset.saturating_sub(WINDOW as u64);
        let mut bytes = vec![0; (offset - start) as usize];
        file.read_exact_at(&mut bytes, start)?;
        Ok(Self(bytes))
    }
}

/// An open file and the place in it.
#[derive(Debug)]
struct Place {
    file: File,
    inode: u64,
    /// Of the first byte that was not read.
    offset: u64,
    window: Window,
    /// The line that has no end yet.
    line: Vec<u8>,
    line_length: u64,
}

impl Place {
    fn new(file: File, offset: u64) -> io::Result<Self> {
        let window = Window::before(&file, offset)?;
        Ok(Self { inode: file.metadata()?.ino(), file, offset, window, line: Vec::new(), line_length: 0 })
    }

    /// Whether the bytes before the place are still those that were read.
    fn is_same(&self) -> io::Result<bool> {
        match Window::before(&self.file, self.offset) {
            Ok(window) => Ok(window.0 == self.window.0),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads on; the number of bytes.
    fn read(&mut self, lines: &mut Vec<Line>) -> io::Result<usize> {
        let mut chunk = vec![0; CHUNK];
        let length = self.file.read_at(&mut chunk, self.offset)?;
        for piece in chunk[..length].split_inclusive(|byte| *byte == b'\n') {
            self.offset += piece.len() as u64;
            self.window.push(piece);
            let text = piece.strip_suffix(b"\n");
            let room = MESSAGE_BYTES.saturating_sub(self.line.len());
            let more = text.unwrap_or(piece);
            self.line.extend_from_slice(&more[..more.len().min(room)]);
            self.line_length += more.len() as u64;
            if text.is_some() {
                lines.push(self.line());
            }
        }
        Ok(length)
    }

    /// What was read of a line, as one.
    fn line(&mut self) -> Line {
        let position = FilePosition { inode: self.inode, offset: self.offset, hash: fnv(&self.window.0) };
        let text = Capped { bytes: std::mem::take(&mut self.line), length: std::mem::take(&mut self.line_length) };
        Line { position, text }
    }

    /// A last line without a line break.
    fn rest(&mut self) -> Option<Line> {
        (self.line_length > 0).then(|| self.line())
    }
}

/// Follows one path.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    place: Option<Place>,
    /// The last step read nothing.
    was_end: bool,
}

impl Tail {
    /// From the file's first line.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, other than for not being there yet.
    pub(crate) fn from_start(path: &Path) -> io::Result<Self> {
        let place = match open(path) {
            Ok(file) => Some(Place::new(file, 0)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { path: path.to_owned(), place, was_end: false })
    }

    /// From the line after that place, if it is still there: in the file or in one that it was renamed or copied to.
    pub(crate) fn resume(path: &Path, position: FilePosition) -> io::Result<Option<Self>> {
        let candidates = || (0..=ROTATED).filter_map(|number| open(&rotated(path, number)).ok());
        let is_there = |file: &File| Window::before(file, position.offset).is_ok_and(|w| fnv(&w.0) == position.hash);
        let same = |file: &File| file.metadata().is_ok_and(|facts| facts.ino() == position.inode);
        let renamed = candidates().find(|file| same(file) && is_there(file));
        let copied = || candidates().find(|file| position.offset >= WINDOW as u64 && is_there(file));
        let Some(file) = renamed.or_else(copied) else { return Ok(None) };
        let place = Some(Place::new(file, position.offset)?);
        Ok(Some(Self { path: path.to_owned(), place, was_end: false }))
    }

    /// From the line from which on `count` match.
    pub(crate) fn from_tail(path: &Path, count: u32, matches: impl Fn(&[u8]) -> bool) -> io::Result<Self> {
        let mut tail = Self::from_start(path)?;
        let Some(place) = &tail.place else { return Ok(tail) };
        let offset = start_of_tail(&place.file, count, matches)?;
        tail.place = Some(Place::new(open(path)?, offset)?);
        Ok(tail)
    }

    /// Reads one chunk.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let mut step = Step::default();
        if self.place.is_none() {
            self.place = Self::from_start(&self.path)?.place;
        }
        let Some(place) = &mut self.place else { return Ok(Step { is_end: true, ..step }) };
        if self.was_end && !place.is_same()? {
            step.is_truncated = true;
            let file = place.file.try_clone()?;
            step.lines.extend(place.rest());
            *place = Place::new(file, 0)?;
        }
        step.is_end = place.read(&mut step.lines)? == 0;
        self.was_end = step.is_end;
        Ok(step)
    }

    /// Whether another file has the path now.
    pub(crate) fn is_replaced(&self) -> bool {
        let Some(place) = &self.place else { return false };
        open(&self.path).is_ok_and(|file| file.metadata().is_ok_and(|facts| facts.ino() != place.inode))
    }

    /// To the file that came after this one: at most nine that were rotated in the meantime are read in their turn.
    pub(crate) fn turn(&mut self) -> io::Result<Option<Line>> {
        let Some(place) = &mut self.place else { return Ok(None) };
        let last = place.rest();
        let inode = place.inode;
        let is_it = |number: &u32| {
            open(&rotated(&self.path, *number))
                .is_ok_and(|file| file.metadata().is_ok_and(|facts| facts.ino() == inode))
        };
        let own = (1..=ROTATED).find(is_it).unwrap_or(1);
        let next = (0..own).rev().find_map(|number| open(&rotated(&self.path, number)).ok());
        let Some(next) = next else { return Ok(last) };
        self.place = Some(Place::new(next, 0)?);
        self.was_end = false;
        Ok(last)
    }

    /// A last line without a line break.
    pub(crate) fn rest(&mut self) -> Option<Line> {
        self.place.as_mut().and_then(Place::rest)
    }
}

/// `name.1` and so on; 0 is the path itself.
fn rotated(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Where the line begins from which on `count` match, searched from the end.
fn start_of_tail(file: &File, count: u32, matches: impl Fn(&[u8]) -> bool) -> io::Result<u64> {
    let end = file.metadata()?.len();
    if count == 0 {
        return Ok(end);
    }
    let (mut left, mut at) = (count, end);
    // the first bytes of what is known of the line that begins before `at`, cut off at the cap
    let mut line: Vec<u8> = Vec::new();
    let mut is_last = true;
    while at > 0 {
        let start = at.saturating_sub(CHUNK as u64);
        let mut chunk = vec![0; (at - start) as usize];
        file.read_exact_at(&mut chunk, start)?;
        let mut stop = chunk.len();
        while let Some(found) = memchr::memrchr(b'\n', &chunk[..stop]) {
            let begin = start + found as u64 + 1;
            prepend(&mut line, &chunk[found + 1..stop]);
            // what follows the last line break is a line only if there is something
            if !(is_last && begin == end) && matches(&line) {
                left -= 1;
                if left == 0 {
                    return Ok(begin);
                }
            }
            is_last = false;
            line.clear();
            stop = found;
        }
        prepend(&mut line, &chunk[..stop]);
        at = start;
    }
    Ok(0)
}

fn prepend(line: &mut Vec<u8>, bytes: &[u8]) {
    line.splice(..0, bytes.iter().copied());
    line.truncate(MESSAGE_BYTES);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn append(path: &Path, text: &str) {
        File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Everything that is there now, as a follower would read it that notices rotations at once.
    fn drain(tail: &mut Tail) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let step = tail.step().unwrap();
            lines.extend(step.lines);
            if step.is_end {
                if !tail.is_replaced() {
                    break;
                }
                lines.extend(tail.turn().unwrap());
            }
        }
        lines.into_iter().map(|line| String::from_utf8(line.text.bytes).unwrap()).collect()
    }

    #[test]
    fn growth_renaming_and_truncation_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut tail = Tail::from_start(&path).unwrap();
        assert!(drain(&mut tail).is_empty());
        append(&path, "a\nb");
        assert_eq!(drain(&mut tail), ["a"]);
        append(&path, "c\n");
        assert_eq!(drain(&mut tail), ["bc"]);
        // twice rotated between two looks
        append(&path, "d\n");
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        append(&path, "e\n");
        std::fs::rename(folder.path().join("log.1"), folder.path().join("log.2")).unwrap();
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        append(&path, "f\n");
        assert_eq!(drain(&mut tail), ["d", "e", "f"]);
        // cut off, and longer than before when it is looked at
        File::create(&path).unwrap();
        append(&path, "ghij\n");
        assert_eq!(drain(&mut tail), ["ghij"]);
    }

    #[test]
    fn a_place_is_found_again_after_renaming_and_copying() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "the first line is longer than the window\nb\n");
        let mut tail = Tail::from_start(&path).unwrap();
        let first = tail.step().unwrap().lines[0].position;
        let resumed = |position| Tail::resume(&path, position).unwrap().map(|mut tail| drain(&mut tail));
        assert_eq!(resumed(first).unwrap(), ["b"]);
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        append(&path, "c\n");
        assert_eq!(resumed(first).unwrap(), ["b", "c"]);
        // copied, then cut off
        std::fs::copy(folder.path().join("log.1"), folder.path().join("log.2")).unwrap();
        std::fs::remove_file(folder.path().join("log.1")).unwrap();
        assert_eq!(resumed(first).unwrap()[0], "b");
        assert_eq!(resumed(FilePosition { hash: 1, ..first }), None);
        assert_eq!(resumed(FilePosition { offset: 1 << 40, ..first }), None);
    }

    #[test]
    fn only_regular_files_and_no_links_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (key, link) = (folder.path().join("key.pem"), folder.path().join("log"));
        std::fs::write(&key, "secret").unwrap();
        std::os::unix::fs::symlink(&key, &link).unwrap();
        assert!(open(&link).is_err() && open(&key).is_ok());
        // neither a link in the middle of the path, nor a device or a folder
        let there = folder.path().join("there");
        std::os::unix::fs::symlink(folder.path(), &there).unwrap();
        assert!(open(&there.join("key.pem")).is_err());
        assert!(open(Path::new("/dev/null")).is_err() && open(folder.path()).is_err());
    }

    proptest! {
        #[test]
        fn the_tail_begins_where_as_many_lines_match(
            lines in prop::collection::vec("[ab]{0,9}", 0..40), ends: bool, count in 0..45u32, long in 0..2usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let lines: Vec<String> = lines.into_iter().map(|line| line.repeat(1 + long * 4000)).collect();
            append(&path, &lines.join("\n"));
            if ends && !lines.is_empty() {
                append(&path, "\n");
            }
            let mut all: Vec<&str> = lines.iter().map(String::as_str).collect();
            // without its line break, an empty last line is none
            if !ends && all.last() == Some(&"") {
                all.pop();
            }
            let matches = |line: &&str| line.starts_with('a');
            let first = match count {
                0 => all.len(),
                _ => all.iter().enumerate().rev().filter(|(_, line)| matches(line)).nth(count as usize - 1).map_or(0, |(n, _)| n),
            };
            let mut tail = Tail::from_tail(&path, count, |line| line.starts_with(b"a")).unwrap();
            let mut read = drain(&mut tail);
            read.extend(tail.rest().map(|line| String::from_utf8(line.text.bytes).unwrap()));
            let cut = |line: &&str| line[..line.len().min(MESSAGE_BYTES)].to_owned();
            prop_assert_eq!(read, all[first..].iter().map(cut).collect::<Vec<_>>());
        }
    }
}
