//! How a board becomes a node, and stays one.

use std::time::SystemTime;

use crate::audit::{AuditRow, Outcome};
use crate::certificate::{Certificate, Lifetime};
use crate::control::{Change, Control, Decision};
use crate::identity::{Identity, Name};
use crate::key::PublicKey;
use crate::node::Node;
use crate::registration::{Presented, RegisterRefusal, Registered, Registration};
use crate::token::{TokenId, TokenRecord};

/// What a registration comes to if it is not refused.
pub(crate) struct Grant {
    pub(crate) action: &'static str,
    pub(crate) node: Node,
    pub(crate) used: Option<TokenRecord>,
}

impl Control {
    /// Answers `RegisterNode`: enrols a board that holds a token, renews the certificate of a node that sends a
    /// certificate request, and takes over what a node says of itself.
    ///
    /// All in one decision, so that a token cannot be used twice. The same question again (the first answer was lost)
    /// has the same answer and uses nothing up; a question that changes nothing has no changes.
    pub fn register(
        &self,
        now: SystemTime,
        presented: Presented<'_>,
        request: Registration,
    ) -> Decision<Result<Registered, RegisterRefusal>> {
        let (who, granted) = match presented {
            Presented::Token { public_key } => {
                (format!("token/{}", TokenId::of(public_key)), self.join(now, public_key, &request))
            }
            Presented::Node(name) => (Identity::node(name.clone()).to_string(), self.renew(now, name, &request)),
        };
        match granted {
            Ok(grant) => self.grant(now, who, grant),
            Err(refusal) => refuse(now, who, request.name, refusal),
        }
    }

    pub(crate) fn certify(
        &self,
        now: SystemTime,
        key: &PublicKey,
        name: &Name,
    ) -> Result<Certificate, RegisterRefusal> {
        let identity = Identity::node(name.clone());
        self.issuer().issue(key, &identity, now, Lifetime::NODE).map_err(RegisterRefusal::Issue)
    }

    fn grant(&self, now: SystemTime, who: String, grant: Grant) -> Decision<Result<Registered, RegisterRefusal>> {
        let Grant { action, node, used } = grant;
        let mut registered = self.registered(&node);
        if used.is_none() && self.node(&node.name) == Some(&node) {
            return Decision { changes: vec![], answer: Ok(registered) };
        }
        registered.revision = self.next_revision();
        let row = audit_row(now, who, action, &node.name, Outcome::Allowed, String::new());
        // only joining anew gets here with a revoked name
        let subject = Identity::node(node.name.clone());
        let back = self.is_revoked(&subject).then_some(Change::DropExclusion(subject));
        let node = Change::PutNode(Box::new(Node { updated_at: now, ..node }));
        let changes = used.map(Change::PutToken).into_iter().chain([node, Change::Audit(row)]).chain(back).collect();
        Decision { changes, answer: Ok(registered) }
    }

    fn registered(&self, node: &Node) -> Registered {
        Registered {
            node: node.name.clone(),
            certificate: node.certificate.der.clone(),
            ca_certificate: self.issuer().certificate_der().to_vec(),
            roots: self.trust_bundle().roots,
            not_after: node.certificate.not_after,
            renew_at: node.certificate.renew_at(),
            revision: self.revision(),
        }
    }
}

pub(crate) fn check_endpoints(request: &Registration) -> Result<(), RegisterRefusal> {
    match request.endpoints.len() {
        0..=Registration::MAX_ENDPOINTS => Ok(()),
        many => Err(RegisterRefusal::Endpoints(many)),
    }
}

fn refuse(
    now: SystemTime,
    who: String,
    name: Name,
    refusal: RegisterRefusal,
) -> Decision<Result<Registered, RegisterRefusal>> {
    let outcome = if refusal.is_alarm() { Outcome::Alarm } else { Outcome::Denied };
    let row = audit_row(now, who, "register", &name, outcome, refusal.to_string());
    Decision { changes: vec![Change::Audit(row)], answer: Err(refusal) }
}

fn audit_row(at: SystemTime, who: String, action: &str, node: &Name, outcome: Outcome, detail: String) -> AuditRow {
    let subject = Identity::node(node.clone()).to_string();
    AuditRow { at, who, action: action.into(), subject, outcome, detail }
}
