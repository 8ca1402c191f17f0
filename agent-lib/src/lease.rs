//! For how long a line is held, and on what terms.

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use hal_core::{Instant, LineConfig, LineId};

use crate::SafeState;

/// For how long a line is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lease {
    /// Until it is released. On a line with a declared safe state this takes [`Rights::permanent`](crate::Rights).
    #[default]
    Permanent,
    /// Until the holder has been silent for a while: each of their operations on the line, and a keepalive, renews it.
    For {
        /// How long the holder may be silent, within [`Lease::RANGE`].
        ttl: Duration,
        /// How the line is left; `None` is as the policy declares, and where it declares nothing one must be given.
        safe: Option<SafeState>,
    },
}

impl Lease {
    /// How short and how long a lease may be: 100 ms to 24 h.
    pub const RANGE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);
}

/// What happens when somebody else holds the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnConflict {
    /// The claim is refused. The default. (Who wants to wait asks again after [`Event::Freed`](crate::Event).)
    #[default]
    Fail,
    /// The line is made safe and taken from its holder. Takes [`Rights::steal`](crate::Rights).
    Steal,
}

/// What a caller asks for when they claim a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claim {
    /// How the line is to be set up.
    pub config: LineConfig,
    /// For how long.
    pub lease: Lease,
    /// What happens when somebody else holds it.
    pub on_conflict: OnConflict,
}

impl Claim {
    /// Holds the line until it is released.
    pub const fn permanent(config: LineConfig) -> Self {
        Self { config, lease: Lease::Permanent, on_conflict: OnConflict::Fail }
    }

    /// Holds the line until the holder has been silent for `ttl`; then it is left as `safe` says.
    pub const fn leased(config: LineConfig, ttl: Duration, safe: Option<SafeState>) -> Self {
        Self { config, lease: Lease::For { ttl, safe }, on_conflict: OnConflict::Fail }
    }

    /// The same, taking the line from whoever holds it.
    pub const fn stealing(self) -> Self {
        Self { on_conflict: OnConflict::Steal, ..self }
    }
}

/// Fencing: the number of one hold on one line. Later holds have higher numbers, on whatever line; a call that carries
/// the number of an earlier hold is refused, however late it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a holder has in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The line.
    pub line: LineId,
    /// The number of this hold; it stays the same while the hold is renewed.
    pub token: Token,
    /// When the hold ends unless it is renewed; `None` if it ends by release alone.
    pub expires: Option<Instant>,
}

/// A lease that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leased {
    pub(crate) ttl: Duration,
    pub(crate) safe: Option<SafeState>,
    pub(crate) expires: Instant,
}

impl Leased {
    pub(crate) fn new(now: Instant, ttl: Duration, safe: Option<SafeState>) -> Self {
        Self { ttl, safe, expires: now.saturating_add(ttl) }
    }

    pub(crate) fn renew(&mut self, now: Instant) {
        self.expires = now.saturating_add(self.ttl);
    }
}
