//! What a node is selected by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::text::{Text, TextError};

/// Why a set of labels was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// More than [`Labels::MAX`] labels.
    #[error("give at most 64 labels, not {0}")]
    TooMany(usize),
    /// A key that is empty or contains `=` or `,`, with which a selector could not be written.
    #[error("give the label {0:?} a key without '=' and ','")]
    Key(String),
    /// A key or a value that is no [`Text`].
    #[error("correct the label {0:?}")]
    Text(String, #[source] TextError),
}

/// Up to 64 labels, ordered by key. Keys are not empty; a value may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<Text, Text>);

impl Labels {
    /// The most labels a node can have.
    pub const MAX: usize = 64;

    /// Checks `pairs`; of two pairs with one key the later stands.
    pub fn new<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Labels, LabelsError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let checked = pairs.into_iter().map(|(key, value)| check(key.as_ref(), value.as_ref()));
        let labels = checked.collect::<Result<BTreeMap<_, _>, _>>()?;
        if labels.len() > Labels::MAX {
            return Err(LabelsError::TooMany(labels.len()));
        }
        Ok(Labels(labels))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These labels and those of `below` whose key is not among these.
    ///
    /// # Errors
    ///
    /// [`LabelsError::TooMany`].
    pub fn over(&self, below: &Labels) -> Result<Labels, LabelsError> {
        let mut both = below.0.clone();
        both.extend(self.0.clone());
        if both.len() > Labels::MAX { Err(LabelsError::TooMany(both.len())) } else { Ok(Labels(both)) }
    }

    /// These labels and, up to [`Labels::MAX`], those of `own` whose key is not among these.
    pub(crate) fn and_as_many_of(&self, own: &Labels) -> Labels {
        let mut all = self.0.clone();
        for (key, value) in &own.0 {
            if all.len() < Labels::MAX {
                all.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        Labels(all)
    }

    /// These labels without those that `others` has just so.
    pub(crate) fn without(&self, others: &Labels) -> Labels {
        Labels(self.0.iter().filter(|(key, value)| others.0.get(*key) != Some(value)).map(cloned).collect())
    }

    pub(crate) fn without_keys(&self, keys: &BTreeSet<Text>) -> Labels {
        Labels(self.0.iter().filter(|(key, _)| !keys.contains(*key)).map(cloned).collect())
    }

    /// Key and value of each label, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn cloned((key, value): (&Text, &Text)) -> (Text, Text) {
    (key.clone(), value.clone())
}

/// `key=value, key=value`, or `none`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<_> = self.iter().map(|(key, value)| format!("{key}={value}")).collect();
        f.write_str(if pairs.is_empty() { "none" } else { "" })?;
        f.write_str(&pairs.join(", "))
    }
}

fn check(key: &str, value: &str) -> Result<(Text, Text), LabelsError> {
    if key.is_empty() || key.contains(['=', ',']) {
        return Err(LabelsError::Key(key.chars().take(64).collect()));
    }
    let text = |text: &str| text.parse().map_err(|error| LabelsError::Text(key.chars().take(64).collect(), error));
    Ok((text(key)?, text(value)?))
}
