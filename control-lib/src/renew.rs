//! The next certificate of a node, and what it says of itself now.

use std::time::SystemTime;

use crate::control::Control;
use crate::enrol::{Grant, check_endpoints};
use crate::exclusion::{Excluded, ExclusionKind};
use crate::identity::{Identity, Name};
use crate::node::Node;
use crate::registration::{RegisterRefusal, Registration};

impl Control {
    pub(crate) fn renew(&self, now: SystemTime, name: &Name, request: &Registration) -> Result<Grant, RegisterRefusal> {
        let node = self.node(name).ok_or_else(|| RegisterRefusal::NodeUnknown(name.clone()))?;
        if request.name != *name {
            return Err(RegisterRefusal::OtherName(name.clone()));
        }
        let who = Identity::node(name.clone());
        if let Some(exclusion) = self.exclusion(&who) {
            return Err(match exclusion.kind {
                ExclusionKind::Locked => Excluded::Locked(who),
                ExclusionKind::Revoked => Excluded::Revoked(who),
            }
            .into());
        }
        check_endpoints(request)?;
        let mut node = node.described(request);
        let Some(key) = request.key()? else {
            return Ok(Grant { action: "describe", node, used: None });
        };
        self.admit_key(&key.fingerprint())?;
        if let Some(other) = self.node_with(&key).filter(|other| other.name != *name) {
            return Err(RegisterRefusal::KeyTaken(other.name.clone()));
        }
        // The key of a young certificate again is a lost answer, not a wish for another certificate.
        if key != node.public_key || now >= node.certificate.renew_at() {
            node.certificate = self.certify(now, &key, name)?;
            node.public_key = key;
        }
        Ok(Grant { action: "renew", node, used: None })
    }
}

impl Node {
    /// The node as it describes itself now; certificate, key, token and times stay.
    pub(crate) fn described(&self, request: &Registration) -> Node {
        let Registration { name: _, csr: _, inventory, labels, endpoints, roots_version } = request.clone();
        let roots_version = roots_version.unwrap_or(self.roots_version);
        Node { inventory, labels, endpoints, roots_version, ..self.clone() }
    }
}
