//! Who may call what on this node.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use agent_lib::{Agent, Caller, Holder, Program, Rights};
use hal_core::{Board, LineId};
use http::HeaderMap;
use mtls::{Kind, Peer, PeerIdentity};
use serde::Deserialize;
use tonic::{Code, Status};

use crate::beliefs::Beliefs;
use crate::config::Operator;
use crate::logs::Filter;
use crate::scope::Scope;
use crate::wire;

/// Request metadata in which a controller says for whom it calls, such as `operator/anna`.
pub(crate) const ON_BEHALF_OF: &str = "pi-on-behalf-of";

/// Request metadata in which a controller says what that somebody may do, such as `gpio,viewer`.
const ROLES: &str = "pi-roles";
/// Request metadata in which a controller says how far that reaches, such as `lines=17,27`, or `*`.
const SCOPE: &str = "pi-scope";
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
    const ALL: [Right; 6] = [Self::Viewer, Self::Logs, Self::Gpio, Self::Exec, Self::Shell, Self::Admin];

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

/// Every method that can be called on a node, and what it asks for. What is not here is denied to everybody.
pub(crate) const METHODS: &[(&str, Right)] = &[
    ("/pi.agent.v1.NodeAgent/CancelJob", Right::Exec),
    ("/pi.agent.v1.NodeAgent/ControlGPIO", Right::Gpio),
    ("/pi.agent.v1.NodeAgent/ExecuteCommand", Right::Exec),
    ("/pi.agent.v1.NodeAgent/ExecuteStream", Right::Exec),
    ("/pi.agent.v1.NodeAgent/GetJob", Right::Exec),
    ("/pi.agent.v1.NodeAgent/GetSystemMetrics", Right::Viewer),
    ("/pi.agent.v1.NodeAgent/HealthCheck", Right::Viewer),
    ("/pi.agent.v1.NodeAgent/ListJobs", Right::Exec),
    ("/pi.agent.v1.NodeAgent/ScanI2c", Right::Gpio),
    ("/pi.agent.v1.NodeAgent/StreamGPIO", Right::Gpio),
    ("/pi.agent.v1.NodeAgent/StreamLogs", Right::Logs),
    ("/pi.agent.v1.NodeAgent/StreamMetrics", Right::Viewer),
    ("/pi.agent.v1.NodeAgent/TransferI2c", Right::Gpio),
    ("/pi.agent.v1.NodeAgent/TransferSpi", Right::Gpio),
    ("/pi.agent.v1.NodeAgent/WatchGPIO", Right::Gpio),
    ("/grpc.health.v1.Health/Check", Right::Viewer),
    ("/grpc.health.v1.Health/List", Right::Viewer),
    ("/grpc.health.v1.Health/Watch", Right::Viewer),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Right::Viewer),
];

/// A method without a row would be a method that nobody has thought about: it does not build.
const _: () = {
    if let Some(method) = proto::without_row(proto::METHODS, "/pi.agent.", METHODS) {
        panic!("{}", method) // has no row in METHODS
    }
    if let Some(method) = proto::twice(METHODS) {
        panic!("{}", method) // has two rows
    }
};

/// What a method asks for.
///
/// # Errors
///
/// `PERMISSION_DENIED` if it is not in the table.
pub(crate) fn right(method: &str) -> Result<Right, Status> {
    let row = METHODS.iter().find(|(path, _)| *path == method);
    row.map(|(_, right)| *right).ok_or_else(|| denied("nobody may call this method"))
}

/// Several rights at once.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct RightSet(u8);

impl RightSet {
    fn of(rights: &[Right]) -> Self {
        Self(rights.iter().fold(0, |all, right| all | 1 << *right as u8))
    }

    fn has(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }

    /// Strict: a word that is not known means that nothing is.
    fn parse(text: &str) -> Option<Self> {
        text.split(',').try_fold(Self::default(), |all, word| {
            let right = Right::ALL.into_iter().find(|right| right.as_str() == word)?;
            Some(Self(all.0 | Self::of(&[right]).0))
        })
    }
}

