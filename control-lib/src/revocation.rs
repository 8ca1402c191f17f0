//! Locking and revoking, and the way back from a lock.

use std::time::{Duration, SystemTime};

use crate::audit::{AuditRow, Outcome};
use crate::control::{Change, Control, Decision};
use crate::exclusion::{Exclusion, ExclusionKind, RevokedKey};
use crate::identity::{Identity, Kind, Name};
use crate::node::Node;
use crate::permission::Role;
use crate::text::Text;

/// A node may ask for renewal that long after its certificate's end, so that its key is remembered that much longer.
const RETURN_WINDOW: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Why nobody was locked, unlocked or revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExclusionRefusal {
    /// No such node.
    #[error("no node is called {0}; list the nodes to see their names")]
    UnknownNode(Name),
    /// Controllers certify themselves: they are taken out by taking the CA's key from them.
    #[error("name a node or an operator: a controller is stopped on its own machine")]
    Controller,
    /// Revoked is for good.
    #[error("{0} was revoked, which is for good; a node can join again with a new token")]
    ForGood(Identity),
    /// Nobody would be left to undo it.
    #[error("add another admin first: {0} is the last one")]
    LastAdmin(Identity),
}

/// What came of locking, unlocking or revoking.
pub type ExclusionDecision = Decision<Result<Option<Exclusion>, ExclusionRefusal>>;

impl Control {
    /// Keeps `subject` out until it is unlocked. Whether `by` may is asked of [`Control::authorize`] before. Who is locked
    /// stays as locked as they are. An operator need not be known: nodes may list others by themselves.
    pub fn lock(&self, now: SystemTime, by: &Identity, subject: &Identity, reason: Text) -> ExclusionDecision {
        self.exclude(now, by, subject, ExclusionKind::Locked, reason)
    }

    /// Keeps `subject` out for good, and a node's key with it.
    pub fn revoke(&self, now: SystemTime, by: &Identity, subject: &Identity, reason: Text) -> ExclusionDecision {
        self.exclude(now, by, subject, ExclusionKind::Revoked, reason)
    }

    /// Lets a locked `subject` in again. The answer is always `None`: who is not locked stays so.
    pub fn unlock(&self, now: SystemTime, by: &Identity, subject: &Identity) -> ExclusionDecision {
        let row = |outcome, detail| audit_row(now, by, "unlock", subject, outcome, detail);
        let refused = match self.exclusion(subject).map(|exclusion| exclusion.kind) {
            Some(ExclusionKind::Revoked) => Some(ExclusionRefusal::ForGood(subject.clone())),
            Some(ExclusionKind::Locked) => None,
            None => match self.check_subject(subject) {
                Ok(()) => return Decision { changes: vec![], answer: Ok(None) },
                Err(refusal) => Some(refusal),
            },
        };
        if let Some(refusal) = refused {
            return refuse(row(Outcome::Denied, refusal.to_string()), refusal);
        }
        let row = row(Outcome::Allowed, String::new());
        Decision { changes: vec![Change::DropExclusion(subject.clone()), Change::Audit(row)], answer: Ok(None) }
    }

    /// Locks a node whose key seems to be in two places, and raises an alarm; nothing if it is kept out already. A person
    /// then looks, and unlocks or revokes. `by` is the controller that saw it.
    pub fn quarantine(&self, now: SystemTime, by: &Identity, node: &Name, why: &str) -> Decision<bool> {
        let subject = Identity::node(node.clone());
        if self.node(node).is_none() || self.exclusion(&subject).is_some() {
            return Decision { changes: vec![], answer: false };
        }
        let reason = format!("suspected clone: {why}").parse().unwrap_or_default();
        let row = audit_row(now, by, "clone", &subject, Outcome::Alarm, format!("locked: {why}"));
        let exclusion = Exclusion { subject, kind: ExclusionKind::Locked, reason, by: by.clone(), at: now };
        Decision { changes: vec![Change::PutExclusion(exclusion), Change::Audit(row)], answer: true }
    }

