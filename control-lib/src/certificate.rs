//! Issued certificates and how long they last.

use std::fmt;
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far NotBefore lies before the moment of issue: the receiver's clock may be a little behind ours.
pub(crate) const BACKDATED: Duration = HOUR;

/// How long a certificate is valid, counted from the moment of issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(Duration);

/// The lifetime asked for is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// An operator's.
    #[error("choose a lifetime from 12 hours to 90 days")]
    Operator,
    /// A node's or a controller's.
    #[error("choose a lifetime from 10 seconds to 90 days")]
    Machine,
}

impl Lifetime {
    /// Nodes: 7 days.
    pub const NODE: Lifetime = Lifetime(DAY.saturating_mul(7));
    /// Controllers: 7 days.
    pub const CONTROLLER: Lifetime = Lifetime(DAY.saturating_mul(7));
    /// Operators, if nothing else is asked for: 90 days, the longest.
    pub const OPERATOR: Lifetime = Lifetime(DAY.saturating_mul(90));

    /// A lifetime for an operator's certificate, from 12 hours to 90 days inclusive.
    pub fn operator(lifetime: Duration) -> Result<Lifetime, LifetimeError> {
        let range = HOUR * 12..=Lifetime::OPERATOR.0;
        range.contains(&lifetime).then_some(Lifetime(lifetime)).ok_or(LifetimeError::Operator)
    }

    /// A lifetime for the certificate of a node or a controller, which renew it by themselves: from 10 seconds, for
    /// tests, to 90 days inclusive. A day or less asks for a control plane that is never down for half of it.
    pub fn machine(lifetime: Duration) -> Result<Lifetime, LifetimeError> {
        let range = Duration::from_secs(10)..=DAY * 90;
        range.contains(&lifetime).then_some(Lifetime(lifetime)).ok_or(LifetimeError::Machine)
    }

    /// The lifetime as a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// A certificate as issued. Both times are whole seconds and stand in the certificate as they stand here.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// The first moment at which it is valid: an hour before it was issued.
    pub not_before: SystemTime,
    /// The last moment at which it is valid.
    pub not_after: SystemTime,
}

impl Certificate {
    /// When its holder should ask for the next one: at half of its lifetime.
    pub fn renew_at(&self) -> SystemTime {
        let issued = self.not_before + BACKDATED;
        issued + self.not_after.duration_since(issued).unwrap_or_default() / 2
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = format_args!("{} bytes", self.der.len());
        f.debug_struct("Certificate").field("der", &bytes).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}
