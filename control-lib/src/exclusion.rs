//! Who is not let in although their certificate is good, and whether that is for good.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::certificate::BACKDATED;
use crate::control::Control;
use crate::identity::{Identity, Kind};
use crate::text::Text;

/// How much somebody is kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExclusionKind {
    /// Until somebody unlocks. An operator may call nothing. A node is sent no calls and gets no certificate; it may go on
    /// reporting, and so learns that it is unlocked.
    Locked,
    /// For good: the name of a node can join again, with a new token and a new key.
    Revoked,
}

impl ExclusionKind {
    /// The word that is stored, shown and audited: `locked` or `revoked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ExclusionKind::Locked => "locked",
            ExclusionKind::Revoked => "revoked",
        }
    }
}

impl fmt::Display for ExclusionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is no [`ExclusionKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write locked or revoked")]
pub struct UnknownExclusionKind;

impl FromStr for ExclusionKind {
    type Err = UnknownExclusionKind;

    fn from_str(word: &str) -> Result<ExclusionKind, UnknownExclusionKind> {
        [ExclusionKind::Locked, ExclusionKind::Revoked]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or(UnknownExclusionKind)
    }
}

/// That a node or an operator is kept out. Who is not, has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// Who is kept out.
    pub subject: Identity,
    /// How much.
    pub kind: ExclusionKind,
    /// Why, for other people; never told to the subject. May be empty.
    pub reason: Text,
    /// Who said so.
    pub by: Identity,
    /// Since when.
    pub at: SystemTime,
}

/// A key that is not let in any more, whatever certificate it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedKey {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fingerprint: [u8; 32],
    /// Whose it was.
    pub subject: Identity,
    /// From then on no certificate of it would be accepted in any case, so that the record can go.
    pub until: SystemTime,
}

/// What a certificate says, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Whose it is.
    pub subject: &'a Identity,
    /// SHA-256 of its key's SubjectPublicKeyInfo.
    pub fingerprint: &'a [u8; 32],
    /// The first moment at which it is valid.
    pub not_before: SystemTime,
}

/// Why somebody with a good certificate is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Excluded {
    /// For a time.
    #[error("{0} is locked; ask an admin to unlock it")]
    Locked(Identity),
    /// For good.
    #[error("{0} was revoked")]
    Revoked(Identity),
    /// The key is that of a member that was revoked.
    #[error("make a new key: this one was revoked with {0}")]
    Key(Identity),
    /// The node was revoked and has joined again since; this certificate is from before.
    #[error("show a later certificate: {0} was revoked and has joined again since this one was issued")]
    Before(Identity),
}

impl Excluded {
    /// Whether there is no way back for this certificate.
    pub fn is_for_good(&self) -> bool {
        !matches!(self, Excluded::Locked(_))
    }
}

impl Control {
    /// How `subject` is kept out, if it is.
    pub fn exclusion(&self, subject: &Identity) -> Option<&Exclusion> {
        self.exclusions.get(subject)
    }

    /// All who are kept out, by kind and name.
    pub fn exclusions(&self) -> impl ExactSizeIterator<Item = &Exclusion> {
        self.exclusions.values()
    }

    /// All keys that are not let in any more, in no useful order.
    pub fn revoked_keys(&self) -> impl ExactSizeIterator<Item = &RevokedKey> {
        self.revoked_keys.values()
    }

    /// Whether a certificate is let in: asked in the handshake, and of every open connection after each change of trust.
    /// A locked node is: it may report.
    pub fn admit(&self, shown: Shown<'_>) -> Result<(), Excluded> {
        let subject = shown.subject;
        match self.exclusion(subject).map(|exclusion| exclusion.kind) {
            Some(ExclusionKind::Revoked) => return Err(Excluded::Revoked(subject.clone())),
            Some(ExclusionKind::Locked) if subject.kind != Kind::Node => return Err(Excluded::Locked(subject.clone())),
            _ => {}
        }
        self.admit_key(shown.fingerprint)?;
        if self.is_from_before(shown) { Err(Excluded::Before(subject.clone())) } else { Ok(()) }
    }

    pub(crate) fn admit_key(&self, fingerprint: &[u8; 32]) -> Result<(), Excluded> {
        let revoked = self.revoked_keys.get(fingerprint);
        revoked.map_or(Ok(()), |key| Err(Excluded::Key(key.subject.clone())))
    }

    /// Renewed away keys are on no list, and a copy of one can turn up when the name is in use again.
    fn is_from_before(&self, shown: Shown<'_>) -> bool {
        let Some(node) = (shown.subject.kind == Kind::Node).then(|| self.node(&shown.subject.name)).flatten() else {
            return false;
        };
        // a certificate knows whole seconds only
        let second = Duration::from_secs(1);
        shown.not_before + BACKDATED + second <= node.registered_at
            && self.revoked_keys.values().any(|key| key.subject == *shown.subject)
    }

    pub(crate) fn is_revoked(&self, subject: &Identity) -> bool {
        self.exclusion(subject).is_some_and(|exclusion| exclusion.kind == ExclusionKind::Revoked)
    }
}
