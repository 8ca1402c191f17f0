//! What a node says about itself for others to select it by.

use std::collections::BTreeMap;

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

    /// Key and value of each label, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn check(key: &str, value: &str) -> Result<(Text, Text), LabelsError> {
    if key.is_empty() || key.contains(['=', ',']) {
        return Err(LabelsError::Key(key.chars().take(64).collect()));
    }
    let text = |text: &str| text.parse().map_err(|error| LabelsError::Text(key.chars().take(64).collect(), error));
    Ok((text(key)?, text(value)?))
}
