//! How far an operator's roles reach on this node: which lines, which logs, which commands.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use agent_lib::{LineName, Policy};
use hal_core::LineId;

use crate::logs::{self, Filter, Sources};

/// Names of one sort.
const NAMES: usize = 64;
/// All of it, as a call tells it.
const BYTES: usize = 2048;

/// What roles are limited to. What is not limited is not limited; what is, is limited to what is named.
///
/// The control plane has the same words, and writes them as `lines=17,heater;templates=backup`, or `*` for no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    lines: Option<BTreeSet<String>>,
    units: Option<BTreeSet<String>>,
    sources: Option<Sources>,
    templates: Option<BTreeSet<String>>,
}

/// A text is no [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not a list of limits, each once and in order.
    #[error("limits are written as lines=…;units=…;sources=…;templates=…, or * for none")]
    Form,
    /// A list without a name would say nothing or everything, depending on who reads it.
    #[error("{0} must name at least one, or be left out for no limit")]
    Empty(&'static str),
    /// Too many names.
    #[error("{0} must be at most {NAMES}")]
    TooMany(&'static str),
    /// Something that is called by no such name.
    #[error("{0:?} {1}")]
    Name(String, &'static str),
    /// It takes more than a call can carry.
    #[error("limits must have at most {BYTES} bytes, not {0}")]
    TooLong(usize),
}

impl Scope {
    /// No limit.
    pub const UNLIMITED: Scope = Scope { lines: None, units: None, sources: None, templates: None };

    /// The limits that a configuration names; units alone mean the journal.
    pub(crate) fn new(
        lines: Option<Vec<String>>,
        units: Option<Vec<String>>,
        sources: Option<Vec<String>>,
        templates: Option<Vec<String>>,
    ) -> Result<Self, ScopeError> {
        let journal = || units.is_some().then(|| vec!["journal".to_owned()]);
        let sources = sources.or_else(journal);
        Ok(Self {
            lines: lines.map(|lines| names("lines", &lines, line)).transpose()?,
            units: units.map(|units| names("units", &units, logs::unit)).transpose()?,
            sources: sources.map(|sources| self::sources(&sources)).transpose()?,
            templates: templates.map(|templates| names("templates", &templates, template)).transpose()?,
        })
    }

    /// Whether a line may be used. Only names that need no look at the hardware count: numbers, pins and aliases.
    pub(crate) fn allows_line(&self, policy: &Policy, line: LineId) -> bool {
        let named = |name: &String| policy.line_of(name).or_else(|| LineName::Text(name).well_known()) == Some(line);
        self.lines.as_ref().is_none_or(|lines| lines.iter().any(named))
    }

    /// Whether lines are limited at all. A bus has lines of its own, and so is no line.
    pub(crate) fn limits_lines(&self) -> bool {
        self.lines.is_some()
    }

    /// Whether a command may run; `None` is one without a template.
    pub(crate) fn allows_template(&self, template: Option<&str>) -> bool {
        let named = |templates: &BTreeSet<String>| template.is_some_and(|template| templates.contains(template));
        self.templates.as_ref().is_none_or(named)
    }

    /// A filter that asks for nothing beyond: what it does not choose itself is chosen for it.
    ///
    /// # Errors
    ///
    /// What it asks for by name and may not have.
    pub(crate) fn narrow(&self, mut filter: Filter) -> Result<Filter, String> {
        if let Some(own) = &self.sources {
            if filter.sources.is_empty() {
                filter.sources = own.usual();
            } else if let Some(beyond) = filter.sources.first_beyond(own) {
                return Err(format!("the source {beyond}"));
            }
        }
        // other sources know no units
        if let Some(own) = &self.units
            && filter.sources.journal
        {
            if filter.units.is_empty() {
                filter.units = own.iter().cloned().collect();
            } else if let Some(beyond) = filter.units.iter().find(|unit| !own.contains(*unit)) {
                return Err(format!("the unit {beyond}"));
            }
        }
        Ok(filter)
    }
}

fn names<T: AsRef<str>>(
    what: &'static str,
    names: &[T],
    check: fn(&str) -> Result<String, &'static str>,
) -> Result<BTreeSet<String>, ScopeError> {
    match names.len() {
        0 => return Err(ScopeError::Empty(what)),
        1..=NAMES => {}
        _ => return Err(ScopeError::TooMany(what)),
    }
    let named = |name: &T| {
        let name = name.as_ref();
        check(name).map_err(|why| ScopeError::Name(name.chars().take(64).collect(), why))
    };
    names.iter().map(named).collect()
}

fn sources<T: AsRef<str>>(words: &[T]) -> Result<Sources, ScopeError> {
    let source = |word: &str| match (word, word.strip_prefix("file:")) {
        ("journal" | "kernel" | "agent", _) => Ok(word.to_owned()),
        (_, Some(file)) => logs::file_name(file).map(|_| word.to_owned()),
        _ => Err("must be journal, kernel, agent or file:NAME"),
    };
    let words = names("sources", words, source)?;
    let files = words.iter().filter_map(|word| word.strip_prefix("file:"));
    Ok(Sources {
        journal: words.contains("journal"),
        kernel: words.contains("kernel"),
        agent: words.contains("agent"),
        files: files.map(str::to_owned).collect(),
    })
}

/// Whether the node knows it shows when it is used.
fn line(name: &str) -> Result<String, &'static str> {
    let is_good = (1..=64).contains(&name.len()) && !name.contains([',', ';', '=', '*']);
    let is_good = is_good && !name.contains(|c: char| c.is_control() || c.is_whitespace());
    is_good.then(|| name.to_owned()).ok_or("must be a number, GPIO17, J8:11 or an alias")
}

fn template(name: &str) -> Result<String, &'static str> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let is_good = (1..=64).contains(&name.len()) && name.bytes().all(is_of_name);
    is_good.then(|| name.to_owned()).ok_or("must be a template's name")
}