impl fmt::Display for RightSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = Right::ALL.into_iter().filter(|right| self.has(*right)).map(Right::as_str).collect();
        f.write_str(&words.join(","))
    }
}

/// Who calls: the holder of what the call claims, what they may do, and how far that reaches. `Display` is for logs.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    holder: Holder,
    rights: RightSet,
    /// `None`: no limit.
    scope: Option<Arc<Scope>>,
    /// The controller that calls on their behalf, if one does.
    via: Option<Arc<PeerIdentity>>,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.holder, self.rights)?;
        match &self.scope {
            Some(scope) => write!(f, "; {scope})"),
            None => f.write_str(")"),
        }
    }
}

impl Principal {
    /// Somebody who may do nothing here.
    pub(crate) fn denied(holder: Holder) -> Self {
        Self { holder, rights: RightSet::default(), scope: None, via: None }
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
        self.holder.caller().with_rights(if self.is_admin() { ADMIN } else { Rights::default() })
    }

    /// Who calls.
    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Whether they may run scripts by a shell.
    pub(crate) fn may_shell(&self) -> bool {
        self.rights.has(Right::Shell) || self.is_admin()
    }

    /// Whether they may see and end what is others'.
    pub(crate) fn is_admin(&self) -> bool {
        self.rights.has(Right::Admin)
    }

    /// Whether a line is within their reach.
    pub(crate) fn reaches<B: Board>(&self, agent: &Agent<B>, line: LineId) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.allows_line(agent.policy(), line))
    }

    /// Refuses a line beyond their reach.
    pub(crate) fn check_line<B: Board>(&self, agent: &Agent<B>, line: LineId) -> Result<(), Status> {
        if self.reaches(agent, line) { Ok(()) } else { Err(self.beyond(&line.to_string())) }
    }

    /// Whether there are lines beyond their reach.
    pub(crate) fn limits_lines(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.limits_lines())
    }

    /// Refuses the buses to those who are limited to lines.
    pub(crate) fn check_bus(&self) -> Result<(), Status> {
        if self.limits_lines() { Err(self.beyond("a bus, which has lines of its own,")) } else { Ok(()) }
    }

    /// Refuses a command that they may not run.
    pub(crate) fn check_program(&self, program: &Program) -> Result<(), Status> {
        let template = match program {
            Program::Template(name, _) => Some(name.as_str()),
            _ => None,
        };
        match &self.scope {
            Some(scope) if !scope.allows_template(template) => Err(self.beyond(match template {
                Some(name) => name,
                None => "a command that is not one of their templates",
            })),
            _ => Ok(()),
        }
    }

    /// What is left of a filter of logs.
    pub(crate) fn narrow(&self, filter: Filter) -> Result<Filter, Status> {
        match &self.scope {
            Some(scope) => scope.narrow(filter).map_err(|beyond| self.beyond(&beyond)),
            None => Ok(filter),
        }
    }

    fn beyond(&self, what: &str) -> Status {
        denied(&format!("{what} is beyond the reach of {} on this node: ask an admin", self.holder))
    }
}

/// What only admins may do to lines: hold for good what is declared to matter, and take a line from its holder.
const ADMIN: Rights = Rights { permanent: true, steal: true };

/// Controllers may do everything that those may for whom they call: they say who that is, and what their table has for them.
/// Of operators, only those may call whom the node's configuration lists. Nobody else. A node that was revoked only says how
/// it is.
#[derive(Clone)]
pub struct Access {
    operators: BTreeMap<String, (RightSet, Option<Arc<Scope>>)>,
    beliefs: Arc<Beliefs>,
}

const NODE_REVOKED: &str =
    "this node was revoked and takes no commands: join again in an empty folder with a new token";

