//! The cluster's roots and their places: which one signs, which one comes or goes, and the one for a bad day.

use std::sync::Arc;

use crate::identity::ClusterId;
use crate::issuer::{Issuer, OpenCaError};

/// What a root is there for. Every root in a place is believed by every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Signs what is issued.
    Signing,
    /// Prepared: believed, so that it can sign from the next step on.
    Next,
    /// Signed before; believed, because certificates of it are in use. Can be stepped back to.
    Previous,
    /// As [`Place::Previous`], and whoever has a certificate of it is asked to renew at once.
    Tainted,
    /// Its key is kept elsewhere and signs nothing but a new root when the signing one's key is lost.
    Recovery,
}

impl Place {
    /// All places.
    pub const ALL: [Place; 5] = [Place::Signing, Place::Next, Place::Previous, Place::Tainted, Place::Recovery];

    /// The word that is stored: `signing`, `next`, `previous`, `tainted` or `recovery`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Place::Signing => "signing",
            Place::Next => "next",
            Place::Previous => "previous",
            Place::Tainted => "tainted",
            Place::Recovery => "recovery",
        }
    }
}

impl std::str::FromStr for Place {
    type Err = UnknownPlace;

    fn from_str(word: &str) -> Result<Place, UnknownPlace> {
        Place::ALL.into_iter().find(|place| place.as_str() == word).ok_or(UnknownPlace)
    }
}

/// The word is no [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write signing, next, previous, tainted or recovery")]
pub struct UnknownPlace;

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// No rotation is under way.
    Steady,
    /// A new root is believed and signs nothing yet.
    Prepared,
    /// The new root signs.
    Activated,
    /// Certificates of the old root are being replaced.
    Tainted,
}

/// A root in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// What it is there for.
    pub place: Place,
    /// The root, with its key if that is here.
    pub issuer: Arc<Issuer>,
    /// The root certified by another one of the cluster, in DER: leads whoever believes only the other to this one.
    pub cross: Option<Vec<u8>>,
}

impl Root {
    fn new(place: Place, issuer: Issuer) -> Root {
        Root { place, issuer: Arc::new(issuer), cross: None }
    }
}

/// All roots of a cluster: one that signs, one for recovery, and during a rotation those that come or go: one, or more if
/// it was a recovery that began in the middle of another rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    pub(crate) signing: Root,
    pub(crate) others: Vec<Root>,
    pub(crate) recovery: Root,
    pub(crate) roots_version: u64,
}

/// Stored roots make no authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Not one signing root and one for recovery.
    #[error("restore a backup: the stored roots are not one that signs, one for recovery and those that come or go")]
    Places,
    /// A root is another cluster's.
    #[error("restore a backup: a stored root is of cluster {0}")]
    OtherCluster(ClusterId),
}

impl Authority {
    /// The authority of a new cluster. Nothing of the recovery root's key is needed later; give it without.
    ///
    /// # Errors
    ///
    /// If the two roots are of two clusters.
    pub fn new(signing: Issuer, recovery: Issuer) -> Result<Authority, AuthorityError> {
        let roots = vec![Root::new(Place::Signing, signing), Root::new(Place::Recovery, recovery)];
        Authority::from_roots(roots, 1)
    }

    /// Takes an authority up again from what [`Authority::roots`] and [`Authority::roots_version`] gave.
    ///
    /// # Errors
    ///
    /// If a place is empty or taken twice, or the roots are of two clusters.
    pub fn from_roots(roots: Vec<Root>, roots_version: u64) -> Result<Authority, AuthorityError> {
        let (mut signing, mut others, mut recovery) = (vec![], vec![], vec![]);
        for root in roots {
            match root.place {
                Place::Signing => signing.push(root),
                Place::Recovery => recovery.push(root),
                Place::Next | Place::Previous | Place::Tainted => others.push(root),
            }
        }
        let (Ok([signing]), Ok([recovery])) = (<[Root; 1]>::try_from(signing), <[Root; 1]>::try_from(recovery)) else {
            return Err(AuthorityError::Places);
        };
        let authority = Authority { signing, others, recovery, roots_version };
        let cluster = authority.cluster();
        let foreign = authority.roots().map(|root| root.issuer.cluster()).find(|other| *other != cluster).cloned();
        foreign.map_or(Ok(authority), |cluster| Err(AuthorityError::OtherCluster(cluster)))
    }

    /// The same with the keys that `key` finds (PKCS #8 in DER); a root whose key is not found cannot sign.
    ///
    /// # Errors
    ///
    /// If a key is not that of its root, or `key` fails.
    pub fn with_keys<B: AsRef<[u8]>, E: From<OpenCaError>>(
        mut self,
        mut key: impl FnMut(&Issuer) -> Result<Option<B>, E>,
    ) -> Result<Authority, E> {
        for root in std::iter::once(&mut self.signing).chain(&mut self.others) {
            if let Some(key) = key(&root.issuer)? {
                root.issuer = Arc::new(Issuer::from_der(root.issuer.certificate_der(), key.as_ref())?);
            }
        }
        Ok(self)
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &ClusterId {
        self.signing.issuer.cluster()
    }

    /// How far a rotation is.
    pub fn step(&self) -> Step {
        match self.others.first().map(|root| root.place) {
            Some(Place::Next) => Step::Prepared,
            Some(Place::Previous) => Step::Activated,
            Some(Place::Tainted) => Step::Tainted,
            Some(Place::Signing | Place::Recovery) | None => Step::Steady,
        }
    }

    /// Rises with each change of the set of roots, and with each restore of a backup beyond any version before it.
    pub fn roots_version(&self) -> u64 {
        self.roots_version
    }

    /// The root that signs.
    pub fn signing(&self) -> &Issuer {
        &self.signing.issuer
    }

    /// The root for recovery.
    pub fn recovery(&self) -> &Issuer {
        &self.recovery.issuer
    }

    /// The root that comes or goes; more than one only after a recovery in the middle of a rotation.
    pub fn others(&self) -> &[Root] {
        &self.others
    }

    /// All roots: the one that signs, those that come or go, the one for recovery.
    pub fn roots(&self) -> impl Iterator<Item = &Root> {
        std::iter::once(&self.signing).chain(&self.others).chain([&self.recovery])
    }

    /// What leads from a certificate that the cluster issued to a root that its readers believe, in DER and in the order
    /// of a handshake. During a rotation it leads to either root: also who believes only the other one, a node that has
    /// not heard yet or a join token that pins it, finds its way.
    pub fn chain_of(&self, certificate: &[u8]) -> Vec<Vec<u8>> {
        let signed = self.roots().find(|root| root.issuer.issued(certificate)).unwrap_or(&self.signing);
        let Some(cross) = &signed.cross else {
            return vec![signed.issuer.certificate_der().to_vec()];
        };
        let above =
            self.roots().find(|root| root.issuer.issued(cross)).map(|root| root.issuer.certificate_der().to_vec());
        std::iter::once(cross.clone()).chain(above).collect()
    }
}
