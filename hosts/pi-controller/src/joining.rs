//! How often somebody may try to register in vain: each refusal is an audit row, and that a write to the disk.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use control_lib::{Attempts, Caller, Name};
use mtls::Peer;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Who is held to account. Not the address alone: one machine that asks in vain, again and again, must not shut out the
/// fleet behind the same address. (Whoever has neither a live token nor a certificate does not get this far.)
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Whoever has this token at this address.
    Token([u8; 32], IpAddr),
    /// A node, wherever it is.
    Node(Name),
}

impl Origin {
    pub(crate) fn of(peer: Option<&Peer>, caller: &Caller) -> Option<Self> {
        match (caller, peer) {
            (Caller::Identity(identity) | Caller::Expired(identity), _) => Some(Self::Node(identity.name.clone())),
            (_, Some(Peer::Token(key, address))) => Some(Self::Token(*key, network(address.ip()))),
            _ => None,
        }
    }
}

/// The address; of IPv6 the first 64 bits, which is what one subscriber has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

/// Failed registrations of late.
#[derive(Debug, Default)]
pub(crate) struct Joining(Mutex<Attempts<Origin>>);

impl Joining {
    fn attempts(&self) -> MutexGuard<'_, Attempts<Origin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // counts only
    }

    /// Whether it may try now.
    pub(crate) fn check(&self, origin: Option<&Origin>) -> Result<(), TooMany> {
        origin.map_or(Ok(()), |origin| self.attempts().check(Instant::now(), origin)).map_err(TooMany)
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, origin: Option<Origin>) {
        if let Some(origin) = origin {
            self.attempts().failed(Instant::now(), origin);
        }
    }
}

/// Too many registrations of late were refused; how long to wait.
#[derive(Debug)]
pub(crate) struct TooMany(Duration);

impl From<TooMany> for Status {
    fn from(TooMany(wait): TooMany) -> Self {
        let why = format!("too many failed registrations: try again in {} s", wait.as_secs_f64().ceil());
        let mut details = ErrorDetails::with_error_info("TOO_MANY_FAILURES", "pi-controller", []);
        details.set_retry_info(Some(wait));
        Status::with_error_details(Code::ResourceExhausted, why, details)
    }
}

#[cfg(test)]
mod tests {

    #[test]
    fn a_subscriber_is_one_origin() {
        let network = |text: &str| super::network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
