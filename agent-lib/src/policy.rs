//! Which lines may be used, under which names, and how they are left behind.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::time::Duration;

use hal_core::{LineId, header};

use crate::policy_error::PolicyError;
use crate::{Lease, name};

/// How an output is left when it is released, on emergency stop, and when the agent ends.
///
/// It speaks of the wire, not of logical levels, since it belongs to what is soldered to it: a relay board that switches
/// on at low is safe at [`SafeState::High`], however its line was configured. Inputs and lines held as they are have
/// nothing to make safe and are left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SafeState {
    /// Leave it driving as it is.
    Hold,
    /// Make it an input, as after reset. The default.
    #[default]
    Input,
    /// Drive the wire low.
    Low,
    /// Drive the wire high.
    High,
}

/// What the agent does with a line when it starts, before anybody has asked for it. It speaks of the wire, as
/// [`SafeState`] does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Restore {
    /// Drive the wire low.
    Off,
    /// Drive the wire high.
    On,
    /// Drive the wire as it was driven last; not touched if that is not known.
    Last,
    /// Do not touch it. The default.
    #[default]
    AsIs,
}

/// The rules of one node. What it holds has been checked: every alias and safe state belongs to an allowed line.
///
/// The default allows the header's GPIO0 to GPIO27, knows no alias, makes every line an input when it is left, touches
/// nothing at start, and lends lines with a declared safe state for 60 s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    allow: BTreeSet<LineId>,
    aliases: BTreeMap<String, LineId>,
    safe: BTreeMap<LineId, SafeState>,
    restore: BTreeMap<LineId, Restore>,
    default_lease: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self::of(header::lines().collect(), BTreeMap::new(), BTreeMap::new())
    }
}

impl Policy {
    /// A policy of the lines that may be used, further names for them, and the safe states that are not the default.
    ///
    /// # Errors
    ///
    /// If an alias is empty or reads like another line (`17`, `GPIO17`, `J8:11`), or if an alias or a safe state belongs
    /// to a line that is not allowed.
    pub fn new(
        allow: BTreeSet<LineId>,
        aliases: BTreeMap<String, LineId>,
        safe: BTreeMap<LineId, SafeState>,
    ) -> Result<Self, PolicyError> {
        aliases.iter().try_for_each(|(alias, line)| check_alias(&allow, alias, *line))?;
        match safe.keys().find(|line| !allow.contains(line)) {
            Some(&line) => Err(PolicyError::SafeNotAllowed { line }),
            None => Ok(Self::of(allow, aliases, safe)),
        }
    }

    fn of(allow: BTreeSet<LineId>, aliases: BTreeMap<String, LineId>, safe: BTreeMap<LineId, SafeState>) -> Self {
        Self { allow, aliases, safe, restore: BTreeMap::new(), default_lease: Duration::from_secs(60) }
    }

    /// The same, doing this with lines at start.
    ///
    /// # Errors
    ///
    /// `RestoreNotAllowed` if one of the lines is not allowed.
    pub fn with_restore(self, restore: BTreeMap<LineId, Restore>) -> Result<Self, PolicyError> {
        match restore.keys().find(|line| !self.allow.contains(line)) {
            Some(&line) => Err(PolicyError::RestoreNotAllowed { line }),
            None => Ok(Self { restore, ..self }),
        }
    }

    /// The same with this default lease.
    ///
    /// # Errors
    ///
    /// `LeaseOutOfRange` if it is shorter or longer than [`Lease::RANGE`] allows.
    pub fn with_default_lease(self, ttl: Duration) -> Result<Self, PolicyError> {
        if Lease::RANGE.contains(&ttl) {
            Ok(Self { default_lease: ttl, ..self })
        } else {
            Err(PolicyError::LeaseOutOfRange { ttl })
        }
    }

    /// Whether a line may be used.
    pub fn allows(&self, line: LineId) -> bool {
        self.allow.contains(&line)
    }

    /// The lines that may be used, in order.
    pub fn allowed(&self) -> impl Iterator<Item = LineId> {
        self.allow.iter().copied()
    }

