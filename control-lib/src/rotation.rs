//! From one root to the next in four steps, each of which can be taken back except the last:
//!
//! | step | what holds after it | back |
//! | --- | --- | --- |
//! | prepare | a new root is believed by all who have heard; each root certifies the other | the new root goes |
//! | activate | the new root signs; the old one is believed | the old root signs again |
//! | taint | whoever has a certificate of the old root is asked to renew at once | nobody is asked any more |
//! | revoke | the old root is believed no longer, and its key is deleted | there is none: rotate again |

use std::sync::Arc;
use std::time::SystemTime;

use crate::audit::{AuditRow, Outcome};
use crate::authority::{Authority, Place, Root, Step};
use crate::control::{Change, Control, Decision};
use crate::identity::{Identity, Name};
use crate::issuer::{IssueError, Issuer, RootId};

/// A step of a rotation.
#[derive(Debug)]
pub enum Rotation {
    /// Takes in this new root, key and all.
    Prepare(Box<Issuer>),
    /// Lets the new root sign.
    Activate,
    /// Asks for the certificates of the old root to be replaced.
    Taint,
    /// Ends the belief in the old root.
    Revoke,
    /// Takes the last step back.
    Back,
}

impl Rotation {
    const fn action(&self) -> &'static str {
        match self {
            Rotation::Prepare(_) => "ca.prepare",
            Rotation::Activate => "ca.activate",
            Rotation::Taint => "ca.taint",
            Rotation::Revoke => "ca.revoke",
            Rotation::Back => "ca.back",
        }
    }
}

/// A node that is not ready for the root that comes or goes to be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laggard {
    /// Its name.
    pub node: Name,
    /// It has not said that it has stored today's roots.
    pub lacks_roots: bool,
    /// Its certificate is from the root that comes or goes, not from the one that signs.
    pub has_other_certificate: bool,
    /// Its certificate is valid: it may be working right now. A node whose certificate has ended must join again in any
    /// case once its root is gone.
    pub is_live: bool,
}

