//! The next certificate of an operator.

use std::time::SystemTime;

use crate::audit::Outcome;
use crate::certificate::Certificate;
use crate::control::{Change, Control, Decision};
use crate::identity::{Identity, Kind, Name};
use crate::issuer::IssueError;
use crate::key::PublicKey;
use crate::operator::{Operator, audit_row};
use crate::permission::Role;

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum RenewOperatorRefusal {
    /// There is no operator of that name.
    #[error("list the operators to see their names: there is no operator/{0}")]
    Unknown(Name),
    /// Whoever had the certificate could do more than the asker.
    #[error("ask somebody who has the role {0} as far as operator/{1} has it: nobody certifies more than their own")]
    AboveOwn(Role, Name),
    /// Only admins do that for others.
    #[error("ask an admin, or renew your own certificate")]
    NotAdmin,
    /// A revoked operator gets nothing any more.
    #[error("add another operator: operator/{0} was revoked")]
    Revoked(Name),
    /// The key is another's.
    #[error("make a new key: this one is that of node/{0}")]
    KeyTaken(Name),
    /// No certificate could be issued. Not the asker's fault.
    #[error("try again later: no certificate could be issued")]
    Issue(#[source] IssueError),
}

impl Control {
    /// Certifies another key of an operator, for as long as was said when they were added. Operators do that for
    /// themselves while their certificate lasts; an admin does it for others, but for nobody who may do more than the
    /// admin: whoever holds the key would be them.
    pub fn renew_operator(
        &self,
        now: SystemTime,
        who: &Identity,
        name: &Name,
        key: &PublicKey,
    ) -> Decision<Result<Certificate, RenewOperatorRefusal>> {
        let certified = self.check_renewal(who, name, key).and_then(|operator| {
            let identity = Identity::operator(name.clone());
            let certificate = self.issuer().issue(key, &identity, now, operator.lifetime);
            Ok((operator, certificate.map_err(RenewOperatorRefusal::Issue)?))
        });
        match certified {
            Ok((operator, certificate)) => {
                let put = Operator { expires: Some(certificate.not_after), ..operator.clone() };
                let row = audit_row(now, who, "operator.renew", name, Outcome::Allowed, String::new());
                Decision { changes: vec![Change::PutOperator(put), Change::Audit(row)], answer: Ok(certificate) }
            }
            Err(refusal) => {
                let row = audit_row(now, who, "operator.renew", name, Outcome::Denied, refusal.to_string());
                Decision { changes: vec![Change::Audit(row)], answer: Err(refusal) }
            }
        }
    }

    fn check_renewal(&self, who: &Identity, name: &Name, key: &PublicKey) -> Result<&Operator, RenewOperatorRefusal> {
        let is_own = who.kind == Kind::Operator && who.name == *name;
        let own = self.admin_grants(who);
        if !is_own && own.is_none() {
            return Err(RenewOperatorRefusal::NotAdmin);
        }
        let operator = self.operator(name).ok_or_else(|| RenewOperatorRefusal::Unknown(name.clone()))?;
        if let (false, Some(role)) = (is_own, own.and_then(|own| own.first_above(&operator.grants))) {
            return Err(RenewOperatorRefusal::AboveOwn(role, name.clone()));
        }
        if self.is_revoked(&Identity::operator(name.clone())) {
            return Err(RenewOperatorRefusal::Revoked(name.clone()));
        }
        match self.node_with(key) {
            Some(node) => Err(RenewOperatorRefusal::KeyTaken(node.name.clone())),
            None => Ok(operator),
        }
    }
}
