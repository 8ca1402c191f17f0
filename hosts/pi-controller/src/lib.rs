//! Decides nothing about nodes, tokens or rights: it wires `control-lib` to mutual TLS, gRPC, time and a store, and
//! passes calls for nodes on unchanged.
//!
//! [`init`] makes a cluster, [`serve`] is the whole control plane, [`create_token`] asks a running one for a token.

mod audit;
mod authorized;
mod config;
mod control_plane;
mod enforcement;
mod enrolment;
mod exclusions;
mod fleet;
mod init;
mod joining;
mod ledger;
mod links;
mod live;
mod operators;
mod own_certificate;
mod proxy;
mod recorder;
#[cfg(test)]
mod role_changes;
mod serve;
mod standard;
pub mod store;
mod token;
mod tokens;
mod wire;
mod withdrawal;

pub use config::Config;
pub use init::{InitError, Initialised, init};
pub use serve::{ServeError, serve};
pub use token::{TokenWish, TokenWishError, create_token};
