//! `[certificates]`: for how long each kind of certificate is good.

use std::path::Path;
use std::time::Duration;

use control_lib::{Lifetime, LifetimeError};
use jiff::{Span, SpanRelativeTo};
use serde::Deserialize;
use startup::ConfigError;
use toml::Spanned;

/// For how long certificates are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of nodes, which renew at half of it: 10 s, for tests, to 90 days. Default: 7 days.
    pub node: Lifetime,
    /// Of this controller, which renews at half of it: as nodes.
    pub controller: Lifetime,
    /// Of operators, unless something else is asked for: 12 hours to 90 days. Default: 90 days.
    pub operator: Lifetime,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { node: Lifetime::NODE, controller: Lifetime::CONTROLLER, operator: Lifetime::OPERATOR }
    }
}

/// The section as it is written: numbers with units, such as "7d", "12h" or "90 days".
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    node: Option<Spanned<String>>,
    controller: Option<Spanned<String>>,
    operator: Option<Spanned<String>>,
}

impl Section {
    pub(super) fn lifetimes(self, path: &Path, text: &str) -> Result<Lifetimes, ConfigError> {
        let Self { node, controller, operator } = self;
        let read = |written: Option<Spanned<String>>, usual, judge: fn(Duration) -> Result<Lifetime, LifetimeError>| {
            let Some(written) = written else { return Ok(usual) };
            let wrong = |expected: &dyn std::fmt::Display| startup::at(path, text, written.span(), expected);
            let length = duration(written.get_ref()).ok_or_else(|| wrong(&"expected a duration such as \"7d\""))?;
            judge(length).map_err(|error| wrong(&error))
        };
        let usual = Lifetimes::default();
        Ok(Lifetimes {
            node: read(node, usual.node, Lifetime::machine)?,
            controller: read(controller, usual.controller, Lifetime::machine)?,
            operator: read(operator, usual.operator, Lifetime::operator)?,
        })
    }
}

/// Days have 24 hours here; months and years, which have no one length, are not taken.
fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    length.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Lifetimes, String> {
        let path = Path::new("controller.toml");
        let section: Section = startup::parse(path, text).map_err(|error| error.to_string())?;
        section.lifetimes(path, text).map_err(|error| error.to_string())
    }

    #[test]
    fn lifetimes_are_numbers_with_units() {
        assert_eq!(read("").unwrap(), Lifetimes::default());
        let read = read("node = '20s'\ncontroller = '1d 12h'\noperator = '30 days'\n").unwrap();
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert_eq!(read.node.duration(), Duration::from_secs(20));
        assert_eq!((read.controller.duration(), read.operator.duration()), (hours(36), hours(30 * 24)));
    }

    #[test]
    fn what_is_none_or_out_of_range_is_told_with_its_line() {
        for (text, told) in [
            ("node = '9s'", "controller.toml, line 1: choose a lifetime from 10 seconds to 90 days"),
            ("\noperator = '91d'", "controller.toml, line 2: choose a lifetime from 12 hours to 90 days"),
            ("controller = '1 month'", "controller.toml, line 1: expected a duration such as \"7d\""),
            ("controller = '-7d'", "controller.toml, line 1: expected a duration such as \"7d\""),
            ("node = 'long'", "controller.toml, line 1: expected a duration such as \"7d\""),
        ] {
            assert_eq!(read(text).unwrap_err(), told);
        }
    }
}
