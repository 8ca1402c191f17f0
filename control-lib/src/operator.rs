//! People, and programs that act for them.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::audit::{AuditRow, Outcome};
use crate::control::{Change, Control, Decision};
use crate::identity::{Identity, Kind, Name};
use crate::permission::Role;

/// Somebody who may do something. The certificate is issued apart and knows nothing of the roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name, as in the certificate.
    pub name: Name,
    /// What they may do; nothing if empty.
    pub roles: BTreeSet<Role>,
    /// Who added them.
    pub created_by: Identity,
    /// When they were added.
    pub created_at: SystemTime,
}

impl Operator {
    /// Whether one of the roles is `role` or contains it.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role) || self.roles.contains(&Role::Admin)
    }
}

/// What a new operator is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSpec {
    /// The name.
    pub name: Name,
    /// What they may do, at least one role.
    pub roles: BTreeSet<Role>,
}

/// Why no operator was added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddOperatorRefusal {
    /// There is an operator of that name.
    #[error("choose another name: operator/{0} exists")]
    Exists(Name),
    /// No role at all.
    #[error("give the operator at least one role")]
    NoRole,
    /// A role that the asker has not, and so cannot give.
    #[error("ask somebody who has the role {0}: nobody gives a role above their own")]
    AboveOwn(Role),
    /// A node asked.
    #[error("ask an operator: a node adds nobody")]
    NotOperator,
}

impl Control {
    /// Adds an operator. `who` can give the roles that they have themselves; a controller, which is how the first
    /// operator comes into being on the machine itself, can give any.
    pub fn add_operator(
        &self,
        now: SystemTime,
        who: &Identity,
        spec: OperatorSpec,
    ) -> Decision<Result<Operator, AddOperatorRefusal>> {
        let row = |outcome, detail| AuditRow {
            at: now,
            who: who.to_string(),
            action: "operator.add".into(),
            subject: Identity::operator(spec.name.clone()).to_string(),
            outcome,
            detail,
        };
        if let Err(refusal) = self.check_operator(who, &spec) {
            let row = row(Outcome::Denied, refusal.to_string());
            return Decision { changes: vec![Change::Audit(row)], answer: Err(refusal) };
        }
        let roles: Vec<_> = spec.roles.iter().map(|role| role.as_str()).collect();
        let row = row(Outcome::Allowed, format!("roles {}", roles.join(", ")));
        let operator =
            Operator { name: spec.name.clone(), roles: spec.roles, created_by: who.clone(), created_at: now };
        Decision { changes: vec![Change::PutOperator(operator.clone()), Change::Audit(row)], answer: Ok(operator) }
    }

    fn check_operator(&self, who: &Identity, spec: &OperatorSpec) -> Result<(), AddOperatorRefusal> {
        if self.operator(&spec.name).is_some() {
            return Err(AddOperatorRefusal::Exists(spec.name.clone()));
        }
        if spec.roles.is_empty() {
            return Err(AddOperatorRefusal::NoRole);
        }
        match who.kind {
            Kind::Controller => Ok(()),
            Kind::Node => Err(AddOperatorRefusal::NotOperator),
            Kind::Operator => match spec.roles.iter().find(|role| !self.can_give(&who.name, **role)) {
                Some(role) => Err(AddOperatorRefusal::AboveOwn(*role)),
                None => Ok(()),
            },
        }
    }

    fn can_give(&self, who: &Name, role: Role) -> bool {
        self.operator(who).is_some_and(|operator| operator.has(role))
    }
}
