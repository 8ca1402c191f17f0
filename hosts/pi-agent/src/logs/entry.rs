//! One log entry, as all sources give it.

use super::cursor::Position;

/// A message longer than this is cut off.
pub(crate) const MESSAGE_BYTES: usize = 16 * 1024;
/// So is a further field.
pub(crate) const FIELD_BYTES: usize = 4 * 1024;
/// Further fields that one entry can have.
pub(crate) const FIELDS: usize = 64;

/// Bytes that may have been cut off.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Capped {
    pub(crate) bytes: Vec<u8>,
    /// Before it was cut off.
    pub(crate) length: u64,
}

impl Capped {
    /// The first `cap` of `bytes`.
    pub(crate) fn new(bytes: &[u8], cap: usize) -> Self {
        Self { bytes: bytes[..bytes.len().min(cap)].to_vec(), length: bytes.len() as u64 }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.length > self.bytes.len() as u64
    }
}

/// A source of one stream: one position of its cursor.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum SourceId {
    Journal,
    Kernel,
    Agent,
    /// By its name in the configuration.
    File(String),
}

/// One log entry. Empty is what is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Resumes after this entry.
    pub(crate) position: Position,
    /// Microseconds since 1970, on the node's wall clock.
    pub(crate) time_us: u64,
    /// Microseconds since that boot.
    pub(crate) monotonic_us: Option<u64>,
    pub(crate) boot_id: String,
    /// 0 (emergency) to 7 (debug).
    pub(crate) priority: Option<u8>,
    pub(crate) unit: String,
    pub(crate) identifier: String,
    pub(crate) pid: Option<u32>,
    pub(crate) message: Capped,
    pub(crate) fields: Vec<(String, Capped)>,
    /// Secrets taken out.
    pub(crate) redactions: u32,
}

impl Entry {
    /// One without anything but its message.
    pub(crate) fn bare(position: Position, time_us: u64, message: Capped) -> Self {
        Self {
            position,
            time_us,
            monotonic_us: None,
            boot_id: String::new(),
            priority: None,
            unit: String::new(),
            identifier: String::new(),
            pid: None,
            message,
            fields: Vec::new(),
            redactions: 0,
        }
    }

    /// What it weighs in memory, about.
    pub(crate) fn weight(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(name, value)| name.len() + value.bytes.len() + 64).sum();
        256 + self.message.bytes.len() + fields
    }
}

/// Why entries are missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DropReason {
    Overrun,
    Vacuumed,
    Truncated,
}

/// What a source yields.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are entries: a box would only cost")]
pub(crate) enum Event {
    Entry(Entry),
    /// `count` is absent where not known.
    Dropped {
        count: Option<u64>,
        reason: DropReason,
    },
    /// The entry to resume after is gone; the time of the one that comes next, if there is one.
    CursorLost {
        resumed_at_us: Option<u64>,
    },
    /// All that was there has been yielded.
    CaughtUp,
}
