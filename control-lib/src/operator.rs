//! People, and programs that act for them.

use std::time::SystemTime;

use crate::audit::{AuditRow, Outcome};
use crate::certificate::{Certificate, Lifetime};
use crate::control::{Change, Control, Decision};
use crate::grants::Grants;
use crate::identity::{Identity, Kind, Name};
use crate::issuer::IssueError;
use crate::key::PublicKey;
use crate::permission::Role;
use crate::scope::ScopeError;

/// Somebody who may do something. The certificate knows nothing of the roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name, as in the certificate.
    pub name: Name,
    /// What they may do, and how far it reaches; nothing if empty.
    pub grants: Grants,
    /// How long each of their certificates lasts.
    pub lifetime: Lifetime,
    /// The end of the certificate that was issued last; absent if none was issued here.
    pub expires: Option<SystemTime>,
    /// Who added them.
    pub created_by: Identity,
    /// When they were added.
    pub created_at: SystemTime,
}

impl Operator {
    /// Whether one of the roles is `role` or contains it, be it for a few nodes only.
    pub fn has(&self, role: Role) -> bool {
        self.grants.has(role)
    }
}

/// What a new operator is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSpec {
    /// The name.
    pub name: Name,
    /// What they may do, at least one role.
    pub grants: Grants,
    /// How long each of their certificates is to last.
    pub lifetime: Lifetime,
    /// The key to be certified at once; `None` where that is done apart.
    pub key: Option<PublicKey>,
}

/// A new operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// As stored.
    pub operator: Operator,
    /// For the key, if there was one.
    pub certificate: Option<Certificate>,
}

/// Why no operator was added.
#[derive(Debug, thiserror::Error)]
pub enum AddOperatorRefusal {
    /// There is an operator of that name.
    #[error("choose another name: operator/{0} exists")]
    Exists(Name),
    /// Whoever had the name was revoked, which is for good.
    #[error("choose another name: operator/{0} was revoked")]
    Revoked(Name),
    /// No role at all.
    #[error("give the operator at least one role")]
    NoRole,
    /// A role that the asker has not, or not as far, and so cannot give.
    #[error("ask somebody who has the role {0} as far as it is to reach: nobody gives more than their own")]
    AboveOwn(Role),
    /// A node asked, or an operator who is no admin.
    #[error("ask an admin: only admins add operators")]
    NotAdmin,
    /// The key is another's.
    #[error("make a new key: this one is that of node/{0}")]
    KeyTaken(Name),
    /// No certificate could be issued. Not the asker's fault.
    #[error("try again later: no certificate could be issued")]
    Issue(#[source] IssueError),
}

/// Why an operator's roles stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRolesRefusal {
    /// There is no operator of that name.
    #[error("list the operators to see their names: there is no operator/{0}")]
    Unknown(Name),
    /// What is given, or what the operator has or would have, goes further than the asker's own.
    #[error("ask somebody who has the role {0} as far as it is to reach: nobody changes more than their own")]
    AboveOwn(Role),
    /// A node asked, or an operator who is no admin.
    #[error("ask an admin: only admins change roles")]
    NotAdmin,
    /// The operator lacks a role that was to be taken.
    #[error("leave it: operator/{0} has not the role {1}")]
    NotHeld(Name, Role),
    /// Nobody would be left who can do everything.
    #[error("add another admin first: operator/{0} is the last one who may administer the whole fleet")]
    LastAdmin(Name),
    /// Together they are too much.
    #[error("limit the operator less")]
    Scope(#[source] ScopeError),
}

impl Control {
    /// Adds an operator, and certifies their key if there is one. `who` can give what they have themselves; a
    /// controller, which is how the first operator comes into being on the machine itself, can give anything.
    pub fn add_operator(
        &self,
        now: SystemTime,
        who: &Identity,
        spec: OperatorSpec,
    ) -> Decision<Result<Admitted, AddOperatorRefusal>> {
        let name = spec.name.clone();
        match self.new_operator(now, who, spec) {
            Ok(admitted) => {
                let detail = format!("roles {}", admitted.operator.grants);
                let row = audit_row(now, who, "operator.add", &name, Outcome::Allowed, detail);
                let put = Change::PutOperator(admitted.operator.clone());
                Decision { changes: vec![put, Change::Audit(row)], answer: Ok(admitted) }
            }
            Err(refusal) => {
                let row = audit_row(now, who, "operator.add", &name, Outcome::Denied, refusal.to_string());
                Decision { changes: vec![Change::Audit(row)], answer: Err(refusal) }
            }
        }
    }

