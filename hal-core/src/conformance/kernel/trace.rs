//! What the kernel tells its GPIO drivers, by its own tracing (kernel documentation, "Event Tracing").

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;

use rustix::fs::OFlags;

use crate::{Instant, LineId};

const TRACING: &str = "/sys/kernel/tracing";

/// A record of every level and direction that the kernel sets or reads at one chip's lines, whoever asked. One at a time in
/// a machine.
///
/// It is written where gpiolib calls the driver: what does not come from there is not in it, such as what a driver does
/// when a line is released.
#[derive(Debug)]
pub struct Trace {
    pipe: File,
    /// The chip's first line in the kernel's numbering.
    base: u32,
    lines: u16,
    /// The beginning of a line that is not whole yet.
    rest: Vec<u8>,
}

/// Something that a driver was told or asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// When, on the clock of [`Board::now`](crate::Board::now), to the microsecond.
    pub at: Instant,
    /// The thread that did it, by its number.
    pub thread: u32,
    /// At which line.
    pub line: LineId,
    /// What.
    pub act: Act,
}

/// What a driver is told or asked. Levels are raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Let go of the wire.
    Input,
    /// Drive the wire: to the level that was set just before, or, where the kernel emulates open drain and open source, to
    /// the one that such a line drives.
    Output,
    /// This level; if `Output` comes after it, both in one step.
    Set(bool),
    /// Which level is it? This.
    Read(bool),
}

impl Trace {
    /// Begins with the chip of this label, which has this many lines.
    ///
    /// # Errors
    ///
    /// If there is no such chip, tracefs is not mounted, or this user is not root.
    pub fn of_chip(label: &str, lines: u16) -> io::Result<Self> {
        let base = base(label)?;
        let tracing = Path::new(TRACING);
        fs::write(tracing.join("trace_clock"), "mono")?;
        fs::write(tracing.join("events/gpio/enable"), "1")?;
        let mut options = File::options();
        let pipe =
            options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(tracing.join("trace_pipe"))?;
        let mut trace = Self { pipe, base, lines, rest: Vec::new() };
        trace.take()?; // of another's time
        Ok(trace)
    }

    /// What happened since the last call, oldest first.
    ///
    /// # Errors
    ///
    /// If the kernel dropped some of it, or says what cannot be understood.
    pub fn take(&mut self) -> io::Result<Vec<Told>> {
        let mut bytes = core::mem::take(&mut self.rest);
        match self.pipe.read_to_end(&mut bytes) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {} // there is no more for now
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.rest = bytes.split_off(whole);
        let text = String::from_utf8_lossy(&bytes);
        let mut all = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (number, told) = parse(line).ok_or_else(|| io::Error::other(line.to_string()))?;
            all.extend(self.own(number).map(|line| Told { line, ..told }));
        }
        Ok(all)
    }

    /// The chip's own number of a line.
    fn own(&self, number: u32) -> Option<LineId> {
        let offset = u16::try_from(number.checked_sub(self.base)?).ok()?;
        (offset < self.lines).then_some(LineId(offset))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // If it goes on all the same, every act at a line is a little dearer, and nothing else.
        _ = fs::write(Path::new(TRACING).join("events/gpio/enable"), "0");
    }
}

/// The kernel's number of a chip's first line, which tracing goes by.
fn base(label: &str) -> io::Result<u32> {
    for entry in fs::read_dir("/sys/class/gpio")?.flatten() {
        let file = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default().trim().to_string();
        if file("label") == label {
            return file("base").parse().map_err(io::Error::other);
        }
    }
    Err(io::Error::new(ErrorKind::NotFound, label.to_string()))
}

/// Such as `   pi-agent-71  [000] .....  12.345678: gpio_value: 987 set 0`, and the number of the line in it.
fn parse(line: &str) -> Option<(u32, Told)> {
    let (who, rest) = line.split_once(" [")?;
    let thread = who.trim().rsplit('-').next()?.parse().ok()?;
    let (head, what) = rest.split_once(": gpio_")?;
    let (seconds, micros) = head.rsplit(' ').next()?.split_once('.')?;
    let nanos = seconds.parse::<u64>().ok()? * 1_000_000_000 + micros.parse::<u64>().ok()? * 1_000;
    let words: Vec<&str> = what.split_whitespace().collect();
    let (number, act) = match words[..] {
        ["direction:", number, "in", "(0)"] => (number, Act::Input),
        ["direction:", number, "out", "(0)"] => (number, Act::Output),
        ["value:", number, "set", level] => (number, Act::Set(level != "0")),
        ["value:", number, "get", level] => (number, Act::Read(level != "0")),
        _ => return None,
    };
    let at = Instant::from_nanos(nanos);
    Some((number.parse().ok()?, Told { at, thread, line: LineId(0), act }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let of = |line| parse(line).map(|(number, told)| (number, told.thread, told.at.as_nanos(), told.act));
        let set = "        pi-agent-71      [000] .....     2.045678: gpio_value: 987 set 0";
        assert_eq!(of(set), Some((987, 71, 2_045_678_000, Act::Set(false))));
        let get = "  my - name-7  [001] d..1.    12.000001: gpio_value: 0 get 1";
        assert_eq!(of(get), Some((0, 7, 12_000_001_000, Act::Read(true))));
        let input = "a-1 [000] ..... 0.000001: gpio_direction: 5  in (0)";
        assert_eq!(of(input), Some((5, 1, 1_000, Act::Input)));
        let output = "a-1 [000] ..... 0.000001: gpio_direction: 5 out (0)";
        assert_eq!(of(output), Some((5, 1, 1_000, Act::Output)));
        assert_eq!(parse("CPU:0 [LOST 12 EVENTS]"), None);
    }
}