    /// The line behind an alias. Aliases are matched exactly.
    pub fn line_of(&self, alias: &str) -> Option<LineId> {
        self.aliases.get(alias).copied()
    }

    /// Every alias and its line, by alias.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, LineId)> {
        self.aliases.iter().map(|(alias, line)| (alias.as_str(), *line))
    }

    /// How a line is left: as declared, else as an input.
    pub fn safe_state(&self, line: LineId) -> SafeState {
        self.declared_safe(line).unwrap_or_default()
    }

    /// How a line is left, if anybody has said so. Such a line matters: it is lent, not given.
    pub fn declared_safe(&self, line: LineId) -> Option<SafeState> {
        self.safe.get(&line).copied()
    }

    /// What is done with a line at start.
    pub fn restore(&self, line: LineId) -> Restore {
        self.stated_restore(line).unwrap_or_default()
    }

    /// The same, if anybody has said so.
    pub(crate) fn stated_restore(&self, line: LineId) -> Option<Restore> {
        self.restore.get(&line).copied()
    }

    /// For how long a bare write or pulse borrows a line with a declared safe state.
    pub fn default_lease(&self) -> Duration {
        self.default_lease
    }
}

fn check_alias(allow: &BTreeSet<LineId>, alias: &str, line: LineId) -> Result<(), PolicyError> {
    if alias.is_empty() {
        return Err(PolicyError::EmptyAlias { line });
    }
    if name::reads_like_a_line(alias) && name::well_known(alias) != Some(line) {
        return Err(PolicyError::MisleadingAlias { alias: alias.into(), line });
    }
    if !allow.contains(&line) {
        return Err(PolicyError::AliasNotAllowed { alias: alias.into(), line });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_alias(alias: &str, line: u16) -> Result<Policy, PolicyError> {
        let aliases = BTreeMap::from([(alias.into(), LineId(line))]);
        Policy::new(header::lines().collect(), aliases, BTreeMap::new())
    }

    #[test]
    fn the_default_is_the_header() {
        let policy = Policy::default();
        assert!(policy.allows(LineId(27)) && !policy.allows(LineId(28)));
        assert_eq!(policy.safe_state(LineId(17)), SafeState::Input);
    }

    #[test]
    fn an_alias_stands_for_its_line() {
        assert_eq!(with_alias("heater", 17).unwrap().line_of("heater"), Some(LineId(17)));
        assert!(with_alias("gpio17", 17).is_ok());
    }

    #[test]
    fn an_alias_may_not_mislead() {
        for alias in ["18", "GPIO18", "J8:12", "GPIO99", "J8:1"] {
            assert!(matches!(with_alias(alias, 17), Err(PolicyError::MisleadingAlias { .. })), "{alias}");
        }
        assert_eq!(with_alias("", 17), Err(PolicyError::EmptyAlias { line: LineId(17) }));
    }

    #[test]
    fn a_default_lease_is_in_range_and_a_restored_line_allowed() {
        let policy = Policy::default();
        assert_eq!(policy.default_lease(), Duration::from_secs(60));
        let ttl = Duration::from_millis(99);
        assert_eq!(policy.clone().with_default_lease(ttl), Err(PolicyError::LeaseOutOfRange { ttl }));
        let restored = |line| policy.clone().with_restore(BTreeMap::from([(LineId(line), Restore::On)]));
        assert_eq!(restored(42), Err(PolicyError::RestoreNotAllowed { line: LineId(42) }));
        assert_eq!(restored(17).unwrap().restore(LineId(17)), Restore::On);
    }

    #[test]
    fn only_allowed_lines_have_aliases_and_safe_states() {
        assert!(matches!(with_alias("usb", 42), Err(PolicyError::AliasNotAllowed { .. })));
        let safe = BTreeMap::from([(LineId(42), SafeState::Low)]);
        let refused = Policy::new(header::lines().collect(), BTreeMap::new(), safe);
        assert_eq!(refused, Err(PolicyError::SafeNotAllowed { line: LineId(42) }));
    }
}