/// Why a rotation was not moved on.
#[derive(Debug, thiserror::Error)]
pub enum RotateRefusal {
    /// The step does not follow the one that was taken last.
    #[error("{advice}: a rotation that is {at} cannot do this")]
    Order {
        /// How far the rotation is.
        at: &'static str,
        /// What can be done instead.
        advice: &'static str,
    },
    /// Nodes would be shut out.
    #[error("wait for {}, or use force: without today's roots and a certificate of the signing one, a node is shut out and must join again", names(.0))]
    Lagging(Vec<Laggard>),
    /// The root that is to sign has no key here.
    #[error("restore a backup that has the key of root {0}: it is not here")]
    NoKey(RootId),
    /// The root that signs came by a recovery.
    #[error("taint and revoke the old root: there is no way back from a recovery")]
    Recovered,
    /// A root could not be certified.
    #[error("no root was certified")]
    Issue(#[source] IssueError),
    /// The given recovery root is not this cluster's.
    #[error("use the recovery key of this cluster: this is not the key of root {0}")]
    OtherRecovery(RootId),
}

/// At most five by name: an error is one line.
fn names(laggards: &[Laggard]) -> String {
    let shown: Vec<String> = laggards.iter().take(5).map(|one| format!("node/{}", one.node)).collect();
    match laggards.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Control {
    /// Moves a rotation on, or a step back. `force` shuts out the nodes that lag.
    pub fn rotate(
        &self,
        now: SystemTime,
        who: &Identity,
        rotation: Rotation,
        force: bool,
    ) -> Decision<Result<Authority, RotateRefusal>> {
        let action = rotation.action();
        let lagging = self.laggards(now);
        let moved = match rotation {
            Rotation::Prepare(next) => self.authority().prepare(*next),
            Rotation::Activate => self.authority().activate(),
            Rotation::Taint => self.authority().taint(),
            Rotation::Revoke => self.authority().revoke(&lagging, force),
            Rotation::Back => self.authority().back(&lagging, force),
        };
        let detail = if force { "forced" } else { "" };
        self.moved(now, who, action, detail, moved)
    }

    /// Makes a new root that is certified by the recovery root, whose key `recovery` has, and lets it sign. Who believes
    /// the recovery root believes what it signs: nobody needs to be visited. The root that signed before is believed
    /// until it is revoked.
    pub fn recover(
        &self,
        now: SystemTime,
        who: &Identity,
        next: Issuer,
        recovery: &Issuer,
    ) -> Decision<Result<Authority, RotateRefusal>> {
        self.moved(now, who, "ca.recover", "", self.authority().recover(next, recovery))
    }

    /// Who is not ready for the root that comes or goes to be gone; empty if no rotation is under way.
    pub fn laggards(&self, now: SystemTime) -> Vec<Laggard> {
        let others = self.authority().others();
        if others.is_empty() {
            return Vec::new();
        }
        let laggard = |node: &crate::Node| Laggard {
            node: node.name.clone(),
            lacks_roots: node.roots_version < self.authority().roots_version,
            has_other_certificate: others.iter().any(|other| other.issuer.issued(&node.certificate.der)),
            is_live: now <= node.certificate.not_after,
        };
        self.nodes().map(laggard).filter(|one| one.lacks_roots || one.has_other_certificate).collect()
    }

    fn moved(
        &self,
        at: SystemTime,
        who: &Identity,
        action: &str,
        detail: &str,
        moved: Result<Authority, RotateRefusal>,
    ) -> Decision<Result<Authority, RotateRefusal>> {
        let row = |root: RootId, outcome, detail| AuditRow {
            at,
            who: who.to_string(),
            action: action.into(),
            subject: format!("root/{root}"),
            outcome,
            detail,
        };
        match moved {
            Ok(authority) => {
                let row = row(authority.signing().id(), Outcome::Allowed, detail.into());
                let changes = vec![Change::PutAuthority(Box::new(authority.clone())), Change::Audit(row)];
                Decision { changes, answer: Ok(authority) }
            }
            Err(refusal) => {
                let row = row(self.authority().signing().id(), Outcome::Denied, refusal.to_string());
                Decision { changes: vec![Change::Audit(row)], answer: Err(refusal) }
            }
        }
    }
}

impl Authority {
    fn prepare(&self, next: Issuer) -> Result<Authority, RotateRefusal> {
        if self.step() != Step::Steady {
            return Err(self.out_of_order());
        }
        // Each certifies the other, so that stepping back leaves nobody behind either.
        let to_next = self.signing().certify_root(&next).map_err(RotateRefusal::Issue)?;
        let to_signing = next.certify_root(self.signing()).map_err(RotateRefusal::Issue)?;
        Ok(Authority {
            signing: Root { cross: Some(to_signing), ..self.signing.clone() },
            others: vec![Root { place: Place::Next, issuer: Arc::new(next), cross: Some(to_next) }],
            recovery: self.recovery.clone(),
            roots_version: self.roots_version + 1,
        })
    }

    fn activate(&self) -> Result<Authority, RotateRefusal> {
        self.exchange(Step::Prepared, Place::Previous)
    }

    fn taint(&self) -> Result<Authority, RotateRefusal> {
        self.place_others(Step::Activated, Place::Tainted)
    }

    fn revoke(&self, laggards: &[Laggard], force: bool) -> Result<Authority, RotateRefusal> {
        if self.step() != Step::Tainted {
            return Err(self.out_of_order());
        }
        self.without_other(laggards.iter().filter(|one| one.is_live), force)
    }

    fn back(&self, laggards: &[Laggard], force: bool) -> Result<Authority, RotateRefusal> {
        match self.step() {
            Step::Steady => Err(self.out_of_order()),
            // whoever has not heard of the new root loses nothing with it
            Step::Prepared => {
                self.without_other(laggards.iter().filter(|one| one.is_live && one.has_other_certificate), force)
            }
            Step::Activated => self.exchange(Step::Activated, Place::Next),
            Step::Tainted => self.place_others(Step::Tainted, Place::Previous),
        }
    }

    fn recover(&self, next: Issuer, recovery: &Issuer) -> Result<Authority, RotateRefusal> {
        if recovery != self.recovery() {
            return Err(RotateRefusal::OtherRecovery(self.recovery().id()));
        }
        let cross = recovery.certify_root(&next).map_err(RotateRefusal::Issue)?;
        // Whatever has signed until now, in a rotation that was under way too, has to be carried on.
        let before = self.others.iter().chain([&self.signing]);
        Ok(Authority {
            signing: Root { place: Place::Signing, issuer: Arc::new(next), cross: Some(cross) },
            others: before.map(|root| Root { place: Place::Previous, cross: None, ..root.clone() }).collect(),
            recovery: self.recovery.clone(),
            roots_version: self.roots_version + 1,
        })
    }

    /// Whom the other root leaves behind must be nobody, or be given up.
    fn without_other<'a>(
        &self,
        left_behind: impl Iterator<Item = &'a Laggard>,
        force: bool,
    ) -> Result<Authority, RotateRefusal> {
        let left_behind: Vec<_> = left_behind.cloned().collect();
        if !left_behind.is_empty() && !force {
            return Err(RotateRefusal::Lagging(left_behind));
        }
        Ok(Authority {
            signing: Root { cross: None, ..self.signing.clone() },
            others: vec![],
            recovery: self.recovery.clone(),
            roots_version: self.roots_version + 1,
        })
    }

    /// The other root signs, and the one that signed takes `place`.
    fn exchange(&self, from: Step, place: Place) -> Result<Authority, RotateRefusal> {
        let [other @ Root { cross: Some(_), .. }] = self.others_at(from)? else {
            return Err(RotateRefusal::Recovered);
        };
        if !other.issuer.has_key() {
            return Err(RotateRefusal::NoKey(other.issuer.id()));
        }
        Ok(Authority {
            signing: Root { place: Place::Signing, ..other.clone() },
            others: vec![Root { place, ..self.signing.clone() }],
            ..self.clone()
        })
    }

    fn place_others(&self, from: Step, place: Place) -> Result<Authority, RotateRefusal> {
        let others = self.others_at(from)?.iter().map(|other| Root { place, ..other.clone() });
        Ok(Authority { others: others.collect(), ..self.clone() })
    }

    fn others_at(&self, from: Step) -> Result<&[Root], RotateRefusal> {
        if self.step() == from { Ok(&self.others) } else { Err(self.out_of_order()) }
    }

    fn out_of_order(&self) -> RotateRefusal {
        let (at, advice) = match self.step() {
            Step::Steady => ("not under way", "prepare a new root first"),
            Step::Prepared => ("prepared", "activate the new root, or step back"),
            Step::Activated => ("activated", "taint the old root, or step back"),
            Step::Tainted => ("tainted", "revoke the old root, or step back"),
        };
        RotateRefusal::Order { at, advice }
    }
}