    fn new_operator(
        &self,
        now: SystemTime,
        who: &Identity,
        spec: OperatorSpec,
    ) -> Result<Admitted, AddOperatorRefusal> {
        let OperatorSpec { name, grants, lifetime, key } = spec;
        if grants.is_empty() {
            return Err(AddOperatorRefusal::NoRole);
        }
        let own = self.admin_grants(who).ok_or(AddOperatorRefusal::NotAdmin)?;
        if let Some(role) = own.first_above(&grants) {
            return Err(AddOperatorRefusal::AboveOwn(role));
        }
        if self.operator(&name).is_some() {
            return Err(AddOperatorRefusal::Exists(name));
        }
        if self.is_revoked(&Identity::operator(name.clone())) {
            return Err(AddOperatorRefusal::Revoked(name));
        }
        if let Some(node) = key.as_ref().and_then(|key| self.node_with(key)) {
            return Err(AddOperatorRefusal::KeyTaken(node.name.clone()));
        }
        let identity = Identity::operator(name.clone());
        let certificate = key.map(|key| self.issuer().issue(&key, &identity, now, lifetime));
        let certificate = certificate.transpose().map_err(AddOperatorRefusal::Issue)?;
        let expires = certificate.as_ref().map(|certificate| certificate.not_after);
        let operator = Operator { name, grants, lifetime, expires, created_by: who.clone(), created_at: now };
        Ok(Admitted { operator, certificate })
    }

    /// Gives an operator roles (one that they have gets the new limits) and takes others away; acts from the next call
    /// on. `who` must have all that the operator has before and after.
    pub fn change_roles(
        &self,
        now: SystemTime,
        who: &Identity,
        name: &Name,
        give: &Grants,
        take: &[Role],
    ) -> Decision<Result<Operator, ChangeRolesRefusal>> {
        match self.changed_roles(who, name, give, take) {
            Ok(operator) => {
                let detail = format!("roles {}", operator.grants);
                let row = audit_row(now, who, "operator.roles", name, Outcome::Allowed, detail);
                let put = Change::PutOperator(operator.clone());
                Decision { changes: vec![put, Change::Audit(row)], answer: Ok(operator) }
            }
            Err(refusal) => {
                let row = audit_row(now, who, "operator.roles", name, Outcome::Denied, refusal.to_string());
                Decision { changes: vec![Change::Audit(row)], answer: Err(refusal) }
            }
        }
    }

    fn changed_roles(
        &self,
        who: &Identity,
        name: &Name,
        give: &Grants,
        take: &[Role],
    ) -> Result<Operator, ChangeRolesRefusal> {
        let own = self.admin_grants(who).ok_or(ChangeRolesRefusal::NotAdmin)?;
        let operator = self.operator(name).ok_or_else(|| ChangeRolesRefusal::Unknown(name.clone()))?;
        let mut grants = operator.grants.with(give).map_err(ChangeRolesRefusal::Scope)?;
        for role in take {
            if !grants.iter().any(|(held, _)| held == *role) {
                return Err(ChangeRolesRefusal::NotHeld(name.clone(), *role));
            }
            grants = grants.without(*role);
        }
        let above = [&operator.grants, give, &grants].into_iter().find_map(|all| own.first_above(all));
        if let Some(role) = above {
            return Err(ChangeRolesRefusal::AboveOwn(role));
        }
        let loses = operator.grants.has_everywhere(Role::Admin) && !grants.has_everywhere(Role::Admin);
        if loses && !self.has_another_admin(name) {
            return Err(ChangeRolesRefusal::LastAdmin(name.clone()));
        }
        Ok(Operator { grants, ..operator.clone() })
    }

    /// Whether somebody else than `name` is an admin of everything, and let in.
    pub(crate) fn has_another_admin(&self, name: &Name) -> bool {
        let is_let_in = |other: &Operator| self.exclusion(&Identity::operator(other.name.clone())).is_none();
        let mut others = self.operators().filter(|other| other.name != *name);
        others.any(|other| other.grants.has_everywhere(Role::Admin) && is_let_in(other))
    }

    /// What `who` may hand on: a controller anything, an admin their own, nobody else anything.
    pub(crate) fn admin_grants(&self, who: &Identity) -> Option<Grants> {
        match who.kind {
            Kind::Controller => Some(Grants::admin()),
            Kind::Node => None,
            Kind::Operator => {
                let grants = &self.operator(&who.name)?.grants;
                grants.has(Role::Admin).then(|| grants.clone())
            }
        }
    }
}

pub(crate) fn audit_row(
    at: SystemTime,
    who: &Identity,
    action: &str,
    name: &Name,
    outcome: Outcome,
    detail: String,
) -> AuditRow {
    let subject = Identity::operator(name.clone()).to_string();
    AuditRow { at, who: who.to_string(), action: action.into(), subject, outcome, detail }
}
