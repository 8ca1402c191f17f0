//! The first certificate of a node, for a join token.

use std::time::SystemTime;

use crate::control::Control;
use crate::enrol::{Grant, check_endpoints};
use crate::exclusion::{Excluded, ExclusionKind};
use crate::identity::{Identity, Name};
use crate::key::PublicKey;
use crate::labels::Labels;
use crate::node::Node;
use crate::registration::{RegisterRefusal, Registration};
use crate::token::TokenRecord;

impl Control {
    pub(crate) fn join(
        &self,
        now: SystemTime,
        token: &[u8; 32],
        request: &Registration,
    ) -> Result<Grant, RegisterRefusal> {
        let token = self.token(token).ok_or(RegisterRefusal::TokenUnknown)?;
        check_token(now, token, request)?;
        check_endpoints(request)?;
        let key = request.key()?.ok_or(RegisterRefusal::CsrMissing)?;
        if let Some(owner) = self.node_with(&key) {
            owner.check_board(request)?;
        }
        self.admit_key(&key.fingerprint())?;
        match self.node_with(&key) {
            Some(node) if node.name != request.name => Err(RegisterRefusal::KeyTaken(node.name.clone())),
            Some(node) if node.token == token.id => self.join_again(now, node, request),
            _ => self.join_first(now, token, key, request),
        }
    }

    fn join_first(
        &self,
        now: SystemTime,
        token: &TokenRecord,
        key: PublicKey,
        request: &Registration,
    ) -> Result<Grant, RegisterRefusal> {
        let uses_left = token.uses_left.checked_sub(1).ok_or(RegisterRefusal::TokenUsed(token.id))?;
        let before = self.node(&request.name).filter(|node| !self.is_revoked(&Identity::node(node.name.clone())));
        if let Some(node) = before.filter(|node| node.public_key != key && !token.is_to_replace(node, request)) {
            return Err(RegisterRefusal::NameTaken(node.name.clone()));
        }
        self.check_unlocked(&request.name)?;
        if let Some(node) = self.other_name_of_board(&request.name, &request.inventory) {
            return Err(RegisterRefusal::BoardTaken(node.name.clone()));
        }
        let assigned = token.labels.over(before.map_or(&Labels::default(), |node| &node.assigned));
        let node = Node {
            name: request.name.clone(),
            certificate: self.certify(now, &key, &request.name)?,
            public_key: key,
            inventory: request.inventory.clone(),
            pending: token.approval,
            labels: Labels::default(),
            // too many together: the token's alone
            assigned: assigned.unwrap_or_else(|_| token.labels.clone()),
            own_labels: token.own_labels,
            endpoints: request.endpoints.clone(),
            token: token.id,
            roots_version: request.roots_version.unwrap_or_default(),
            registered_at: now,
            updated_at: now,
        };
        let used = Some(TokenRecord { uses_left, ..token.clone() });
        // the key of before has its certificate still
        let replaced = before.filter(|before| before.public_key != node.public_key).map(Control::void_key);
        Ok(Grant { action: "join", node: node.labelled(&request.labels), used, replaced })
    }

    fn join_again(&self, now: SystemTime, node: &Node, request: &Registration) -> Result<Grant, RegisterRefusal> {
        self.check_unlocked(&node.name)?;
        let mut node = node.described(request);
        if node.certificate.not_after <= now {
            node.certificate = self.certify(now, &node.public_key, &node.name)?;
        }
        Ok(Grant { action: "join", node, used: None, replaced: None })
    }
}

impl Control {
    /// A locked node gets no certificate, with whatever key and token.
    fn check_unlocked(&self, name: &Name) -> Result<(), Excluded> {
        let who = Identity::node(name.clone());
        match self.exclusion(&who).map(|exclusion| exclusion.kind) {
            Some(ExclusionKind::Locked) => Err(Excluded::Locked(who)),
            _ => Ok(()),
        }
    }
}

impl TokenRecord {
    /// Whether it lets a new key take over `node`, whose certificate then ends: a board that got a new image, or a new
    /// board under the old name.
    ///
    /// A token for many nodes does not, or each of them could take over any other: what a board says of its serial
    /// number proves nothing.
    fn is_to_replace(&self, node: &Node, request: &Registration) -> bool {
        let is_new = self.id != node.token && self.created_at > node.registered_at;
        let same_board = node.inventory.is_of_the_same_board(&request.inventory);
        let for_one = self.uses == 1 || self.bound_serial.is_some();
        is_new && (self.bound_name.as_ref() == Some(&node.name) || (same_board && for_one))
    }
}

fn check_token(now: SystemTime, token: &TokenRecord, request: &Registration) -> Result<(), RegisterRefusal> {
    if token.revoked_at.is_some() {
        return Err(RegisterRefusal::TokenRevoked(token.id));
    }
    if !token.is_live(now) {
        return Err(RegisterRefusal::TokenExpired(token.id));
    }
    if token.bound_serial.as_ref().is_some_and(|serial| *serial != request.inventory.serial) {
        return Err(RegisterRefusal::TokenBoard);
    }
    match &token.bound_name {
        Some(bound) if *bound != request.name => Err(RegisterRefusal::TokenBound { bound: bound.clone() }),
        _ => Ok(()),
    }
}
