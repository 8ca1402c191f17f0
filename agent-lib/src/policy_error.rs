//! Why a policy is not accepted.

use alloc::string::String;
use core::time::Duration;

use hal_core::LineId;

/// Why a policy is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// An alias is empty.
    #[error("an alias of {line} is empty; give it a name")]
    EmptyAlias {
        /// The line it stands for.
        line: LineId,
    },
    /// An alias reads like the name of a line that it does not stand for.
    #[error("alias `{alias}` of {line} reads like another line; choose another name")]
    MisleadingAlias {
        /// The alias.
        alias: String,
        /// The line it stands for.
        line: LineId,
    },
    /// An alias stands for a line that is not allowed.
    #[error("alias `{alias}` stands for {line}, which is not allowed; allow the line or remove the alias")]
    AliasNotAllowed {
        /// The alias.
        alias: String,
        /// The line it stands for.
        line: LineId,
    },
    /// A safe state is given for a line that is not allowed.
    #[error("{line} has a safe state but is not allowed; allow the line or remove the safe state")]
    SafeNotAllowed {
        /// The line.
        line: LineId,
    },
    /// A line that is not allowed is to be restored.
    #[error("{line} is to be restored but is not allowed; allow the line or leave it as it is")]
    RestoreNotAllowed {
        /// The line.
        line: LineId,
    },
    /// The default lease is too short or too long.
    #[error("a default lease of {} ms is out of range; choose 100 ms to 24 h", ttl.as_millis())]
    LeaseOutOfRange {
        /// The lease asked for.
        ttl: Duration,
    },
}
