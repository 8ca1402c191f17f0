//! Whom the members of the cluster are to believe.

use std::collections::BTreeSet;

use crate::control::Control;
use crate::identity::{Identity, Kind};

/// Roots and exceptions, whole. Nodes are sent it when they connect and whenever it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustBundle {
    /// Rises with each change of the roots.
    pub roots_version: u64,
    /// CA certificates to be believed, in DER.
    pub roots: Vec<Vec<u8>>,
    /// Who is not to be let in, whatever they show. Nodes are not among them: no node lets another one in.
    pub denied_identities: BTreeSet<Identity>,
    /// Whose key is not to be let in, whoever shows it: SHA-256 of the SubjectPublicKeyInfo.
    pub denied_keys: BTreeSet<[u8; 32]>,
}

impl Control {
    /// Whom everybody is to believe, as of this revision.
    pub fn trust_bundle(&self) -> TrustBundle {
        let roots = vec![self.issuer().certificate_der().to_vec()];
        let calls = |subject: &Identity| subject.kind != Kind::Node;
        let denied_identities = self.exclusions().map(|excluded| &excluded.subject).filter(|who| calls(who)).cloned();
        let denied_keys = self.revoked_keys().filter(|key| calls(&key.subject)).map(|key| key.fingerprint);
        let (denied_identities, denied_keys) = (denied_identities.collect(), denied_keys.collect());
        TrustBundle { roots_version: 1, roots, denied_identities, denied_keys }
    }
}
