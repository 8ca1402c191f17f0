//! Where a node can be dialled.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The text is no address and no host name with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write host:port, 192.0.2.7:7443 or [2001:db8::7]:7443")]
pub struct EndpointError;

/// `host:port`; the host is a DNS name, an IPv4 address or an IPv6 address in brackets, the port is not 0.
///
/// Whoever answers there is believed by certificate only, never for its address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(Box<str>);

impl Endpoint {
    /// The endpoint as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let port = match text.parse::<SocketAddr>() {
            Ok(address) => address.port(),
            Err(_) => named_port(text).ok_or(EndpointError)?,
        };
        if port == 0 {
            return Err(EndpointError);
        }
        Ok(Endpoint(text.into()))
    }
}

/// The port behind a DNS name; `None` if there is none or the name is not one.
fn named_port(text: &str) -> Option<u16> {
    let (host, port) = text.rsplit_once(':')?;
    let host_is_name = host.len() <= 253 && host.split('.').all(is_host_label);
    let port_is_plain = port.bytes().all(|b| b.is_ascii_digit());
    (host_is_name && port_is_plain).then(|| port.parse().ok())?
}

fn is_host_label(label: &str) -> bool {
    let known = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    known && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