    /// Forgets revoked keys that no listener would take any more in any case. To be asked now and then.
    pub fn forget_keys(&self, now: SystemTime) -> Decision<()> {
        let over = self.revoked_keys().filter(|key| key.until <= now);
        Decision { changes: over.map(|key| Change::DropRevokedKey(key.fingerprint)).collect(), answer: () }
    }

    /// What keeps a node's present key out for as long as anybody would take its certificate.
    pub(crate) fn void_key(node: &Node) -> Change {
        Change::PutRevokedKey(RevokedKey {
            fingerprint: node.public_key.fingerprint(),
            subject: Identity::node(node.name.clone()),
            until: node.certificate.not_after + RETURN_WINDOW,
        })
    }

    fn exclude(
        &self,
        now: SystemTime,
        by: &Identity,
        subject: &Identity,
        kind: ExclusionKind,
        reason: Text,
    ) -> ExclusionDecision {
        let action = if kind == ExclusionKind::Locked { "lock" } else { "revoke" };
        let row = |outcome, detail| audit_row(now, by, action, subject, outcome, detail);
        if let Err(refusal) = self.check_exclusion(subject, kind) {
            return refuse(row(Outcome::Denied, refusal.to_string()), refusal);
        }
        let is_stored = !self.unstored.contains(subject);
        if let Some(same) = self.exclusion(subject).filter(|exclusion| exclusion.kind == kind && is_stored) {
            return Decision { changes: vec![], answer: Ok(Some(same.clone())) };
        }
        let row = row(Outcome::Allowed, reason.to_string());
        let exclusion = Exclusion { subject: subject.clone(), kind, reason, by: by.clone(), at: now };
        let node = (subject.kind == Kind::Node && kind == ExclusionKind::Revoked).then(|| self.node(&subject.name));
        let key = node.flatten().map(Control::void_key);
        let changes = [Change::PutExclusion(exclusion.clone()), Change::Audit(row)].into_iter().chain(key).collect();
        Decision { changes, answer: Ok(Some(exclusion)) }
    }

    fn check_exclusion(&self, subject: &Identity, kind: ExclusionKind) -> Result<(), ExclusionRefusal> {
        self.check_subject(subject)?;
        if kind == ExclusionKind::Locked && self.is_revoked(subject) {
            return Err(ExclusionRefusal::ForGood(subject.clone()));
        }
        let is_admin = |name: &Name| self.operator(name).is_some_and(|operator| operator.has(Role::Admin));
        let is_left = |name: &Name| self.exclusion(&Identity::operator(name.clone())).is_none();
        let mut others = self.operators().map(|operator| &operator.name).filter(|name| **name != subject.name);
        if subject.kind == Kind::Operator
            && is_admin(&subject.name)
            && !others.any(|name| is_admin(name) && is_left(name))
        {
            return Err(ExclusionRefusal::LastAdmin(subject.clone()));
        }
        Ok(())
    }

    fn check_subject(&self, subject: &Identity) -> Result<(), ExclusionRefusal> {
        match subject.kind {
            Kind::Controller => Err(ExclusionRefusal::Controller),
            Kind::Node if self.node(&subject.name).is_none() => {
                Err(ExclusionRefusal::UnknownNode(subject.name.clone()))
            }
            _ => Ok(()),
        }
    }
}

fn refuse(row: AuditRow, refusal: ExclusionRefusal) -> ExclusionDecision {
    Decision { changes: vec![Change::Audit(row)], answer: Err(refusal) }
}

fn audit_row(
    at: SystemTime,
    by: &Identity,
    action: &str,
    subject: &Identity,
    outcome: Outcome,
    detail: String,
) -> AuditRow {
    AuditRow { at, who: by.to_string(), action: action.into(), subject: subject.to_string(), outcome, detail }
}
