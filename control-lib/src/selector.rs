//! Which nodes, by their labels.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::labels::Labels;
use crate::text::{Text, TextError};

/// Why a text is no [`Selector`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// It asks for nothing, which could be taken for everything.
    #[error("name at least one label, such as room=lab, or give no selector at all")]
    Empty,
    /// More than [`Selector::MAX`] labels.
    #[error("ask for at most 8 labels, not {0}")]
    TooMany(usize),
    /// A part without `=`, without a key, or with a comma in it.
    #[error("write key=value, not {0:?}")]
    Form(String),
    /// One key with two values: no node has both.
    #[error("ask for one value of {0:?}, not two")]
    Twice(String),
    /// A key or a value that no label has.
    #[error("correct the label {0:?}")]
    Text(String, #[source] TextError),
}

/// Nodes that have all of these labels, written `rack=2,room=lab`. One label at least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector(BTreeMap<Text, Text>);

impl Selector {
    /// The most labels that a selector asks for.
    pub const MAX: usize = 8;

    /// Checks `pairs`.
    pub fn new<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Selector, SelectorError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut labels = BTreeMap::new();
        for (key, value) in pairs {
            let (key, value) = pair(key.as_ref(), value.as_ref())?;
            if let Some(other) = labels.insert(key.clone(), value.clone())
                && other != value
            {
                return Err(SelectorError::Twice(key.to_string()));
            }
        }
        match labels.len() {
            0 => Err(SelectorError::Empty),
            1..=Selector::MAX => Ok(Selector(labels)),
            many => Err(SelectorError::TooMany(many)),
        }
    }

    /// Whether a node with these labels is meant.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Whether every node that this selects is selected by `other` as well, whatever labels there are: this asks for
    /// all that `other` asks for.
    pub fn within(&self, other: &Selector) -> bool {
        other.0.iter().all(|(key, value)| self.0.get(key) == Some(value))
    }

    /// Key and value of each label, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn pair(key: &str, value: &str) -> Result<(Text, Text), SelectorError> {
    let shown = || format!("{key}={value}").chars().take(64).collect::<String>();
    if key.is_empty() || key.contains(['=', ',']) || value.contains(',') {
        return Err(SelectorError::Form(shown()));
    }
    let text = |text: &str| text.parse().map_err(|error| SelectorError::Text(shown(), error));
    Ok((text(key)?, text(value)?))
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Selector, SelectorError> {
        let form = |part: &str| SelectorError::Form(part.chars().take(64).collect());
        let pairs = text.split(',').map(|part| part.split_once('=').ok_or_else(|| form(part)));
        Selector::new(pairs.collect::<Result<Vec<_>, _>>()?)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{key}={value}")?;
        }
        Ok(())
    }
}
