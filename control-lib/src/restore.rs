//! What changes when a cluster goes on from a backup: it is another time line than the one that was lost.

use std::time::SystemTime;

use crate::audit::{AuditRow, Outcome};
use crate::authority::Authority;
use crate::control::{Change, Control, Decision};
use crate::identity::Identity;
use crate::token::TokenRecord;

/// Versions of roots in one epoch; those of the next begin above.
const VERSIONS_PER_EPOCH_BITS: u32 = 32;

impl Control {
    /// Goes on from a backup: the epoch rises, every join token of before is over (one that was used after the backup was
    /// made would be good again), and the roots have a version above any that a node may have heard. Answers the new
    /// epoch.
    pub fn restored(&self, now: SystemTime, who: &Identity) -> Decision<u64> {
        let epoch = self.epoch() + 1;
        let live = self.tokens().filter(|token| token.is_live(now));
        let void: Vec<_> = live.map(|token| Change::PutToken(TokenRecord { expires: now, ..token.clone() })).collect();
        let roots_version = (epoch << VERSIONS_PER_EPOCH_BITS).max(self.authority().roots_version()) + 1;
        let authority = Authority { roots_version, ..self.authority().clone() };
        let row = AuditRow {
            at: now,
            who: who.to_string(),
            action: "restore".into(),
            subject: format!("epoch/{epoch}"),
            outcome: Outcome::Allowed,
            detail: format!("from revision {}; {} join tokens are over", self.revision(), void.len()),
        };
        let rest = [Change::PutEpoch(epoch), Change::PutAuthority(Box::new(authority)), Change::Audit(row)];
        Decision { changes: void.into_iter().chain(rest).collect(), answer: epoch }
    }
}
