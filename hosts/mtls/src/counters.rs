//! What a listener turned away, by cause: counted each time, told in the log at most once in a while.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::{CertificateError, Error};
use tokio::time::sleep;

/// One line of the log for each cause, and a second one with a number, in this time.
const QUIET: Duration = Duration::from_secs(10);

/// Why a connection was not taken on, or was ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Cause {
    /// The address connects too often.
    Throttled,
    /// The handshake took too long.
    Timeout,
    /// The handshake took a second while others waited for a place.
    Crowded,
    /// The peer went away during the handshake.
    Disconnected,
    /// What came is no TLS, or breaks its rules.
    NotTls,
    /// TLS 1.2 or older, or nothing in common.
    Incompatible,
    /// The peer does not speak HTTP/2.
    Protocol,
    /// The peer has refused our certificate.
    RefusedUs,
    /// The peer showed no certificate.
    NoCertificate,
    /// The peer's certificate has expired.
    Expired,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// Another CA issued the peer's certificate, or its key is that of no live join token.
    UnknownIssuer,
    /// The peer's certificate is not for clients.
    Purpose,
    /// The peer is revoked or locked.
    Revoked,
    /// The certificate does not name exactly one identity of this cluster.
    Identity,
    /// Any other reason to refuse a handshake.
    Other,
    /// The connection was made, and no request came.
    NoRequest,
    /// A call was ended because the peer took nothing of its answer.
    Stalled,
    /// The listener waited, because there were as many connections as it takes.
    Full,
    /// The listener waited, because the system had no descriptor for a connection.
    Descriptors,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Throttled,
        Self::Timeout,
        Self::Crowded,
        Self::Disconnected,
        Self::NotTls,
        Self::Incompatible,
        Self::Protocol,
        Self::RefusedUs,
        Self::NoCertificate,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownIssuer,
        Self::Purpose,
        Self::Revoked,
        Self::Identity,
        Self::Other,
        Self::NoRequest,
        Self::Stalled,
        Self::Full,
        Self::Descriptors,
    ];

    /// In metrics and logs: lower case, one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Crowded => "crowded",
            Self::Disconnected => "disconnected",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::Protocol => "protocol",
            Self::RefusedUs => "refused_us",
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Purpose => "purpose",
            Self::Revoked => "revoked",
            Self::Identity => "identity",
            Self::Other => "other",
            Self::NoRequest => "no_request",
            Self::Stalled => "stalled",
            Self::Full => "full",
            Self::Descriptors => "descriptors",
        }
    }

    /// Why a handshake failed. Each failure has exactly one cause.
    pub(crate) fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Self::of_tls(error),
            None => match error.kind() {
                UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected => Self::Disconnected,
                _ => Self::Other,
            },
        }
    }

    fn of_tls(error: &Error) -> Self {
        match error {
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord => Self::NotTls,
            Error::PeerIncompatible(_) => Self::Incompatible,
            Error::NoApplicationProtocol => Self::Protocol,
            Error::AlertReceived(_) => Self::RefusedUs,
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(certificate) => Self::of_certificate(certificate),
            // what `Trust` says of identities
            Error::General(_) => Self::Identity,
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            // a bad signature is that of a CA of the same name with another key
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Self::Purpose,
            CertificateError::Revoked => Self::Revoked,
            _ => Self::Other,
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::Full => "no more connections for the moment: new ones wait",
            Self::Descriptors => "no descriptor for a connection: new ones wait",
            Self::NoRequest => "ended a connection that asked nothing",
            Self::Stalled => "ended a call whose answer is not taken",
            _ => "refused a connection",
        }
    }
}

/// How often each [`Cause`] has been met since the process began. One for all listeners of a process.
#[derive(Default)]
pub struct Counters {
    causes: [Slot; Cause::ALL.len()],
}

#[derive(Default)]
struct Slot {
    count: AtomicU64,
    /// `None`: the next one is told at once.
    since_told: Mutex<Option<SinceTold>>,
}

/// What came after a cause was told in the log.
#[derive(Default)]
struct SinceTold {
    count: u64,
    last: Option<SocketAddr>,
}

impl Counters {
    /// How often so far.
    pub fn count(&self, cause: Cause) -> u64 {
        self.causes[cause as usize].count.load(Ordering::Relaxed)
    }

    /// Counts one; tells it in the log unless that was done within the last 10 s: then a line with the number follows when
    /// they are over. `address` is whose connection it was, if it was one.
    pub fn note(self: &Arc<Self>, cause: Cause, address: Option<SocketAddr>, why: &dyn fmt::Display) {
        let slot = &self.causes[cause as usize];
        slot.count.fetch_add(1, Ordering::Relaxed);
        let mut since_told = slot.since_told();
        if let Some(since) = &mut *since_told {
            since.count += 1;
            since.last = address;
            return;
        }
        *since_told = Some(SinceTold::default());
        drop(since_told);
        let address = address.map(tracing::field::display);
        match cause {
            Cause::Full | Cause::Descriptors => tracing::warn!(cause = cause.name(), %why, "{}", cause.told()),
            _ => tracing::info!(cause = cause.name(), address, %why, "{}", cause.told()),
        }
        tokio::spawn(self.clone().sum_up(cause));
    }

    async fn sum_up(self: Arc<Self>, cause: Cause) {
        sleep(QUIET).await;
        let more = self.causes[cause as usize].since_told().take().unwrap_or_default();
        if more.count > 0 {
            let last = more.last.map(tracing::field::display);
            tracing::info!(
                cause = cause.name(),
                count = more.count,
                last,
                "{}, in 10 s as often as this",
                cause.told()
            );
        }
    }
}

impl Slot {
    fn since_told(&self) -> std::sync::MutexGuard<'_, Option<SinceTold>> {
        self.since_told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(Cause::ALL.map(|cause| (cause.name(), self.count(cause)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_place_and_its_name() {
        for (place, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, place);
        }
        let names: std::collections::BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), Cause::ALL.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_and_told_twice_in_ten_seconds() {
        let told = Arc::new(AtomicU64::new(0));
        let _log = tracing::subscriber::set_default(Lines(told.clone()));
        let counters = Arc::new(Counters::default());
        let flood = |count: u64| (0..count).for_each(|_| counters.note(Cause::NotTls, None, &"nonsense"));
        flood(1000);
        assert_eq!((counters.count(Cause::NotTls), told.load(Ordering::Relaxed)), (1000, 1));
        counters.note(Cause::Expired, None, &"old");
        assert_eq!(told.load(Ordering::Relaxed), 2, "another cause is told at once");
        sleep(QUIET + Duration::from_millis(1)).await;
        assert_eq!(told.load(Ordering::Relaxed), 3, "the number of those that were not told, where there are some");
        flood(1);
        assert_eq!(told.load(Ordering::Relaxed), 4, "told again");
        assert!(format!("{counters:?}").contains("\"not_tls\": 1001"));
    }

    /// Counts what is logged.
    struct Lines(Arc<AtomicU64>);

    impl tracing::Subscriber for Lines {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            if event.metadata().target().contains("counters") {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }
}
