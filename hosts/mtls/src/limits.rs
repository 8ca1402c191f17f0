//! How much a listener takes on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use serde::Deserialize;

/// Descriptors that are left to the rest of the process: its files, its own connections, what commands need.
const OTHER_DESCRIPTORS: u64 = 64;

/// How much a listener takes on at once. As a table of a configuration file it has the fields of the throttle and of the
/// connections; each has a default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// A handshake that takes longer is ended.
    #[serde(skip)]
    pub handshake_timeout: Duration,
    /// Handshakes in progress. While more peers wait, whoever has taken a second gives way.
    #[serde(skip)]
    pub handshakes: usize,
    /// Connections, handshakes included; the next one waits in the kernel's queue. Fewer if the process may not have as many
    /// descriptors.
    pub connections: usize,
    /// New connections a second from one address (of IPv6: from one /64); what is more is reset. 0 is no limit. A handshake
    /// that is refused counts twice.
    pub connections_per_second: u32,
    /// How many may come at once, before the limit a second is felt.
    pub burst: u32,
    /// Addresses that are not throttled: this machine's own, and for example that of the NAT that a fleet is behind.
    pub unthrottled: Vec<IpAddr>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            handshakes: 256,
            connections: 2048,
            connections_per_second: 10,
            burst: 50,
            unthrottled: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        }
    }
}

impl Limits {
    /// Connections, as far as this process has descriptors for them.
    pub(crate) fn possible_connections(&self) -> usize {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let left = usize::try_from(descriptors.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(usize::MAX);
        self.connections.min(left).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_operators_need_and_nothing_else() {
        let parse = |text: &str| toml::from_str::<Limits>(text);
        assert_eq!(parse("").unwrap(), Limits::default());
        let limits =
            parse("connections_per_second = 0\nburst = 7\nunthrottled = ['192.0.2.1', '2001:db8::1']").unwrap();
        assert_eq!((limits.connections_per_second, limits.burst, limits.unthrottled.len()), (0, 7, 2));
        assert!(parse("handshakes = 7").is_err() && parse("unthrottled = ['here']").is_err());
    }
}
