//! How far a role reaches: which nodes, and what on them.

use std::collections::BTreeSet;
use std::fmt;

use crate::labels::Labels;
use crate::permission::Role;
use crate::selector::Selector;

/// Why something is no part of a [`Scope`], or not of that role's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A list without a word would say nothing or everything, depending on who reads it.
    #[error("name at least one of the {0}, or leave {0} out for no limit")]
    Empty(&'static str),
    /// More than [`Names::MAX`] words.
    #[error("name at most 64 {0}, not {1}")]
    TooMany(&'static str, usize),
    /// A word that no line, unit, source or template is called by.
    #[error("correct {word:?}: {expected}")]
    Word {
        /// The word, cut after 64 characters.
        word: String,
        /// What would have been one.
        expected: &'static str,
    },
    /// The limit says nothing about this role.
    #[error("leave {limit} out: the role {role} is not limited by them")]
    NotOfRole {
        /// `lines`, `units`, `sources` or `templates`.
        limit: &'static str,
        /// The role.
        role: Role,
    },
    /// All limits of an operator together do not fit into one call to a node.
    #[error("give shorter or fewer names: the limits take {0} bytes, at most 2048 are possible")]
    TooLong(usize),
}

const LINE: &str = "a line is a number (17), a name (GPIO17, J8:11) or an alias of the node";
const UNIT: &str = "a unit is written in full, such as nginx.service";
const SOURCE: &str = "a source is journal, kernel, agent or file:NAME";
const TEMPLATE: &str = "a template's name has letters, digits and - _ . :";

/// Up to 64 names of one sort, each once, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(BTreeSet<Box<str>>);

impl Names {
    /// The most names.
    pub const MAX: usize = 64;

    /// Lines: numbers and `GPIO17` are the same and kept as numbers; pins of the header and aliases stay as they are,
    /// the node knows what they mean.
    pub fn lines<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Result<Names, ScopeError> {
        Names::new("lines", LINE, names, line)
    }

    /// Units, in full: `nginx.service`.
    pub fn units<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Result<Names, ScopeError> {
        Names::new("units", UNIT, names, |name| {
            let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.@\\".contains(&byte);
            let is_whole = name.rsplit_once('.').is_some_and(|(name, suffix)| !name.is_empty() && !suffix.is_empty());
            (is_whole && name.len() <= 255 && name.bytes().all(is_of_name)).then(|| name.to_owned())
        })
    }

    /// Sources of logs: `journal`, `kernel`, `agent`, `file:NAME`.
    pub fn sources<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Result<Names, ScopeError> {
        Names::new("sources", SOURCE, names, |name| {
            let is_of_file = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
            let is_file = |file: &str| (1..=32).contains(&file.len()) && file.bytes().all(is_of_file);
            let known =
                matches!(name, "journal" | "kernel" | "agent") || name.strip_prefix("file:").is_some_and(is_file);
            known.then(|| name.to_owned())
        })
    }

    /// Command templates by their names in the nodes' configuration.
    pub fn templates<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Result<Names, ScopeError> {
        Names::new("templates", TEMPLATE, names, |name| is_word(name).then(|| name.to_owned()))
    }

    fn new<T: AsRef<str>>(
        what: &'static str,
        expected: &'static str,
        names: impl IntoIterator<Item = T>,
        check: fn(&str) -> Option<String>,
    ) -> Result<Names, ScopeError> {
        let wrong = |name: &str| ScopeError::Word { word: name.chars().take(64).collect(), expected };
        let checked = names.into_iter().map(|name| {
            let name = name.as_ref();
            check(name).map(String::into_boxed_str).ok_or_else(|| wrong(name))
        });
        let names = checked.collect::<Result<BTreeSet<_>, _>>()?;
        match names.len() {
            0 => Err(ScopeError::Empty(what)),
            1..=Names::MAX => Ok(Names(names)),
            many => Err(ScopeError::TooMany(what, many)),
        }
    }

    /// The names in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// Whether every name is one of `other` as well.
    pub fn within(&self, other: &Names) -> bool {
        self.0.is_subset(&other.0)
    }
}

/// Names with commas in between.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}

fn is_word(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_of_name)
}

fn line(name: &str) -> Option<String> {
    let digits = match name.split_at_checked(4) {
        Some((gpio, digits)) if gpio.eq_ignore_ascii_case("GPIO") => digits,
        _ => name,
    };
    match digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
        true => digits.parse::<u16>().ok().map(|number| number.to_string()),
        false => is_word(name).then(|| name.to_owned()),
    }
}

/// How far a role reaches. `None` is no limit; whatever is limited is limited to what is named.
///
/// A unit has its entries in the journal, so that whoever is limited to units reads the journal and nothing else,
/// unless sources are named as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The nodes.
    pub nodes: Option<Selector>,
    /// The lines; for [`Role::Gpio`]. Buses have lines of their own, and whoever is limited to lines has no bus.
    pub lines: Option<Names>,
    /// The units whose entries in the journal may be read; for [`Role::Logs`].
    pub units: Option<Names>,
    /// The sources that may be read; for [`Role::Logs`].
    pub sources: Option<Names>,
    /// The command templates; for [`Role::Exec`]. Whoever is limited to templates runs nothing else.
    pub templates: Option<Names>,
}

impl Scope {
    /// No limit at all.
    pub const UNLIMITED: Scope = Scope { nodes: None, lines: None, units: None, sources: None, templates: None };
    /// The most bytes that the limits of one operator take in a call to a node.
    pub const MAX_BYTES: usize = 2048;

    /// The scope as it is kept for `role`: every limit says something about the role, and units alone mean the journal.
    pub fn of_role(self, role: Role) -> Result<Scope, ScopeError> {
        let only = |limit, names: &Option<Names>, of: Role| match names {
            Some(_) if role != of => Err(ScopeError::NotOfRole { limit, role }),
            _ => Ok(()),
        };
        only("lines", &self.lines, Role::Gpio)?;
        only("units", &self.units, Role::Logs)?;
        only("sources", &self.sources, Role::Logs)?;
        only("templates", &self.templates, Role::Exec)?;
        let sources = match (&self.units, self.sources) {
            (Some(_), None) => Some(Names::sources(["journal"])?),
            (_, sources) => sources,
        };
        Ok(Scope { sources, ..self })
    }

    /// Whether a node with these labels is in reach.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.selects(labels))
    }

    /// Whether all that this reaches is reached by `other` as well. Names are compared as names: an alias is not the
    /// number that it stands for on some node.
    pub fn within(&self, other: &Scope) -> bool {
        let Scope { nodes, lines, units, sources, templates } = self;
        within(nodes, &other.nodes, Selector::within)
            && within(lines, &other.lines, Names::within)
            && within(units, &other.units, Names::within)
            && within(sources, &other.sources, Names::within)
            && within(templates, &other.templates, Names::within)
    }
}

fn within<T>(this: &Option<T>, other: &Option<T>, part: fn(&T, &T) -> bool) -> bool {
    match (this, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(this), Some(other)) => part(this, other),
    }
}

/// What is limited on the nodes, as a call tells them: `lines=17,27;templates=backup`, or `*` for no limit.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { nodes: _, lines, units, sources, templates } = self;
        let limits = [("lines", lines), ("units", units), ("sources", sources), ("templates", templates)];
        let mut separator = "";
        for (limit, names) in limits {
            if let Some(names) = names {
                write!(f, "{separator}{limit}={names}")?;
                separator = ";";
            }
        }
        if separator.is_empty() { f.write_str("*") } else { Ok(()) }
    }
}
