//! What operators decide about a node: to let it in, to turn it away, how it is selected.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::audit::{AuditRow, Outcome};
use crate::control::{Change, Control, Decision};
use crate::identity::{Identity, Name};
use crate::labels::{Labels, LabelsError};
use crate::node::Node;
use crate::standing::Standing;
use crate::text::Text;

/// Why nothing was decided about a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalRefusal {
    /// No node of that name.
    #[error("no node is called {0}; list the nodes to see their names")]
    Unknown(Name),
    /// Approving somebody who was turned away.
    #[error("let node/{0} join again with a new token: it was rejected")]
    Rejected(Name),
    /// Rejecting somebody who takes part.
    #[error("revoke node/{0} instead: it takes part already")]
    TakesPart(Name),
    /// More labels than a node can have, or a label that is none.
    #[error("correct the labels")]
    Labels(#[from] LabelsError),
}

impl Control {
    /// Lets a pending or quarantined node take part. Approving one that takes part changes nothing.
    ///
    /// A quarantined node is known by whichever board speaks next with its key: its board may have been replaced.
    pub fn approve_node(
        &self,
        now: SystemTime,
        who: &Identity,
        name: &Name,
    ) -> Decision<Result<Node, ApprovalRefusal>> {
        let approved = self.find(name).and_then(|node| match node.standing {
            Standing::Approved | Standing::Pending => Ok(node),
            Standing::Quarantined => Ok(node.of_any_board()),
            Standing::Rejected => Err(ApprovalRefusal::Rejected(name.clone())),
        });
        let approved = approved.map(|node| node.standing(Standing::Approved, Text::default()));
        self.decided(now, (who, "node.approve"), name, approved)
    }

    /// Turns a pending or quarantined node away, for good: its key gets nothing any more.
    pub fn reject_node(&self, now: SystemTime, who: &Identity, name: &Name) -> Decision<Result<Node, ApprovalRefusal>> {
        let rejected = self.find(name).and_then(|node| match node.standing {
            Standing::Approved => Err(ApprovalRefusal::TakesPart(name.clone())),
            _ => Ok(node.standing(Standing::Rejected, Text::default())),
        });
        self.decided(now, (who, "node.reject"), name, rejected)
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
        self.node(name).cloned().ok_or_else(|| ApprovalRefusal::Unknown(name.clone()))
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
    fn standing(self, standing: Standing, standing_reason: Text) -> Node {
        Node { standing, standing_reason, ..self }
    }

    fn of_any_board(mut self) -> Node {
        (self.inventory.serial, self.inventory.machine_id) = (Text::default(), Text::default());
        self
    }

    fn assigned_anew(self, set: &Labels, remove: &BTreeSet<Text>) -> Result<Node, LabelsError> {
        let own = self.labels.without(&self.assigned);
        let assigned = set.over(&self.assigned.without_keys(remove))?;
        let labels = assigned.and_as_many_of(&own.without_keys(remove));
        Ok(Node { assigned, labels, ..self })
    }
}