/// Strict: what is not understood in full is no scope, so that nothing is allowed by a limit that got lost.
impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        match text.len() {
            0..=BYTES => {}
            long => return Err(ScopeError::TooLong(long)),
        }
        if text == "*" {
            return Ok(Self::UNLIMITED);
        }
        let mut parts = text.split(';').peekable();
        let mut limit = |name: &str| {
            let of_limit = |part: &&str| part.split_once('=').is_some_and(|(limit, _)| limit == name);
            let names = parts.next_if(of_limit).and_then(|part| part.split_once('='));
            names.map(|(_, names)| names.split(',').map(str::to_owned).collect::<Vec<_>>())
        };
        let (lines, units) = (limit("lines"), limit("units"));
        let (sources, templates) = (limit("sources"), limit("templates"));
        match parts.next() {
            None if units.is_none() || sources.is_some() => Self::new(lines, units, sources, templates),
            _ => Err(ScopeError::Form),
        }
    }
}

/// As it is read.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let Self { lines, units, sources, templates } = self;
        let sources = sources.as_ref().map(|sources| sources.words().join(","));
        let limits = [
            ("lines", lines.as_ref().map(joined)),
            ("units", units.as_ref().map(joined)),
            ("sources", sources),
            ("templates", templates.as_ref().map(joined)),
        ];
        let limits = limits.into_iter().filter_map(|(limit, names)| Some(format!("{limit}={}", names?)));
        let text = limits.collect::<Vec<_>>().join(";");
        f.write_str(if text.is_empty() { "*" } else { &text })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_star_is_no_limit() {
        assert_eq!(scope("*"), Scope::UNLIMITED);
        for text in [
            "",
            "**",
            "*;lines=17",
            "lines=",
            "lines",
            "lines=17;",
            ";lines=17",
            "lines=17;lines=27",
            "lines=17,,27",
            "lines=17 ",
            "lines=17;lights=3",
            "Lines=17",
            "templates=a;lines=17",
            "templates=../a",
            "units=a.service",
            "units=a b;sources=journal",
            "sources=syslog",
            "sources=file:../x",
            "lines=17;templates=a;x",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text:?}");
        }
        let long = format!("lines={}", vec!["x".repeat(60); 60].join(","));
        assert_eq!(long.parse::<Scope>(), Err(ScopeError::TooLong(long.len())));
        let many = format!("lines={}", (0..65).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        assert_eq!(many.parse::<Scope>(), Err(ScopeError::TooMany("lines")));
    }

    #[test]
    fn lines_are_meant_by_number_pin_and_alias() {
        let allowed = (0..28).map(LineId).collect();
        let aliases = BTreeMap::from([("heater".to_owned(), LineId(5))]);
        let policy = Policy::new(allowed, aliases, BTreeMap::new()).unwrap();
        let lines = |text| (0..28).filter(|n| scope(text).allows_line(&policy, LineId(*n))).collect::<Vec<_>>();
        assert_eq!(lines("lines=17,GPIO27,J8:3,heater"), [2, 5, 17, 27]);
        assert!(lines("lines=pump").is_empty() && lines("templates=x").len() == 28);
        assert!(scope("lines=17").limits_lines() && !scope("*").limits_lines());
    }

    #[test]
    fn templates_alone_mean_templates_only() {
        let limited = scope("templates=backup,reboot");
        assert!(limited.allows_template(Some("backup")) && !limited.allows_template(Some("halt")));
        assert!(!limited.allows_template(None));
        assert!(scope("*").allows_template(None) && scope("lines=17").allows_template(Some("halt")));
    }

    fn filter(sources: &[&str], units: &[&str]) -> Filter {
        let sources = if sources.is_empty() { Sources::default() } else { self::sources(sources).unwrap() };
        Filter { sources, units: units.iter().map(|unit| (*unit).to_owned()).collect(), ..Filter::default() }
    }

    #[test]
    fn a_filter_is_narrowed_where_it_leaves_the_choice_and_refused_where_it_goes_beyond() {
        let own = scope("units=a.service,b.service;sources=journal,file:x");
        let narrow = |sources: &[&str], units: &[&str]| own.narrow(filter(sources, units));
        let all = narrow(&[], &[]).unwrap();
        assert_eq!(
            (all.sources.words(), all.units),
            (vec!["journal".into()], vec!["a.service".into(), "b.service".into()])
        );
        assert_eq!(narrow(&["journal"], &["b.service"]).unwrap().units, ["b.service"]);
        assert!(narrow(&["file:x"], &[]).unwrap().units.is_empty(), "a file knows no units");
        assert_eq!(narrow(&["journal"], &["b.service", "c.service"]).unwrap_err(), "the unit c.service");
        assert_eq!(narrow(&["journal", "agent"], &[]).unwrap_err(), "the source agent");
        assert_eq!(narrow(&["file:y"], &[]).unwrap_err(), "the source file:y");
        assert_eq!(narrow(&["kernel"], &["a.service"]).unwrap_err(), "the source kernel");
        // only files: those are what there is to choose
        assert_eq!(scope("sources=file:x").narrow(filter(&[], &[])).unwrap().sources.words(), ["file:x"]);
        let free = Scope::UNLIMITED.narrow(filter(&[], &["c.service"])).unwrap();
        assert!(free.sources.is_empty() && free.units == ["c.service"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            _ = text.parse::<Scope>();
        }

        #[test]
        fn no_text_of_these_letters_panics(text in "(lines|units|sources|templates|=|,|;|\\*|17|a\\.service|journal|file:x){0,12}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse(), Ok(scope));
            }
        }
    }
}
