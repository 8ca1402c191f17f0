//! The first certificate of a node, for a join token.

use std::time::SystemTime;

use crate::control::Control;
use crate::enrol::{Grant, check_endpoints};
use crate::identity::{Identity, Name};
use crate::key::PublicKey;
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
        check_token(now, token, &request.name)?;
        check_endpoints(request)?;
        let key = request.key()?.ok_or(RegisterRefusal::CsrMissing)?;
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
        let is_free = self.is_revoked(&Identity::node(request.name.clone()));
        if !is_free && self.node(&request.name).is_some_and(|node| node.public_key != key) {
            return Err(RegisterRefusal::NameTaken(request.name.clone()));
        }
        let node = Node {
            name: request.name.clone(),
            certificate: self.certify(now, &key, &request.name)?,
            public_key: key,
            inventory: request.inventory.clone(),
            labels: request.labels.clone(),
            endpoints: request.endpoints.clone(),
            token: token.id,
            roots_version: request.roots_version.unwrap_or_default(),
            registered_at: now,
            updated_at: now,
        };
        Ok(Grant { action: "join", node, used: Some(TokenRecord { uses_left, ..token.clone() }) })
    }

    fn join_again(&self, now: SystemTime, node: &Node, request: &Registration) -> Result<Grant, RegisterRefusal> {
        let mut node = node.described(request);
        if node.certificate.not_after <= now {
            node.certificate = self.certify(now, &node.public_key, &node.name)?;
        }
        Ok(Grant { action: "join", node, used: None })
    }
}

fn check_token(now: SystemTime, token: &TokenRecord, name: &Name) -> Result<(), RegisterRefusal> {
    if !token.is_live(now) {
        return Err(RegisterRefusal::TokenExpired(token.id));
    }
    match &token.bound_name {
        Some(bound) if bound != name => Err(RegisterRefusal::TokenBound { bound: bound.clone() }),
        _ => Ok(()),
    }
}
