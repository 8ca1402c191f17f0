//! Roles, each with how far it reaches.

use std::collections::BTreeMap;
use std::fmt;

use crate::labels::Labels;
use crate::permission::Role;
use crate::scope::{Scope, ScopeError};

/// What somebody may do. Empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(BTreeMap<Role, Scope>);

impl Grants {
    /// Everything everywhere.
    pub fn admin() -> Grants {
        Grants(BTreeMap::from([(Role::Admin, Scope::UNLIMITED)]))
    }

    /// Checks each scope against its role, and that all of them together fit into a call. Of two grants of one role the
    /// later stands.
    pub fn new(grants: impl IntoIterator<Item = (Role, Scope)>) -> Result<Grants, ScopeError> {
        let checked = grants.into_iter().map(|(role, scope)| Ok((role, scope.of_role(role)?)));
        let grants = Grants(checked.collect::<Result<_, _>>()?);
        match grants.merged(|_| true).to_string().len() {
            0..=Scope::MAX_BYTES => Ok(grants),
            long => Err(ScopeError::TooLong(long)),
        }
    }

    /// These with others added; of one role, the one that is added stands.
    pub fn with(&self, added: &Grants) -> Result<Grants, ScopeError> {
        Grants::new(self.iter().chain(added.iter()).map(|(role, scope)| (role, scope.clone())))
    }

    /// These without a role.
    pub fn without(mut self, role: Role) -> Grants {
        self.0.remove(&role);
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each role with its scope, in the order of the roles.
    pub fn iter(&self) -> impl Iterator<Item = (Role, &Scope)> {
        self.0.iter().map(|(role, scope)| (*role, scope))
    }

    /// Whether one of the roles is `role` or contains it, be it for a few nodes only.
    pub fn has(&self, role: Role) -> bool {
        self.reach(role).next().is_some()
    }

    /// The same for every node there is.
    pub fn has_everywhere(&self, role: Role) -> bool {
        self.reach(role).any(|scope| scope.nodes.is_none())
    }

    /// The same for a node with these labels.
    pub fn has_on(&self, role: Role, labels: &Labels) -> bool {
        self.reach(role).any(|scope| scope.selects(labels))
    }

    /// Whether all that `other` allows is allowed here as well: who has these can give `other`.
    pub fn cover(&self, other: &Grants) -> bool {
        self.first_above(other).is_none()
    }

    /// The first role of `other` that goes further than these do.
    pub fn first_above(&self, other: &Grants) -> Option<Role> {
        let covered = |role, scope: &Scope| self.reach(role).any(|own| scope.within(own));
        other.iter().find(|(role, scope)| !covered(*role, scope)).map(|(role, _)| role)
    }

    /// The limits on a node with these labels, of all roles that reach it: each limit is one role's, so that they can
    /// be told together.
    pub(crate) fn limits_on(&self, labels: &Labels) -> Scope {
        self.merged(|scope| scope.selects(labels))
    }

    fn merged(&self, counts: impl Fn(&Scope) -> bool) -> Scope {
        let mut all = Scope::UNLIMITED;
        for scope in self.0.values().filter(|scope| counts(scope)) {
            let Scope { nodes: _, lines, units, sources, templates } = scope.clone();
            all.lines = all.lines.or(lines);
            all.units = all.units.or(units);
            all.sources = all.sources.or(sources);
            all.templates = all.templates.or(templates);
        }
        all
    }

    /// How far `role` reaches: by itself, and by [`Role::Admin`], which contains it.
    fn reach(&self, role: Role) -> impl Iterator<Item = &Scope> {
        let admin = (role != Role::Admin).then(|| self.0.get(&Role::Admin)).flatten();
        self.0.get(&role).into_iter().chain(admin)
    }
}

/// `gpio (nodes room=lab, lines 17,27), viewer`; `none` if there is none.
impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.iter().map(|(role, scope)| match described(scope) {
            limits if limits.is_empty() => role.to_string(),
            limits => format!("{role} ({limits})"),
        });
        let text = texts.collect::<Vec<_>>().join(", ");
        f.write_str(if text.is_empty() { "none" } else { &text })
    }
}

fn described(scope: &Scope) -> String {
    let Scope { nodes, lines, units, sources, templates } = scope;
    let nodes = nodes.iter().map(|nodes| format!("nodes {nodes}"));
    let named = [("lines", lines), ("units", units), ("sources", sources), ("templates", templates)];
    let named = named.into_iter().filter_map(|(limit, names)| Some(format!("{limit} {}", names.as_ref()?)));
    nodes.chain(named).collect::<Vec<_>>().join(", ")
}
