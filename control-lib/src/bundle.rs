//! Whom the members of the cluster are to believe.

use std::collections::BTreeSet;

use crate::authority::{Authority, Place};
use crate::control::Control;
use crate::identity::{Identity, Kind};

/// Roots and exceptions, whole. Nodes are sent it when they connect and whenever it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustBundle {
    /// Rises with each change of the roots.
    pub roots_version: u64,
    /// CA certificates to be believed, in DER.
    pub roots: Vec<Vec<u8>>,
    /// Whose certificates are to be replaced now: SHA-256 of the SubjectPublicKeyInfo of each such root.
    pub renew_issuers: BTreeSet<[u8; 32]>,
    /// Who is not to be let in, whatever they show. Nodes are not among them: no node lets another one in.
    pub denied_identities: BTreeSet<Identity>,
    /// Whose key is not to be let in, whoever shows it: SHA-256 of the SubjectPublicKeyInfo.
    pub denied_keys: BTreeSet<[u8; 32]>,
}

impl Control {
    /// Whom everybody is to believe, as of this revision.
    pub fn trust_bundle(&self) -> TrustBundle {
        let authority = self.authority();
        let calls = |subject: &Identity| subject.kind != Kind::Node;
        let denied_identities = self.exclusions().map(|excluded| &excluded.subject).filter(|who| calls(who)).cloned();
        let denied_keys = self.revoked_keys().filter(|key| calls(&key.subject)).map(|key| key.fingerprint);
        TrustBundle {
            roots_version: authority.roots_version(),
            roots: authority.bundle(),
            renew_issuers: authority.renew_issuers(),
            denied_identities: denied_identities.collect(),
            denied_keys: denied_keys.collect(),
        }
    }
}

impl Authority {
    /// The certificate of every root, in DER.
    pub fn bundle(&self) -> Vec<Vec<u8>> {
        self.roots().map(|root| root.issuer.certificate_der().to_vec()).collect()
    }

    /// A tainted root is on its way out; so is one that was stepped back from, for as long as it is prepared only.
    fn renew_issuers(&self) -> BTreeSet<[u8; 32]> {
        let leaving = self.others().iter().filter(|root| matches!(root.place, Place::Tainted | Place::Next));
        leaving.map(|root| root.issuer.ca_public_key_pin()).collect()
    }
}
