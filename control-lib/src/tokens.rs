//! Making join tokens and taking them back.

use std::time::{Duration, SystemTime};

use crate::audit::{AuditRow, Outcome};
use crate::control::{Change, Control, Decision};
use crate::grants::Grants;
use crate::identity::{Identity, Kind, Name};
use crate::labels::Labels;
use crate::permission::Role;
use crate::text::Text;
use crate::token::{TokenId, TokenRecord};

/// The longest a token can live.
const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The most nodes that one token can enrol.
const MAX_USES: u32 = 1000;

/// What a new token is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSpec {
    /// The Ed25519 public key of the seed, which stays with whoever drew it.
    pub public_key: [u8; 32],
    /// How long it lives from now: more than 0, at most 7 days.
    pub ttl: Duration,
    /// How many nodes it can enrol: 1 to 1000; 1 if it is bound to a name or a board.
    pub uses: u32,
    /// The only name that it can enrol.
    pub bound_name: Option<Name>,
    /// The serial number of the only board that it can enrol; not empty.
    pub bound_serial: Option<Text>,
    /// The labels that its nodes are assigned.
    pub labels: Labels,
    /// Whether its nodes may add labels of their own.
    pub own_labels: bool,
    /// Whether its nodes wait until an operator approves them.
    pub approval: bool,
}

/// Why no token was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateTokenRefusal {
    /// The lifetime is 0 or too long.
    #[error("choose a lifetime of at most 7 days")]
    Ttl,
    /// The number of uses is out of range.
    #[error("choose 1 to 1000 uses")]
    Uses,
    /// Several nodes cannot have one name, nor be one board.
    #[error("choose one use: the token is bound to one node")]
    Bound,
    /// No board has an empty serial number.
    #[error("give the serial number of the board that the token is for")]
    Serial,
    /// The asker enrols nodes with some labels only, and the token would let in others, or let nodes add labels.
    #[error("assign the labels of nodes that you may enrol, and let nodes have none of their own; or ask an admin")]
    AboveOwn,
    /// The key is that of a token that was made before, live or not.
    #[error("draw a new seed: the token {0} has this key")]
    Exists(TokenId),
}

/// Why no token was taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeTokenRefusal {
    /// No token of that name.
    #[error("no token is called {0}; list the tokens to see their names")]
    Unknown(TokenId),
}

impl Control {
    /// Makes a join token. Whether `who` may is asked of [`Control::authorize`] before; who may enrol some nodes only makes
    /// tokens for those.
    pub fn create_token(
        &self,
        now: SystemTime,
        who: &Identity,
        spec: TokenSpec,
    ) -> Decision<Result<TokenRecord, CreateTokenRefusal>> {
        let id = TokenId::of(&spec.public_key);
        let row = |outcome, detail| audit_row(now, who, "token.create", format!("token/{id}"), outcome, detail);
        if let Err(refusal) = self.check_reach(who, &spec).and_then(|()| self.check_spec(&spec)) {
            return Decision { changes: vec![row(Outcome::Denied, refusal.to_string())], answer: Err(refusal) };
        }
        let row = row(Outcome::Allowed, spec.to_string());
        let TokenSpec { public_key, ttl, uses, bound_name, bound_serial, labels, own_labels, approval } = spec;
        let record = TokenRecord {
            id,
            public_key,
            expires: now + ttl,
            uses,
            uses_left: uses,
            bound_name,
            bound_serial,
            labels,
            own_labels,
            approval,
            revoked_at: None,
            created_by: who.clone(),
            created_at: now,
        };
        Decision { changes: vec![Change::PutToken(record.clone()), row], answer: Ok(record) }
    }

    /// Takes a token back; nodes that joined with it stay. Taking it back again changes nothing.
    pub fn revoke_token(
        &self,
        now: SystemTime,
        who: &Identity,
        id: TokenId,
    ) -> Decision<Result<TokenRecord, RevokeTokenRefusal>> {
        let row = |outcome, detail| audit_row(now, who, "token.revoke", format!("token/{id}"), outcome, detail);
        let Some(token) = self.tokens().find(|token| token.id == id) else {
            let refusal = RevokeTokenRefusal::Unknown(id);
            return Decision { changes: vec![row(Outcome::Denied, refusal.to_string())], answer: Err(refusal) };
        };
        if token.revoked_at.is_some() {
            return Decision { changes: vec![], answer: Ok(token.clone()) };
        }
        let token = token.revoked(now);
        let row = row(Outcome::Allowed, format!("{} uses were left", token.uses_left));
        Decision { changes: vec![Change::PutToken(token.clone()), row], answer: Ok(token) }
    }

    fn check_reach(&self, who: &Identity, spec: &TokenSpec) -> Result<(), CreateTokenRefusal> {
        let operator = (who.kind == Kind::Operator).then(|| self.operator(&who.name)).flatten();
        let is_within = |grants: &Grants| {
            let of_labels = grants.has_on(Role::Enroller, &spec.labels) && !spec.own_labels;
            of_labels || grants.has_everywhere(Role::Enroller)
        };
        match operator {
            Some(operator) if !is_within(&operator.grants) => Err(CreateTokenRefusal::AboveOwn),
            _ => Ok(()),
        }
    }

    fn check_spec(&self, spec: &TokenSpec) -> Result<(), CreateTokenRefusal> {
        if spec.ttl.is_zero() || spec.ttl > MAX_TTL {
            return Err(CreateTokenRefusal::Ttl);
        }
        if !(1..=MAX_USES).contains(&spec.uses) {
            return Err(CreateTokenRefusal::Uses);
        }
        if spec.uses > 1 && (spec.bound_name.is_some() || spec.bound_serial.is_some()) {
            return Err(CreateTokenRefusal::Bound);
        }
        if spec.bound_serial.as_ref().is_some_and(|serial| serial.is_empty()) {
            return Err(CreateTokenRefusal::Serial);
        }
        match self.token(&spec.public_key) {
            Some(token) => Err(CreateTokenRefusal::Exists(token.id)),
            None => Ok(()),
        }
    }
}

/// What the token can do, for the audit.
impl std::fmt::Display for TokenSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TokenSpec { public_key: _, ttl, uses, bound_name, bound_serial, labels, own_labels, approval } = self;
        write!(f, "{uses} uses, {} s, labels {labels}", ttl.as_secs())?;
        if let Some(name) = bound_name {
            write!(f, ", for the name {name}")?;
        }
        if let Some(serial) = bound_serial {
            write!(f, ", for the serial number {serial}")?;
        }
        f.write_str(if *own_labels { ", labels of its own" } else { "" })?;
        f.write_str(if *approval { ", with approval" } else { "" })
    }
}

impl TokenRecord {
    fn revoked(&self, now: SystemTime) -> TokenRecord {
        TokenRecord { revoked_at: Some(now), ..self.clone() }
    }
}

fn audit_row(
    at: SystemTime,
    who: &Identity,
    action: &str,
    subject: String,
    outcome: Outcome,
    detail: String,
) -> Change {
    Change::Audit(AuditRow { at, who: who.to_string(), action: action.into(), subject, outcome, detail })
}
