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
//! | keep somebody out, now and at once | [`Trust::admit_by`], [`Sessions`] |
//! | know who called | [`Peer`] in the request's extensions |
//! | join | [`JoinToken`], [`OwnKey`] |
//! | be right about the time, without a clock | [`Clock`], for `with_clock` of [`Dialer`] and [`Acceptor`] |

mod acceptor;
mod answer;
mod clock;
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
mod server_verifier;
mod sessions;
mod throttle;
mod token;
mod trust;

pub use acceptor::{Acceptor, Connection};
pub use clock::{Clock, ClockFault};
pub use context::{Context, ContextError, Issued};
pub use counters::{Cause, Counters};
pub use credentials::{Credentials, CredentialsError, OwnCertificate, OwnKey, Validity};
pub use deadline::timed_out;
pub use dialer::{DialError, Dialer};
pub use explain::{clock_fault, explain, is_refused_for_good, was_revoked};
pub use files::{FileError, check_private_dir, create_private_dir, read_private, write_private};
pub use identity::{IdentityError, Kind, Peer, PeerCertificate, PeerIdentity};
pub use limits::Limits;
pub use pem::{Pem, PemError, parse as parse_pem, write as write_pem};
pub use rustls::Error as TlsError;
pub use rustls::pki_types::{CertificateDer, PrivateKeyDer};
pub use serve::{DRAIN, Router, serve, server};
pub use server_verifier::Expect;
pub use sessions::{Open, Sessions};
pub use token::{JoinToken, TokenError};
pub use trust::{Guests, Refusal, TokenKeys, Trust, TrustError, public_key_pin};
