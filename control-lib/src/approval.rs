//! What operators decide about a node: to let it in, to turn it away, how it is selected.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::audit::{AuditRow, Outcome};
use crate::control::{Change, Control, Decision};
use crate::identity::{Identity, Name};
use crate::labels::{Labels, LabelsError};
use crate::node::Node;
use crate::revocation::ExclusionRefusal;
use crate::text::Text;

/// Why nothing was decided about a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalRefusal {
    /// No node of that name.
    #[error("no node is called {0}; list the nodes to see their names")]
    Unknown(Name),
    /// Deciding about a node that was turned away or revoked.
    #[error("let node/{0} join again with a new token: it was revoked")]
    Revoked(Name),
    /// A rejected node's key could not be revoked.
    #[error(transparent)]
    Revoke(ExclusionRefusal),
    /// Rejecting somebody who takes part.
    #[error("revoke node/{0} instead: it takes part already")]
    TakesPart(Name),
    /// More labels than a node can have, or a label that is none.
    #[error("correct the labels")]
    Labels(#[from] LabelsError),
}

impl Control {
    /// Lets a node take part that waits for it. Approving one that takes part changes nothing.
    pub fn approve_node(
        &self,
        now: SystemTime,
        who: &Identity,
        name: &Name,
    ) -> Decision<Result<Node, ApprovalRefusal>> {
        let approved = self.find(name).map(|node| Node { pending: false, ..node });
        self.decided(now, (who, "node.approve"), name, approved)
    }

    /// Turns a node away that waits for approval: its key is revoked, its name is free again.
    pub fn reject_node(&self, now: SystemTime, who: &Identity, name: &Name) -> Decision<Result<Node, ApprovalRefusal>> {
        match self.find(name) {
            Ok(node) if node.pending => {
                let reason = "rejected".parse().unwrap_or_default();
                let Decision { changes, answer } = self.revoke(now, who, &Identity::node(name.clone()), reason);
                Decision { changes, answer: answer.map(|_| node).map_err(ApprovalRefusal::Revoke) }
            }
            Ok(_) => self.decided(now, (who, "node.reject"), name, Err(ApprovalRefusal::TakesPart(name.clone()))),
            Err(unknown) => self.decided(now, (who, "node.reject"), name, Err(unknown)),
        }
    }

    /// Assigns the labels `set` to a node and takes those of the keys `remove` away. What a node says of itself stays
    /// below what is assigned, and counts only if its token allowed it.
    pub fn label_node(
        &self,
        now: SystemTime,
        who: &Identity,
        name: &Name,
        set: &Labels,
        remove: &BTreeSet<Text>,
    ) -> Decision<Result<Node, ApprovalRefusal>> {
        let labelled = self.find(name).and_then(|node| Ok(node.assigned_anew(set, remove)?));
        self.decided(now, (who, "node.label"), name, labelled)
    }

    fn find(&self, name: &Name) -> Result<Node, ApprovalRefusal> {
        match self.node(name) {
            Some(_) if self.is_revoked(&Identity::node(name.clone())) => Err(ApprovalRefusal::Revoked(name.clone())),
            node => node.cloned().ok_or_else(|| ApprovalRefusal::Unknown(name.clone())),
        }
    }

    fn decided(
        &self,
        now: SystemTime,
        (who, action): (&Identity, &str),
        name: &Name,
        decided: Result<Node, ApprovalRefusal>,
    ) -> Decision<Result<Node, ApprovalRefusal>> {
        let row = |outcome, detail| {
            let subject = Identity::node(name.clone()).to_string();
            Change::Audit(AuditRow { at: now, who: who.to_string(), action: action.into(), subject, outcome, detail })
        };
        match decided {
            Err(refusal) => Decision { changes: vec![row(Outcome::Denied, refusal.to_string())], answer: Err(refusal) },
            Ok(node) if self.node(name) == Some(&node) => Decision { changes: vec![], answer: Ok(node) },
            Ok(node) => {
                let node = Node { updated_at: now, ..node };
                let row = row(Outcome::Allowed, format!("labels {}", node.labels));
                Decision { changes: vec![Change::PutNode(Box::new(node.clone())), row], answer: Ok(node) }
            }
        }
    }
}

impl Node {
    fn assigned_anew(self, set: &Labels, remove: &BTreeSet<Text>) -> Result<Node, LabelsError> {
        let own = self.labels.without(&self.assigned);
        let assigned = set.over(&self.assigned.without_keys(remove))?;
        let labels = assigned.and_as_many_of(&own.without_keys(remove));
        Ok(Node { assigned, labels, ..self })
    }
}
