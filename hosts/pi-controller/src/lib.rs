//! Decides nothing about nodes, tokens or rights: it wires `control-lib` to mutual TLS, gRPC, time and a store, and
//! passes calls for nodes on unchanged.
//!
//! [`init`] makes a cluster, [`serve`] is the whole control plane, [`create_token`] asks a running one for a token.
//!
//! # The CA
//!
//! A cluster has two roots from its first day: the **online root**, whose key (`ca/<root>.key.pem`) signs what is issued, and
//! the **recovery root**, whose key exists once, sealed in `recovery.sealed`. Every member believes both. The store holds
//! certificates only; no copy of it can sign. No call gives a key away, to nobody: [`backup`], [`restore`] and [`recover`]
//! run on the controller's machine.
//!
//! ## After init
//!
//! 1. Write down the recovery passphrase; it is shown once.
//! 2. Move `recovery.sealed` off the machine, to another place than the passphrase.
//! 3. `pi-controller ca backup --out cluster.backup`, and move that away too. `pictl ca status` reminds of what is missing.
//!
//! ## A new online root, planned
//!
//! ```text
//! pictl ca rotate prepare     a new root is made, and all believe it
//! pictl ca status             until nobody lags
//! pictl ca rotate activate    it signs; the controller shows a certificate of it at once, nodes when they renew
//! pictl ca rotate taint       nodes renew now
//! pictl operator renew        each operator, for their own certificate
//! pictl ca status             until nobody lags
//! pictl ca rotate revoke      the old root is believed no longer, its key is deleted, its connections end
//! pi-controller ca backup     the new key is in no backup yet
//! ```
//!
//! `pictl ca rotate back` takes the last step back, any but `revoke`. In between each root certifies the other, so that who
//! believes only one of them (a node that has not heard yet, an operator's context, a join token, which pins the root of its
//! day) finds the way: join tokens are good until their root is revoked. `revoke` refuses while a node with a valid
//! certificate has not stored the new roots or renewed, and names it; `--force` shuts it out, and it must join again with a
//! new token.
//!
//! ## The drill: the CA key is lost or stolen
//!
//! What has a certificate works on until that ends; `pictl ca status` says when the first one does. Practise this once
//! before it is needed; it takes a minute and costs nothing but the tokens.
//!
//! ```text
//! systemctl stop pi-controller
//! pi-controller ca recover recovery.sealed     asks for the passphrase; a new root, certified by the recovery root
//! systemctl start pi-controller                all believe it at once, no node is visited
//! rm recovery.sealed                           that copy; the one elsewhere stays
//! pictl ca rotate taint, status, revoke        as above: the old root goes. If it was stolen: revoke --force at once
//! pi-controller ca backup --out cluster.backup
//! ```
//!
//! ## The machine is lost
//!
//! `pi-controller ca restore cluster.backup --state DIR` on another one, with the old one off for good. The epoch rises and
//! every join token of before is over; nodes that joined after the backup was made must join again, and who was locked or
//! revoked after it must be so again. Nodes look for the
//! controller where they did: give the new machine the old address. A backup that was made before a rotation ended knows a
//! root that nodes believe no longer: then `ca recover` on top.

mod audit;
mod authority;
mod authorized;
mod backup;
mod believed;
mod comebacks;
mod config;
mod control_plane;
mod enforcement;
mod enrolment;
mod exclusions;
mod fleet;
mod init;
mod joining;
mod keys;
mod ledger;
mod links;
mod live;
mod open;
mod operators;
mod own_certificate;
mod passphrase;
mod proxy;
mod recorder;
mod recovery;
mod restore;
#[cfg(test)]
mod role_changes;
mod sealed;
mod serve;
mod standard;
pub mod store;
mod token;
mod tokens;
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
