//! Who may call what on this node.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_lib::{Caller, Holder, Rights};
use mtls::{Kind, Peer, PeerIdentity};
use serde::Deserialize;
use tonic::{Code, Extensions, Status, metadata::MetadataMap};

use crate::beliefs::Beliefs;
use crate::config::Operator;
use crate::wire;

/// Request metadata in which a controller says for whom it calls, such as `operator/anna`.
pub(crate) const ON_BEHALF_OF: &str = "pi-on-behalf-of";

/// Request metadata in which a controller says what that somebody may do, such as `gpio,viewer`.
const ROLES: &str = "pi-roles";
/// Kind and name are DNS labels: 63 bytes and a slash and less than as much again.
const MAXIMUM_HOLDER: usize = 128;

/// What a caller needs for a method of this node. Names and meaning are those of the control plane's roles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Status and metrics.
    Viewer,
    /// Logs.
    Logs,
    /// Lines.
    Gpio,
    /// Commands.
    Exec,
    /// Scripts by a shell, beside `Exec`.
    Shell,
    /// All of them.
    Admin,
}

impl Right {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Logs => "logs",
            Self::Gpio => "gpio",
            Self::Exec => "exec",
            Self::Shell => "shell",
            Self::Admin => "admin",
        }
    }
}

/// Who calls: the holder of what the call claims, and what they may do beyond their role.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    holder: Holder,
    rights: Rights,
    shell: bool,
    via: Option<Arc<PeerIdentity>>,
}

impl Principal {
    /// Somebody who may do nothing here.
    pub(crate) fn denied(holder: Holder) -> Self {
        Self { holder, rights: Rights::default(), shell: false, via: None }
    }

    /// The controller that calls on their behalf, if one does.
    pub(crate) fn via(&self) -> Option<&Arc<PeerIdentity>> {
        self.via.as_ref()
    }

    fn called_by(self, peer: &Arc<PeerIdentity>) -> Self {
        Self { via: (peer.kind == Kind::Controller).then(|| peer.clone()), ..self }
    }

    /// As the agent wants it.
    pub(crate) fn caller(&self) -> Caller<'_> {
        self.holder.caller().with_rights(self.rights)
    }

    /// Who calls.
    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Whether they may run scripts by a shell.
    pub(crate) fn may_shell(&self) -> bool {
        self.shell
    }

    /// Whether they may see and end what is others'.
    pub(crate) fn is_admin(&self) -> bool {
        self.rights == ADMIN
    }
}

/// What only admins may do to lines: hold for good what is declared to matter, and take a line from its holder.
const ADMIN: Rights = Rights { permanent: true, steal: true };

/// Controllers may do everything: they have asked their own table for whom they call. Of operators, only those may
/// call whom the node's configuration lists. Nobody else. A node that was revoked only says how it is.
#[derive(Clone)]
pub struct Access {
    operators: BTreeMap<String, Vec<Right>>,
    beliefs: Arc<Beliefs>,
}

const NODE_REVOKED: &str =
    "this node was revoked and takes no commands: join again in an empty folder with a new token";

impl Access {
    /// Trusts controllers and `operators`.
    pub(crate) fn new(operators: &[Operator], beliefs: Arc<Beliefs>) -> Self {
        let operators = operators.iter().map(|operator| (operator.name.clone(), operator.roles.clone())).collect();
        Self { operators, beliefs }
    }

    /// Who calls, if the call is allowed.
    ///
    /// # Errors
    ///
    /// `PERMISSION_DENIED`, saying what is missing.
    pub(crate) fn check(&self, right: Right, metadata: &MetadataMap, peer: &Extensions) -> Result<Principal, Status> {
        if right != Right::Viewer && self.beliefs.is_revoked() {
            return Err(wire::status(Code::FailedPrecondition, "NODE_REVOKED", NODE_REVOKED, []));
        }
        match peer.get::<Peer>() {
            Some(Peer::Certified(identity, _)) => {
                self.check_identity(right, metadata, identity).map(|principal| principal.called_by(identity))
            }
            Some(Peer::Token(..)) => Err(denied("a join token may register with a controller and nothing else")),
            None => Err(denied("the connection has no peer")),
        }
    }

    fn check_identity(&self, right: Right, metadata: &MetadataMap, who: &PeerIdentity) -> Result<Principal, Status> {
        match who.kind {
            Kind::Controller => on_behalf_of(metadata, who),
            Kind::Node => Err(denied(&format!("{who} is a node: nodes do not command each other"))),
            Kind::Operator => {
                let rights = self.operators.get(&who.name).ok_or_else(|| {
                    denied(&format!("{who} is not listed on this node: call through the controller, or list it"))
                })?;
                if rights.contains(&right) || rights.contains(&Right::Admin) {
                    let admin = rights.contains(&Right::Admin);
                    return principal(&name(who), admin, rights.contains(&Right::Shell));
                }
                Err(denied(&format!("{who} lacks the role {} on this node", right.as_str())))
            }
        }
    }
}

fn on_behalf_of(metadata: &MetadataMap, controller: &PeerIdentity) -> Result<Principal, Status> {
    let Some(who) = metadata.get(ON_BEHALF_OF) else { return principal(&name(controller), true, true) };
    let roles = metadata.get(ROLES).and_then(|roles| roles.to_str().ok()).unwrap_or_default();
    let has = |right: Right| roles.split(',').any(|role| role == right.as_str());
    principal(who.to_str().unwrap_or_default(), has(Right::Admin), has(Right::Shell))
}

/// As `Display` has it, but on the way of every call: one allocation and no formatting.
fn name(who: &PeerIdentity) -> String {
    [who.kind.as_str(), "/", &who.name].concat()
}

fn principal(who: &str, admin: bool, shell: bool) -> Result<Principal, Status> {
    let rights = if admin { ADMIN } else { Rights::default() };
    let holder = Holder::new(who).ok().filter(|_| who.len() <= MAXIMUM_HOLDER);
    holder
        .map(|holder| Principal { holder, rights, shell: shell || admin, via: None })
        .ok_or_else(|| denied(&format!("{ON_BEHALF_OF} names nobody")))
}

fn denied(why: &str) -> Status {
    wire::status(Code::PermissionDenied, "ACCESS_DENIED", why, [])
}
