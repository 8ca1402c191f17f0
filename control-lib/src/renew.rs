//! The next certificate of a node, and what it says of itself now.

use std::time::SystemTime;

use crate::control::Control;
use crate::enrol::{Grant, check_endpoints};
use crate::exclusion::{Excluded, ExclusionKind};
use crate::identity::{Identity, Name};
use crate::labels::Labels;
use crate::node::{Inventory, Node};
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
        node.check_board(request)?;
        let mut node = node.described(request);
        let Some(key) = request.key()? else {
            return Ok(Grant { action: "describe", node, used: None, replaced: None });
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
        Ok(Grant { action: "renew", node, used: None, replaced: None })
    }
}

impl Node {
    /// The node as it describes itself now; certificate, key, token, times and assigned labels stay.
    pub(crate) fn described(&self, request: &Registration) -> Node {
        let Registration { name: _, csr: _, inventory, labels, endpoints, roots_version } = request.clone();
        let roots_version = roots_version.unwrap_or(self.roots_version);
        let inventory = inventory.of_the_board(&self.inventory);
        Node { inventory, endpoints, roots_version, ..self.clone() }.labelled(&labels)
    }

    /// The node with its labels as they follow from what is assigned and what it says of itself.
    pub(crate) fn labelled(mut self, said: &Labels) -> Node {
        self.labels = if self.own_labels { self.assigned.and_as_many_of(said) } else { self.assigned.clone() };
        self
    }

    pub(crate) fn check_board(&self, request: &Registration) -> Result<(), RegisterRefusal> {
        match self.inventory.is_of_another_board(&request.inventory) {
            true => Err(RegisterRefusal::Clone(self.name.clone())),
            false => Ok(()),
        }
    }
}

impl Inventory {
    /// A board does not lose its serial number by not telling it: else a copy could make itself room that way.
    fn of_the_board(mut self, known: &Inventory) -> Inventory {
        if self.known_serial().is_none() {
            self.serial = known.serial.clone();
        }
        if self.machine_id.is_empty() {
            self.machine_id = known.machine_id.clone();
        }
        self
    }
}
