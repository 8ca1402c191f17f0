//! How far roles are to reach, as it is typed.

use clap::Args;
use jiff::{SpanRelativeTo, SpanTotal, Unit};
use proto::fleet::v1::{Grant, Names, NodeSelector, Role, Scope};

use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Limits {
    /// Only nodes with all of these labels
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    nodes: Vec<(String, String)>,
    /// Only these lines: numbers, GPIO17, J8:11, aliases; then without buses
    #[arg(long, value_name = "LINE", value_delimiter = ',')]
    lines: Vec<String>,
    /// Only the entries of these units in the journal
    #[arg(long, value_name = "UNIT", value_delimiter = ',')]
    units: Vec<String>,
    /// Only these sources of logs: journal, kernel, agent, file:NAME
    #[arg(long, value_name = "SOURCE", value_delimiter = ',')]
    sources: Vec<String>,
    /// Only these command templates, and no other command
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    templates: Vec<String>,
}

impl Limits {
    /// Each role with the limits that say something about it; one that says nothing about any of them is a mistake.
    pub(crate) fn grants(self, roles: &[Role]) -> Result<Vec<Grant>, Failure> {
        let Self { nodes, lines, units, sources, templates } = self;
        let of = |role: Role, names: &[String]| names.is_empty() || roles.contains(&role);
        match () {
            () if !of(Role::Gpio, &lines) => {
                return Err(Failure::Usage("--lines limits the role gpio: give it as well"));
            }
            () if !of(Role::Logs, &units) => {
                return Err(Failure::Usage("--units limits the role logs: give it as well"));
            }
            () if !of(Role::Logs, &sources) => {
                return Err(Failure::Usage("--sources limits the role logs: give it as well"));
            }
            () if !of(Role::Exec, &templates) => {
                return Err(Failure::Usage("--templates limits the role exec: give it as well"));
            }
            () => {}
        }
        let units: Vec<String> = units.into_iter().map(whole_unit).collect();
        let nodes = (!nodes.is_empty()).then(|| NodeSelector { labels: nodes.into_iter().collect() });
        let names = |own: bool, names: &[String]| (own && !names.is_empty()).then(|| Names { names: names.to_vec() });
        let grant = |role: &Role| {
            let scope = Scope {
                nodes: nodes.clone(),
                lines: names(*role == Role::Gpio, &lines),
                units: names(*role == Role::Logs, &units),
                sources: names(*role == Role::Logs, &sources),
                templates: names(*role == Role::Exec, &templates),
            };
            Grant { role: (*role).into(), scope: Some(scope) }
        };
        Ok(roles.iter().map(grant).collect())
    }
}

/// As the service manager completes it.
fn whole_unit(unit: String) -> String {
    if unit.contains('.') { unit } else { unit + ".service" }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected a label such as room=lab")?;
    Ok((key.to_owned(), value.to_owned()))
}

const ROLES: [(&str, Role); 8] = [
    ("viewer", Role::Viewer),
    ("logs", Role::Logs),
    ("gpio", Role::Gpio),
    ("exec", Role::Exec),
    ("shell", Role::Shell),
    ("provision", Role::Provision),
    ("admin", Role::Admin),
    ("enroller", Role::Enroller),
];

pub(crate) fn role(word: &str) -> Result<Role, String> {
    let known = ROLES.iter().find(|(known, _)| *known == word).map(|(_, role)| *role);
    known.ok_or_else(|| format!("choose {}", ROLES.map(|(known, _)| known).join(", ")))
}

/// As it is typed.
pub(crate) fn word(role: Role) -> &'static str {
    ROLES.iter().find(|(_, known)| *known == role).map_or("unknown to this pictl", |(word, _)| word)
}

/// `30d`, `12h`.
pub(crate) fn lifetime(text: &str) -> Result<prost_types::Duration, String> {
    let wrong = |_| "expected a time such as 30d or 12h".to_owned();
    let span: jiff::Span = text.parse().map_err(wrong)?;
    let seconds = span.total(SpanTotal::from((Unit::Second, SpanRelativeTo::days_are_24_hours()))).map_err(wrong)?;
    Ok(prost_types::Duration { seconds: seconds as i64, nanos: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let empty = Vec::new;
        Limits { nodes: Vec::new(), lines: empty(), units: empty(), sources: empty(), templates: empty() }
    }

    #[test]
    fn a_limit_goes_to_the_role_that_it_says_something_about() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let limited = Limits {
            nodes: vec![("room".to_owned(), "lab".to_owned())],
            lines: words(&["17"]),
            units: words(&["nginx", "a.timer"]),
            ..limits()
        };
        let grants = limited.grants(&[Role::Viewer, Role::Gpio, Role::Logs]).unwrap();
        let told: Vec<String> = grants.iter().map(crate::operator::described).collect();
        assert_eq!(
            told,
            [
                "viewer: nodes room=lab",
                "gpio: nodes room=lab, lines 17",
                "logs: nodes room=lab, units nginx.service,a.timer"
            ]
        );
        let lost = Limits { lines: words(&["17"]), ..limits() }.grants(&[Role::Viewer]).unwrap_err();
        assert_eq!(lost.to_string(), "--lines limits the role gpio: give it as well");
        assert_eq!(crate::operator::described(&limits().grants(&[Role::Exec]).unwrap()[0]), "exec");
    }

    #[test]
    fn times_and_roles_are_read() {
        assert_eq!(lifetime("30d").unwrap().seconds, 30 * 86_400);
        assert_eq!(lifetime("12h").unwrap().seconds, 43_200);
        assert!(lifetime("soon").is_err() && lifetime("30").is_err());
        assert_eq!(role("gpio"), Ok(Role::Gpio));
        assert!(role("king").unwrap_err().contains("viewer, logs"));
        assert_eq!(word(Role::Enroller), "enroller");
    }
}
