//! `[[operators]]`: whose commands the node takes without a controller in between.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Operator;
use crate::access::Right;
use crate::scope::Scope;

/// As it is written. A list that is absent is no limit, and an empty one is a mistake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    name: String,
    roles: Vec<Right>,
    /// For the role gpio: numbers, `GPIO17`, `J8:11` or aliases. Without buses.
    lines: Option<Vec<Line>>,
    /// For the role logs: units whose entries in the journal may be read.
    units: Option<Vec<String>>,
    /// For the role logs: `journal`, `kernel`, `agent`, `file:NAME`.
    sources: Option<Vec<String>>,
    /// For the role exec: templates, and nothing else.
    templates: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Number(u16),
    Name(String),
}

impl TryFrom<Table> for Operator {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let Table { name, roles, lines, units, sources, templates } = table;
        let limits = [
            ("lines", lines.is_some(), Right::Gpio, "gpio"),
            ("units", units.is_some(), Right::Logs, "logs"),
            ("sources", sources.is_some(), Right::Logs, "logs"),
            ("templates", templates.is_some(), Right::Exec, "exec"),
        ];
        for (limit, is_given, right, role) in limits {
            if is_given && roles.contains(&Right::Admin) {
                return Err(format!("an admin is not limited: leave {limit} out, or give other roles"));
            }
            if is_given && !roles.contains(&right) {
                return Err(format!("{limit} are for the role {role}, which {name} has not"));
            }
        }
        let text = |line| match line {
            Line::Number(number) => number.to_string(),
            Line::Name(name) => name,
        };
        let lines = lines.map(|lines| lines.into_iter().map(text).collect());
        let scope = Scope::new(lines, units, sources, templates).map_err(|wrong| wrong.to_string())?;
        Ok(Self { name, roles, scope })
    }
}

/// Of two entries of one name neither is what its writer meant.
pub(super) fn check_once(operators: &[Operator]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match operators.iter().find(|operator| !seen.insert(&operator.name)) {
        Some(twice) => Err(format!("operators: {} stands there twice, put both into one", twice.name)),
        None => Ok(()),
    }
}