impl Access {
    /// Trusts controllers and `operators`.
    pub(crate) fn new(operators: &[Operator], beliefs: Arc<Beliefs>) -> Self {
        let row = |operator: &Operator| {
            let Operator { name, roles, scope } = operator;
            (name.clone(), (RightSet::of(roles), limit(scope.clone())))
        };
        Self { operators: operators.iter().map(row).collect(), beliefs }
    }

    /// Who calls, if they have `right`.
    ///
    /// # Errors
    ///
    /// `PERMISSION_DENIED`, saying what is missing.
    pub(crate) fn check(&self, right: Right, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Principal, Status> {
        if right != Right::Viewer && self.beliefs.is_revoked() {
            return Err(wire::status(Code::FailedPrecondition, "NODE_REVOKED", NODE_REVOKED, []));
        }
        let principal = match peer {
            Some(Peer::Certified(identity, _)) => self.principal(headers, identity)?.called_by(identity),
            Some(Peer::Expired(..)) => {
                return Err(denied("an expired certificate is good for its renewal and nothing else"));
            }
            Some(Peer::Token(..)) => {
                return Err(denied("a join token may register with a controller and nothing else"));
            }
            None => return Err(denied("the connection has no peer")),
        };
        match principal.rights.has(right) || principal.is_admin() {
            true => Ok(principal),
            false => Err(denied(&format!("{} lacks the role {} on this node", principal.holder, right.as_str()))),
        }
    }

    fn principal(&self, headers: &HeaderMap, who: &PeerIdentity) -> Result<Principal, Status> {
        match who.kind {
            Kind::Controller => on_behalf_of(headers, who),
            Kind::Node => Err(denied(&format!("{who} is a node: nodes do not command each other"))),
            Kind::Operator => {
                let (rights, scope) = self.operators.get(&who.name).ok_or_else(|| {
                    denied(&format!("{who} is not listed on this node: call through the controller, or list it"))
                })?;
                principal(&name(who), *rights, scope.clone())
            }
        }
    }
}

/// What a controller says is read strictly: what is missing or not understood means that nothing is allowed.
fn on_behalf_of(headers: &HeaderMap, controller: &PeerIdentity) -> Result<Principal, Status> {
    if !headers.contains_key(ON_BEHALF_OF) {
        return principal(&name(controller), RightSet::of(&[Right::Admin]), None);
    }
    let told = |header: &str| {
        let mut values = headers.get_all(header).iter();
        let only = values.next().filter(|_| values.next().is_none());
        only.and_then(|value| value.to_str().ok()).ok_or_else(|| denied(&format!("{header} is not told once")))
    };
    let rights = RightSet::parse(told(ROLES)?).ok_or_else(|| denied(&format!("{ROLES} is not understood")))?;
    let scope = told(SCOPE)?.parse::<Scope>();
    let scope = scope.map_err(|wrong| denied(&format!("{SCOPE} is not understood: {wrong}")))?;
    principal(told(ON_BEHALF_OF)?, rights, limit(scope))
}

fn limit(scope: Scope) -> Option<Arc<Scope>> {
    (scope != Scope::UNLIMITED).then(|| Arc::new(scope))
}

/// As `Display` has it, but on the way of every call: one allocation and no formatting.
fn name(who: &PeerIdentity) -> String {
    [who.kind.as_str(), "/", &who.name].concat()
}

/// Admins are not limited.
fn principal(who: &str, rights: RightSet, scope: Option<Arc<Scope>>) -> Result<Principal, Status> {
    let holder = Holder::new(who).ok().filter(|_| who.len() <= MAXIMUM_HOLDER);
    let scope = scope.filter(|_| !rights.has(Right::Admin));
    holder
        .map(|holder| Principal { holder, rights, scope, via: None })
        .ok_or_else(|| denied(&format!("{ON_BEHALF_OF} names nobody")))
}

fn denied(why: &str) -> Status {
    wire::status(Code::PermissionDenied, "ACCESS_DENIED", why, [])
}
