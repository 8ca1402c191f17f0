//! The kernel's ring by `/dev/kmsg`, where there is no journal that has it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::unix::AsyncFd;

use super::cursor::{Position, boot_text};
use super::entry::{Capped, DropReason, Entry, Event, MESSAGE_BYTES};
use super::filter::Filter;
use super::lane::{Lane, SourceError};
use super::redact::redact_entry;

/// One record is never longer.
const RECORD_BYTES: usize = 16 << 10;

/// A record of the ring.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Record {
    priority: u8,
    /// 0: the kernel itself.
    facility: u32,
    sequence: u64,
    monotonic_us: u64,
    message: Vec<u8>,
}

/// Reads `prefix,sequence,microseconds,flags[,…];message`, then lines of further fields.
fn parse(bytes: &[u8]) -> Option<Record> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let split = bytes[..end].iter().position(|byte| *byte == b';')?;
    let mut head = std::str::from_utf8(&bytes[..split]).ok()?.split(',');
    let prefix: u32 = head.next()?.parse().ok()?;
    let (sequence, monotonic_us) = (head.next()?.parse().ok()?, head.next()?.parse().ok()?);
    let message = unescaped(&bytes[split + 1..end]);
    Some(Record { priority: (prefix & 7) as u8, facility: prefix >> 3, sequence, monotonic_us, message })
}

/// The kernel writes what is not plain text as `\x1b`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|code| std::str::from_utf8(code.get(..2)?).ok());
        match hex.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) => (plain.push(code), rest = &rest[4..]).1,
            None => (plain.push(*byte), rest = after).1,
        }
    }
    plain
}

/// One reader of the ring.
pub(crate) struct KernelReader {
    pub(crate) device: PathBuf,
    pub(crate) filter: Arc<Filter>,
}

impl KernelReader {
    /// Yields what there is after `after`, and what comes if the filter follows.
    pub(crate) async fn run(self, after: Option<Position>, mut lane: Lane) -> Result<(), SourceError> {
        let boot = boot_id()?;
        #[expect(deprecated, reason = "its successor is unsafe, and a `File` keeps its descriptor as it must")]
        let ring = AsyncFd::new(open(&self.device)?)?;
        let mut next = match after {
            Some(Position::Kernel { boot: then, sequence }) if then == boot => Some(sequence + 1),
            Some(_) => {
                lane.put(Event::CursorLost { resumed_at_us: None }).await?;
                None
            }
            None => self.tail(boot)?,
        };
        let mut is_new = false;
        loop {
            let Some(record) = read(ring.get_ref())? else {
                if !is_new {
                    is_new = true;
                    lane.put(Event::CaughtUp).await?;
                }
                lane.flush().await?;
                if !self.filter.follow {
                    return Ok(());
                }
                ring.readable().await?.clear_ready();
                continue;
            };
            let expected = next.unwrap_or(record.sequence);
            if record.sequence < expected {
                continue;
            }
            if record.sequence > expected {
                let count = Some(record.sequence - expected);
                lane.put(Event::Dropped { count, reason: DropReason::Overrun }).await?;
            }
            next = Some(record.sequence + 1);
            if let Some(entry) = self.entry(record, boot) {
                lane.put(Event::Entry(entry)).await?;
            }
        }
    }

    /// Number of the record from which on as many match as the filter asks for.
    fn tail(&self, boot: u128) -> Result<Option<u64>, SourceError> {
        let Some(count) = self.filter.tail else { return Ok(None) };
        let (ring, mut newest, mut end) = (open(&self.device)?, VecDeque::new(), None);
        while let Some(record) = read(&ring)? {
            let number = record.sequence;
            end = Some(number + 1);
            if count > 0 && self.entry(record, boot).is_some() {
                newest.push_back(number);
                if newest.len() > count as usize {
                    newest.pop_front();
                }
            }
        }
        Ok(newest.front().copied().or(if count == 0 { end } else { None }))
    }

    fn entry(&self, record: Record, boot: u128) -> Option<Entry> {
        // Only the current boot is in the ring.
        if self.filter.boot.is_some_and(|boot| boot != 0) {
            return None;
        }
        let position = Position::Kernel { boot, sequence: record.sequence };
        let time_us = booted_at_us().saturating_add(record.monotonic_us);
        let mut entry = Entry {
            monotonic_us: Some(record.monotonic_us),
            boot_id: boot_text(boot),
            priority: Some(record.priority),
            identifier: if record.facility == 0 { "kernel".to_owned() } else { String::new() },
            ..Entry::bare(position, time_us, Capped::new(&record.message, MESSAGE_BYTES))
        };
        redact_entry(&mut entry);
        self.filter.matches(&entry).then_some(entry)
    }
}

fn open(device: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW).bits();
    File::options().read(true).custom_flags(flags.cast_signed()).open(device)
}

/// The next record; `None`: no more for now. What was overwritten is passed over: its number is missing then.
fn read(ring: &File) -> std::io::Result<Option<Record>> {
    let mut buffer = [0; RECORD_BYTES];
    loop {
        match std::io::Read::read(&mut &*ring, &mut buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => match parse(&buffer[..length]) {
                Some(record) => return Ok(Some(record)),
                None => continue,
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => continue,
            Err(error) => return Err(error),
        }
    }
}

/// This machine's boot.
pub(crate) fn boot_id() -> std::io::Result<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16)
        .map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
}

/// Where the kernel's clock began, on the wall clock as it is set now.
fn booted_at_us() -> u64 {
    let since = clock_gettime(ClockId::Monotonic);
    let since = Duration::new(since.tv_sec.cast_unsigned(), since.tv_nsec.try_into().unwrap_or(0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(since).as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_taken_apart() {
        let record = parse(b"4,812,1234567,-,caller=T1;a \\x1b[31m;b\n SUBSYSTEM=usb\n").unwrap();
        let expected = Record {
            priority: 4,
            facility: 0,
            sequence: 812,
            monotonic_us: 1_234_567,
            message: b"a \x1b[31m;b".to_vec(),
        };
        assert_eq!(record, expected);
        assert_eq!(parse(b"30,1,2,-;systemd").unwrap().facility, 3);
        for bad in [b"".as_slice(), b"4,5,6,-", b"x,1,2;m", b"4,1;m", b"\n"] {
            assert_eq!(parse(bad), None);
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            parse(&bytes);
            unescaped(&bytes);
        }
    }
}
