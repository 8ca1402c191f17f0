//! What a caller may do on one node. On the path of every call to a node.

use std::collections::BTreeSet;

use crate::authorize::{Caller, Denied};
use crate::control::Control;
use crate::identity::{Kind, Name};
use crate::labels::Labels;
use crate::node::Node;
use crate::operator::Operator;
use crate::permission::{Access, Permission, Role, access};
use crate::scope::Scope;

/// What an operator may do on one node; the node is told, and decides on lines, units and templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRights {
    /// The roles that reach the node and mean something to it.
    pub roles: BTreeSet<Role>,
    /// Their limits.
    pub limits: Scope,
}

impl NodeRights {
    /// The roles as a call tells them: `gpio,viewer`.
    pub fn roles_text(&self) -> String {
        self.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Whether all that these allow is allowed by `other` as well.
    pub fn within(&self, other: &NodeRights) -> bool {
        let is_part = self.roles.is_subset(&other.roles) && self.limits.within(&other.limits);
        is_part || other.roles.contains(&Role::Admin)
    }
}

impl Control {
    /// What `who` may do on `node`, if they may call `method` there. [`Control::authorize`] was asked before.
    ///
    /// Whoever is limited to some nodes is told the same of a node that is out of reach and of one that does not exist.
    pub fn rights_on(&self, who: &Caller, method: &str, node: &Name) -> Result<NodeRights, Denied> {
        let (operator, permission) = self.calling_operator(who, method)?;
        let role = permission.role();
        let labels = self.node(node).map(|node| &node.labels);
        let none = Labels::default();
        let reached = match labels {
            Some(labels) => operator.grants.has_on(role, labels),
            None => operator.grants.has_everywhere(role),
        };
        if !reached {
            return Err(Denied::OutOfReach { operator: operator.name.clone(), role, node: node.clone() });
        }
        let labels = labels.unwrap_or(&none);
        let roles = operator.grants.iter().filter(|(role, scope)| role.is_of_nodes() && scope.selects(labels));
        let roles = roles.map(|(role, _)| role).collect();
        Ok(NodeRights { roles, limits: operator.grants.limits_on(labels) })
    }

    /// Whether `who` may see `node` by `permission`; for lists, which leave out what is out of reach.
    pub fn reaches(&self, who: &Caller, permission: Permission, node: &Node) -> bool {
        let Caller::Identity(identity) = who else { return false };
        let operator = (identity.kind == Kind::Operator).then(|| self.operator(&identity.name)).flatten();
        operator.is_some_and(|operator| operator.grants.has_on(permission.role(), &node.labels))
    }

    fn calling_operator(&self, who: &Caller, method: &str) -> Result<(&Operator, Permission), Denied> {
        let unknown = || Denied::UnknownMethod(method.into());
        let Some(Access::Operator(permission) | Access::Within(permission)) = access(method) else {
            return Err(unknown());
        };
        let Caller::Identity(identity) = who else { return Err(Denied::Token) };
        let operator = (identity.kind == Kind::Operator).then(|| self.operator(&identity.name)).flatten();
        let operator = operator.ok_or_else(|| Denied::UnknownOperator(identity.name.clone()))?;
        Ok((operator, permission))
    }
}
