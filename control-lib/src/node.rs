//! Enrolled nodes.

use std::time::SystemTime;

use crate::certificate::Certificate;
use crate::endpoint::Endpoint;
use crate::identity::Name;
use crate::key::PublicKey;
use crate::labels::Labels;
use crate::text::Text;
use crate::token::TokenId;

/// What a node says that it is. Believed for display and selection, never for a decision on rights.
///
/// An empty text is something the node could not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The board, `Raspberry Pi 5 Model B Rev 1.0`.
    pub model: Text,
    /// The board's serial number.
    pub serial: Text,
    /// The board's revision code, `d04170`.
    pub revision: Text,
    /// The kernel's release.
    pub kernel: Text,
    /// The operating system's pretty name.
    pub os: Text,
    /// The machine's architecture, `aarch64`.
    pub architecture: Text,
    /// Installed memory in bytes; absent if the node could not tell.
    pub ram_bytes: Option<u64>,
    /// The operating system's machine id; two nodes with one id were made from one image.
    pub machine_id: Text,
    /// The id of the running boot.
    pub boot_id: Text,
    /// The GPIO backend, `gpio-cdev` or `simulated`.
    pub backend: Text,
    /// The number of GPIO lines.
    pub lines: u32,
}

/// A node that has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Name,
    /// The key of its current certificate; no two nodes have the same.
    pub public_key: PublicKey,
    /// Its current certificate.
    pub certificate: Certificate,
    /// What it is.
    pub inventory: Inventory,
    /// What it can be selected by.
    pub labels: Labels,
    /// Where it can be dialled, at most 8, the best first; empty if it dials out itself.
    pub endpoints: Vec<Endpoint>,
    /// The token that it joined with.
    pub token: TokenId,
    /// The version of the roots that it last said it has stored; 0 if it never said.
    pub roots_version: u64,
    /// When it joined.
    pub registered_at: SystemTime,
    /// When anything here last changed.
    pub updated_at: SystemTime,
}

impl Node {
    /// Whether anything but what it is made of, where it is and what it shows has changed: labels bind operators to nodes, and
    /// whoever joins anew ends the certificates of before.
    pub(crate) fn stands_otherwise(&self, now: &Node) -> bool {
        let same = Node {
            public_key: now.public_key.clone(),
            certificate: now.certificate.clone(),
            inventory: now.inventory.clone(),
            endpoints: now.endpoints.clone(),
            roots_version: now.roots_version,
            updated_at: now.updated_at,
            ..self.clone()
        };
        same != *now
    }
}
