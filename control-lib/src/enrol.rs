//! How a board becomes a node, and stays one.

use std::time::SystemTime;

use crate::audit::{AuditRow, Outcome};
use crate::certificate::Certificate;
use crate::control::{Change, Control, Decision};
use crate::identity::{Identity, Name};
use crate::key::PublicKey;
use crate::node::{Inventory, Node};
use crate::registration::{Presented, RegisterRefusal, Registered, Registration};
use crate::token::{TokenId, TokenRecord};

/// What a registration comes to if it is not refused.
pub(crate) struct Grant {
    pub(crate) action: &'static str,
    pub(crate) node: Node,
    pub(crate) used: Option<TokenRecord>,
    /// What becomes of the key of before.
    pub(crate) replaced: Option<Change>,
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
            Presented::Expired { name, key } => {
                (Identity::node(name.clone()).to_string(), self.come_back(now, name, key, &request))
            }
        };
        match granted {
            Ok(grant) => self.grant(now, who, grant),
            Err(refusal) => self.refuse(now, who, &request, refusal),
        }
    }

    pub(crate) fn certify(
        &self,
        now: SystemTime,
        key: &PublicKey,
        name: &Name,
    ) -> Result<Certificate, RegisterRefusal> {
        let identity = Identity::node(name.clone());
        self.issuer().issue(key, &identity, now, self.node_lifetime()).map_err(RegisterRefusal::Issue)
    }

    fn grant(&self, now: SystemTime, who: String, grant: Grant) -> Decision<Result<Registered, RegisterRefusal>> {
        let Grant { action, node, used, replaced } = grant;
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
        let changes = used
            .map(Change::PutToken)
            .into_iter()
            .chain([node, Change::Audit(row)])
            .chain(replaced)
            .chain(back)
            .collect();
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
            pending: node.pending,
            revision: self.revision(),
        }
    }

    /// Locks a node whose key another board has shown; nothing if it is kept out already.
    fn lock_clone(&self, now: SystemTime, node: &Node, other: &Inventory) -> Vec<Change> {
        let subject = Identity::node(node.name.clone());
        let why = node.describe_other_board(other);
        // who showed the key did it
        self.quarantine(now, &subject, &node.name, &why).changes
    }

    fn refuse(
        &self,
        now: SystemTime,
        who: String,
        request: &Registration,
        refusal: RegisterRefusal,
    ) -> Decision<Result<Registered, RegisterRefusal>> {
        let outcome = if refusal.is_alarm() { Outcome::Alarm } else { Outcome::Denied };
        let row = Change::Audit(audit_row(now, who, "register", &request.name, outcome, refusal.to_string()));
        let locked = match &refusal {
            RegisterRefusal::Clone(name) => self.node(name).map(|node| self.lock_clone(now, node, &request.inventory)),
            _ => None,
        };
        let changes = locked.filter(|locked| !locked.is_empty()).unwrap_or_else(|| vec![row]);
        Decision { changes, answer: Err(refusal) }
    }
}

pub(crate) fn check_endpoints(request: &Registration) -> Result<(), RegisterRefusal> {
    match request.endpoints.len() {
        0..=Registration::MAX_ENDPOINTS => Ok(()),
        many => Err(RegisterRefusal::Endpoints(many)),
    }
}

fn audit_row(at: SystemTime, who: String, action: &str, node: &Name, outcome: Outcome, detail: String) -> AuditRow {
    let subject = Identity::node(node.clone()).to_string();
    AuditRow { at, who, action: action.into(), subject, outcome, detail }
}
