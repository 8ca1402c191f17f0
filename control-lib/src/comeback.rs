//! A node that was off for longer than its certificate lasted.

use std::time::{Duration, SystemTime};

use crate::control::Control;
use crate::enrol::Grant;
use crate::identity::Name;
use crate::registration::{RegisterRefusal, Registration};

/// For how long after its end a node's certificate is still good for one thing: asking for the next one.
pub const COMEBACK: Duration = Duration::from_secs(90 * 24 * 60 * 60);

impl Control {
    /// As a renewal, but only for who holds the key of the last certificate that the node was issued, or asks for the
    /// certificate of that very key because the answer was lost. A key that was renewed since is no longer the node's: it
    /// may come from an old copy of its card.
    pub(crate) fn come_back(
        &self,
        now: SystemTime,
        name: &Name,
        key: &[u8; 32],
        request: &Registration,
    ) -> Result<Grant, RegisterRefusal> {
        let node = self.node(name).ok_or_else(|| RegisterRefusal::NodeUnknown(name.clone()))?;
        let asked = request.key()?.ok_or(RegisterRefusal::CsrMissing)?;
        if node.public_key.fingerprint() != *key && node.public_key != asked {
            return Err(RegisterRefusal::Superseded(name.clone()));
        }
        Ok(Grant { action: "comeback", ..self.renew(now, name, request)? })
    }
}
