//! Whether a call is allowed. On the path of every call: a call that is allowed costs no allocation.

use std::time::SystemTime;

use crate::audit::{AuditRow, Outcome};
use crate::control::Control;
use crate::exclusion::{Excluded, ExclusionKind};
use crate::identity::{Identity, Kind, Name};
use crate::permission::{Access, Permission, Role, access};

/// Who is calling, as the TLS handshake proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody with a certificate of the cluster.
    Identity(Identity),
    /// Somebody with a live join token and no certificate yet.
    Token,
}

/// Why a call is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The method is not in [`METHODS`](crate::METHODS).
    #[error("call another method: nobody may call {0}")]
    UnknownMethod(String),
    /// The certificate is good, but nobody knows an operator of that name (any more).
    #[error("operator/{0} is not known here; ask an admin to add it")]
    UnknownOperator(Name),
    /// The certificate is good, but the node is not in the table (any more).
    #[error("node/{0} is not enrolled; join again with a new token")]
    UnknownNode(Name),
    /// The operator lacks the role.
    #[error("operator/{operator} lacks the role {role}; ask an admin")]
    LacksRole {
        /// Who called.
        operator: Name,
        /// What would have been enough.
        role: Role,
    },
    /// The operator has the role, but not for the whole fleet.
    #[error("operator/{operator} has the role {role} for some nodes only; ask somebody who has it for all")]
    Limited {
        /// Who called.
        operator: Name,
        /// What reaches too few nodes.
        role: Role,
    },
    /// The operator has the role, but not for this node, whether it exists or not.
    #[error("operator/{operator} lacks the role {role} for node/{node}; ask an admin")]
    OutOfReach {
        /// Who called.
        operator: Name,
        /// What would have been enough.
        role: Role,
        /// The node as it was asked for.
        node: Name,
    },
    /// The method is for another kind of member.
    #[error("{who} may not call this; use a certificate of kind {needs}")]
    WrongKind {
        /// Who called.
        who: Identity,
        /// Whose method it is.
        needs: Kind,
    },
    /// The node waits for approval.
    #[error("node/{0} waits for approval: pictl node approve {0}")]
    Pending(Name),
    /// They are locked or revoked.
    #[error(transparent)]
    Excluded(#[from] Excluded),
    /// A join token is good for joining only.
    #[error("a join token may only call RegisterNode; join first")]
    Token,
}

impl Denied {
    /// The audit row of a denied call of `method`.
    pub fn audit(&self, at: SystemTime, who: &Caller, method: &str) -> AuditRow {
        let who = match who {
            Caller::Identity(identity) => identity.to_string(),
            Caller::Token => "token".into(),
        };
        // a method that does not exist is whatever the caller made up: one word for all of them
        let action = if matches!(self, Denied::UnknownMethod(_)) { "unknown method" } else { method };
        let (action, subject) = (action.into(), String::new());
        AuditRow { at, who, action, subject, outcome: Outcome::Denied, detail: self.to_string() }
    }
}

impl Control {
    /// Whether `who` may call `method`, a full path as in [`METHODS`](crate::METHODS).
    ///
    /// Roles are looked up here at each call, so that a change of them acts at once.
    pub fn authorize(&self, who: &Caller, method: &str) -> Result<(), Denied> {
        let access = access(method).ok_or_else(|| Denied::UnknownMethod(method.into()))?;
        match (who, access) {
            (Caller::Token, Access::NodeOrToken) => Ok(()),
            (Caller::Token, _) => Err(Denied::Token),
            (Caller::Identity(who), access) => self.authorize_member(who, access),
        }
    }

    fn authorize_member(&self, who: &Identity, access: Access) -> Result<(), Denied> {
        self.check_excluded(who, access)?;
        self.check_known(who)?;
        self.check_approved(who, access)?;
        match (access, who.kind) {
            (Access::Operator(permission), Kind::Operator) => self.check_role(&who.name, permission, true),
            (Access::Within(permission), Kind::Operator) => self.check_role(&who.name, permission, false),
            (Access::AnyOperator, Kind::Operator) => Ok(()),
            (Access::Node | Access::NodeOrToken, Kind::Node) => Ok(()),
            (Access::Controller, Kind::Controller) | (Access::Member, _) => Ok(()),
            (Access::Operator(_) | Access::Within(_) | Access::AnyOperator, _) => Err(wrong_kind(who, Kind::Operator)),
            (Access::Node | Access::NodeOrToken, _) => Err(wrong_kind(who, Kind::Node)),
            (Access::Controller, _) => Err(wrong_kind(who, Kind::Controller)),
        }
    }

    /// The handshake has asked as well; a connection may be older than the revocation.
    fn check_excluded(&self, who: &Identity, access: Access) -> Result<(), Excluded> {
        match self.exclusion(who).map(|exclusion| exclusion.kind) {
            None => Ok(()),
            Some(ExclusionKind::Revoked) => Err(Excluded::Revoked(who.clone())),
            // a locked node reports, but gets no certificate and moves nowhere else
            Some(ExclusionKind::Locked) if who.kind == Kind::Node && access != Access::NodeOrToken => Ok(()),
            Some(ExclusionKind::Locked) => Err(Excluded::Locked(who.clone())),
        }
    }

    /// A certificate outlives the removal of its holder by days; the tables do not.
    fn check_known(&self, who: &Identity) -> Result<(), Denied> {
        match who.kind {
            Kind::Node if self.node(&who.name).is_none() => Err(Denied::UnknownNode(who.name.clone())),
            Kind::Operator if self.operator(&who.name).is_none() => Err(Denied::UnknownOperator(who.name.clone())),
            _ => Ok(()),
        }
    }

    /// A node that waits for approval may ask again and renew.
    fn check_approved(&self, who: &Identity, access: Access) -> Result<(), Denied> {
        let node = (who.kind == Kind::Node).then(|| self.node(&who.name)).flatten();
        match node {
            Some(node) if node.pending && access != Access::NodeOrToken => Err(Denied::Pending(who.name.clone())),
            _ => Ok(()),
        }
    }

    fn check_role(&self, operator: &Name, permission: Permission, everywhere: bool) -> Result<(), Denied> {
        let role = permission.role();
        let name = || operator.clone();
        match self.operator(operator).map(|found| &found.grants) {
            Some(grants) if !grants.has(role) => Err(Denied::LacksRole { operator: name(), role }),
            Some(grants) if everywhere && !grants.has_everywhere(role) => {
                Err(Denied::Limited { operator: name(), role })
            }
            Some(_) => Ok(()),
            None => Err(Denied::UnknownOperator(name())),
        }
    }
}

fn wrong_kind(who: &Identity, needs: Kind) -> Denied {
    Denied::WrongKind { who: who.clone(), needs }
}
