//! Knows nothing of GPIO, nodes or messages: only who is at the other end of a connection, proved by mutual TLS.
//!
//! Every listener and every client of Pi-Controller goes through here. TLS 1.3 only, a client certificate always, no
//! session resumption, no flag that loosens any of it.
//!
//! | to | use |
//! | --- | --- |
//! | load or store a certificate and its key | [`Credentials`] |
//! | decide whose certificates are accepted, and change that while serving | [`Trust`], [`OwnCertificate`] |
//! | serve | [`Acceptor`], [`serve`] |
//! | call | [`Dialer`] |
//! | keep somebody out, now and at once | [`Trust::admit_by`], [`Sessions`] |
//! | know who called | [`Peer`] in the request's extensions |
//! | join | [`JoinToken`], [`OwnKey`] |

mod acceptor;
mod context;
mod credentials;
mod deadline;
mod dialer;
mod explain;
mod files;
mod identity;
mod pem;
mod serve;
mod sessions;
mod token;
mod trust;

pub use acceptor::{Acceptor, Connection, Limits};
pub use context::{Context, ContextError};
pub use credentials::{Credentials, CredentialsError, OwnCertificate, OwnKey};
pub use deadline::{Deadline, Timely, timed_out};
pub use dialer::{DialError, Dialer, Expect};
pub use explain::{explain, was_revoked};
pub use files::{FileError, create_private_dir, read_private, write_private};
pub use identity::{IdentityError, Kind, Peer, PeerCertificate, PeerIdentity};
pub use pem::{Pem, PemError, parse as parse_pem, write as write_pem};
pub use rustls::Error as TlsError;
pub use rustls::pki_types::{CertificateDer, PrivateKeyDer};
pub use serve::{DRAIN, Limited, serve, server};
pub use sessions::{Open, Sessions};
pub use token::{JoinToken, TokenError};
pub use trust::{Refusal, TokenKeys, Trust, TrustError, public_key_pin};
