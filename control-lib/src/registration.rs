//! What is said when a node joins, renews or describes itself anew.

use std::time::SystemTime;

use crate::csr::CsrError;
use crate::endpoint::Endpoint;
use crate::exclusion::Excluded;
use crate::identity::Name;
use crate::issuer::IssueError;
use crate::key::PublicKey;
use crate::labels::Labels;
use crate::node::Inventory;
use crate::token::TokenId;

/// What the caller of `RegisterNode` proved in the TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    /// The key of a join token.
    Token {
        /// The token's Ed25519 public key.
        public_key: &'a [u8; 32],
    },
    /// A certificate of this node.
    Node(&'a Name),
}

/// What a node asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The name that it wishes for; its own name, once it is enrolled.
    pub name: Name,
    /// A certificate request in DER for a key that never leaves the node. Needed for joining; asks for a new
    /// certificate later.
    pub csr: Option<Vec<u8>>,
    /// What it is; replaces what it said before.
    pub inventory: Inventory,
    /// What it can be selected by; replaces what it said before.
    pub labels: Labels,
    /// Where it can be dialled, at most [`Registration::MAX_ENDPOINTS`]; replaces what it said before.
    pub endpoints: Vec<Endpoint>,
    /// The version of the roots that it has stored, if it has been told one; `None` leaves what it said before.
    pub roots_version: Option<u64>,
}

impl Registration {
    /// The most endpoints that a node can have.
    pub const MAX_ENDPOINTS: usize = 8;

    /// The key that a certificate is wanted for, if one is wanted.
    pub(crate) fn key(&self) -> Result<Option<PublicKey>, RegisterRefusal> {
        self.csr.as_deref().map(PublicKey::from_csr).transpose().map_err(RegisterRefusal::Csr)
    }
}

/// What an enrolled node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its name.
    pub node: Name,
    /// Its current certificate, in DER.
    pub certificate: Vec<u8>,
    /// The certificate of the CA that issued it, in DER.
    pub ca_certificate: Vec<u8>,
    /// The CA certificates that it is to believe, in DER.
    pub roots: Vec<Vec<u8>>,
    /// The last moment at which its certificate is valid.
    pub not_after: SystemTime,
    /// When it should ask for the next one: at half of the lifetime.
    pub renew_at: SystemTime,
    /// The cluster's revision that this answer belongs to.
    pub revision: u64,
}

/// Why a node was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterRefusal {
    /// No token has that key.
    #[error("join with a token of this cluster")]
    TokenUnknown,
    /// The token's time is over.
    #[error("ask for a new token: {0} has expired")]
    TokenExpired(TokenId),
    /// The token has no use left, and the node that asks is not one that it enrolled. Raises an alarm.
    #[error("ask for a new token: {0} is used up, by another key")]
    TokenUsed(TokenId),
    /// The token is for another name.
    #[error("join as {bound}: the token is bound to that name")]
    TokenBound {
        /// The name that the token is for.
        bound: Name,
    },
    /// A node of that name is enrolled with another key.
    #[error("choose another name: node/{0} is enrolled with another key")]
    NameTaken(Name),
    /// Another node is enrolled with that key: an image was copied, key and all. Raises an alarm.
    #[error("make a new key: this one is that of node/{0}")]
    KeyTaken(Name),
    /// The certificate is good, but the node is not in the table.
    #[error("join again with a new token: node/{0} is not enrolled")]
    NodeUnknown(Name),
    /// A node spoke of another one.
    #[error("register as {0}: a node speaks for itself only")]
    OtherName(Name),
    /// The node or its key is kept out. A revoked key raises an alarm.
    #[error(transparent)]
    Excluded(#[from] Excluded),
    /// Joining takes a certificate request.
    #[error("send a certificate request for the node's own key")]
    CsrMissing,
    /// The certificate request was not taken.
    #[error("send another certificate request")]
    Csr(#[source] CsrError),
    /// Too many endpoints.
    #[error("give at most 8 endpoints, not {0}")]
    Endpoints(usize),
    /// The control plane could not issue a certificate. Not the node's fault.
    #[error("try again later: no certificate could be issued")]
    Issue(#[source] IssueError),
}

impl RegisterRefusal {
    /// Whether somebody may be using what is not theirs, so that a person should look at it.
    pub fn is_alarm(&self) -> bool {
        match self {
            RegisterRefusal::TokenUsed(_) | RegisterRefusal::KeyTaken(_) => true,
            RegisterRefusal::Excluded(excluded) => excluded.is_for_good(),
            _ => false,
        }
    }
}
