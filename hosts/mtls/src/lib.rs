//! Knows nothing of GPIO, nodes or messages: only who is at the other end of a connection, proved by mutual TLS.
//!
//! Every listener and every client of Pi-Controller goes through here. TLS 1.3 only, a client certificate always, no
//! session resumption, no flag that loosens any of it.
//!
//! | to | use |
//! | --- | --- |
//! | load or store a certificate and its key | [`Credentials`] |
//! | decide whose certificates are accepted, and change that while serving | [`Trust`], [`OwnCertificate`] |
//! | serve | [`Acceptor`], [`Limits`], [`serve`] |
//! | know what was turned away | [`Counters`] |
//! | call | [`Dialer`] |
//! | know who called | [`Peer`] in the request's extensions |
//! | join | [`JoinToken`], [`OwnKey`] |

mod acceptor;
mod answer;
mod context;
mod counters;
mod credentials;
mod crowd;
mod deadline;
mod dialer;
mod explain;
mod files;
mod identity;
mod limits;
mod message;
mod pem;
mod serve;
mod throttle;
mod token;
mod trust;

pub use acceptor::{Acceptor, Connection};
pub use context::{Context, ContextError};
pub use counters::{Cause, Counters};
pub use credentials::{Credentials, CredentialsError, OwnCertificate, OwnKey};
pub use deadline::timed_out;
pub use dialer::{DialError, Dialer, Expect};
pub use explain::explain;
pub use files::{FileError, check_private_dir, create_private_dir, read_private, write_private};
pub use identity::{IdentityError, Kind, Peer, PeerIdentity};
pub use limits::Limits;
pub use pem::{Pem, PemError, parse as parse_pem, write as write_pem};
pub use rustls::Error as TlsError;
pub use rustls::pki_types::{CertificateDer, PrivateKeyDer};
pub use serve::{DRAIN, Router, serve, server};
pub use token::{JoinToken, TokenError};
pub use trust::{TokenKeys, Trust, TrustError, public_key_pin};
