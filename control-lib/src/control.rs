//! The mirror of the durable state, and how it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::SystemTime;

use crate::audit::AuditRow;
use crate::exclusion::{Exclusion, RevokedKey};
use crate::identity::{ClusterId, Identity, Name};
use crate::issuer::Issuer;
use crate::key::PublicKey;
use crate::node::Node;
use crate::operator::Operator;
use crate::token::TokenRecord;

/// One row to be stored as it stands. A `Put` replaces the row of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Stores a node under its name.
    PutNode(Box<Node>),
    /// Stores a token under its id.
    PutToken(TokenRecord),
    /// Stores an operator under its name.
    PutOperator(Operator),
    /// Keeps somebody out, instead of what kept them out before.
    PutExclusion(Exclusion),
    /// Lets somebody in again.
    DropExclusion(Identity),
    /// Keeps a key out.
    PutRevokedKey(RevokedKey),
    /// Forgets a key that was kept out, by its SHA-256.
    DropRevokedKey([u8; 32]),
    /// Appends to the audit.
    Audit(AuditRow),
}

/// What is to be stored, in one transaction, and what is to be answered after that.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "commit the changes, apply them, then give the answer"]
pub struct Decision<T> {
    /// What to store; empty if nothing changes.
    pub changes: Vec<Change>,
    /// What to answer once the changes are stored.
    pub answer: T,
}

/// Everything the control plane knows and must not forget, in memory.
///
/// It is changed by [`Control::apply`] alone. Decisions look at it as it is, so whoever takes two of them without
/// applying the first has decided the second on old news: take, commit and apply under one lock.
#[derive(Debug)]
pub struct Control {
    issuer: Issuer,
    nodes: BTreeMap<Name, Node>,
    tokens: BTreeMap<[u8; 32], TokenRecord>,
    operators: BTreeMap<Name, Operator>,
    pub(crate) exclusions: BTreeMap<Identity, Exclusion>,
    /// Those of them that the store does not have.
    pub(crate) unstored: BTreeSet<Identity>,
    pub(crate) revoked_keys: BTreeMap<[u8; 32], RevokedKey>,
    revision: u64,
    trust_revision: u64,
}

impl Control {
    /// A cluster in which nothing has happened yet.
    pub fn new(issuer: Issuer) -> Control {
        Control::restore(issuer, 0, [])
    }

    /// A cluster as it was stored: every stored row as a change, in any order, and the last committed revision.
    pub fn restore(issuer: Issuer, revision: u64, rows: impl IntoIterator<Item = Change>) -> Control {
        let (nodes, tokens, operators, exclusions, unstored, revoked_keys) = Default::default();
        let trust_revision = revision;
        let mut control =
            Control { issuer, nodes, tokens, operators, exclusions, unstored, revoked_keys, revision, trust_revision };
        rows.into_iter().for_each(|row| control.put(row));
        control
    }

    /// Takes over what has been committed as one transaction. The revision rises by one, if there is any change.
    pub fn apply(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.revision = self.next_revision();
        }
        if changes.iter().any(|change| self.concerns_trust(change)) {
            self.trust_revision = self.revision;
        }
        changes.into_iter().for_each(|change| self.put(change));
    }

    fn put(&mut self, change: Change) {
        match change {
            Change::PutNode(node) => drop(self.nodes.insert(node.name.clone(), *node)),
            Change::PutToken(token) => drop(self.tokens.insert(token.public_key, token)),
            Change::PutOperator(operator) => drop(self.operators.insert(operator.name.clone(), operator)),
            Change::PutExclusion(exclusion) => {
                self.unstored.remove(&exclusion.subject);
                self.exclusions.insert(exclusion.subject.clone(), exclusion);
            }
            Change::DropExclusion(subject) => drop(self.exclusions.remove(&subject)),
            Change::PutRevokedKey(key) => drop(self.revoked_keys.insert(key.fingerprint, key)),
            Change::DropRevokedKey(fingerprint) => drop(self.revoked_keys.remove(&fingerprint)),
            // The audit grows without end and no decision reads it: it stays in the store.
            Change::Audit(_) => {}
        }
    }

    /// Keeps somebody out although it cannot be stored, until the process ends: a full disk is no reason to let a thief go
    /// on. The same decision again, when there is room, stores it.
    pub fn exclude_unstored(&mut self, exclusion: Exclusion) {
        self.unstored.insert(exclusion.subject.clone());
        self.exclusions.insert(exclusion.subject.clone(), exclusion);
    }

    /// Whether somebody who was let in, or a call that was allowed, may no longer be so.
    fn concerns_trust(&self, change: &Change) -> bool {
        match change {
            Change::Audit(_) | Change::PutToken(_) => false,
            // heartbeats are no state; what a node says of itself matters where operators are bound to labels
            Change::PutNode(node) => self
                .node(&node.name)
                .is_some_and(|before| before.registered_at != node.registered_at || before.labels != node.labels),
            _ => true,
        }
    }

    /// The last revision that changed who is let in or what they may do: open connections and streams are judged again
    /// after it.
    pub fn trust_revision(&self) -> u64 {
        self.trust_revision
    }

    /// The number of transactions committed so far.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision under which the next decision's changes are to be committed.
    pub fn next_revision(&self) -> u64 {
        self.revision + 1
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &ClusterId {
        self.issuer.cluster()
    }

    /// The cluster's certificate authority.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The node of that name.
    pub fn node(&self, name: &Name) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// All nodes, ordered by name.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.nodes.values()
    }

    /// The nodes after the one of that name, ordered by name; all of them after `None`. The name need not exist (any
    /// more).
    pub fn nodes_after(&self, name: Option<&Name>) -> impl Iterator<Item = &Node> {
        let after = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.nodes.range::<Name, _>((after, Bound::Unbounded)).map(|(_, node)| node)
    }

    /// The node whose current certificate has this key.
    pub(crate) fn node_with(&self, key: &PublicKey) -> Option<&Node> {
        self.nodes.values().find(|node| node.public_key == *key)
    }

    /// The operator of that name.
    pub fn operator(&self, name: &Name) -> Option<&Operator> {
        self.operators.get(name)
    }

    /// All operators, ordered by name.
    pub fn operators(&self) -> impl ExactSizeIterator<Item = &Operator> {
        self.operators.values()
    }

    /// The token with this Ed25519 public key, live or not.
    pub fn token(&self, public_key: &[u8; 32]) -> Option<&TokenRecord> {
        self.tokens.get(public_key)
    }

    /// All tokens that were ever made, in no useful order.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &TokenRecord> {
        self.tokens.values()
    }

    /// Whether the holder of this key may connect in order to join: the token is known and its time is not over.
    ///
    /// A used-up token counts, so that its holder is told so by [`Control::register`] instead of meeting a closed door.
    pub fn live_token(&self, now: SystemTime, public_key: &[u8; 32]) -> bool {
        self.token(public_key).is_some_and(|token| token.is_live(now))
    }
}
