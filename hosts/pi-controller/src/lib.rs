//! Decides nothing about nodes, tokens or rights: it wires `control-lib` to mutual TLS, gRPC, time and a store, and
//! passes calls for nodes on unchanged.
//!
//! [`init`] makes a cluster, [`serve`] is the whole control plane, [`create_token`] asks a running one for a token.

mod authority;
mod authorized;
mod backup;
mod believed;
mod comebacks;
mod config;
mod control_plane;
mod enforcement;
mod exclusions;
mod fleet;
mod init;
mod keys;
mod ledger;
mod links;
mod live;
mod open;
mod own_certificate;
mod passphrase;
mod proxy;
mod recovery;
mod restore;
#[cfg(test)]
mod role_changes;
mod sealed;
mod serve;
mod standard;
pub mod store;
mod token;
mod wire;
mod withdrawal;

pub use backup::{BackedUp, BackupError, ReadError, backup};
pub use config::{Config, Lifetimes};
pub use init::{InitError, Initialised, RecoveryExport, init, init_with};
pub use keys::KeyFileError;
pub use open::OpenClusterError;
pub use passphrase::{Passphrase, PassphraseError};
pub use recovery::{RecoverError, recover};
pub use restore::{RestoreError, Restored, restore};
pub use sealed::SealError;
pub use serve::{ServeError, serve};
pub use token::{TokenWish, TokenWishError, create_token};
