//! A TOML file whose mistakes are told with file and line.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// A configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It says something that is not understood.
    #[error("{}, line {line}: {expected}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what was expected.
        expected: String,
    },
}

/// Reads `path` as a `T`. Make `T` refuse unknown fields, so that a typing mistake is told.
///
/// # Errors
///
/// If the file cannot be read, is no TOML, or does not fit `T`.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// The same for a text that was read already; `path` is only named in the error.
///
/// # Errors
///
/// If the text is no TOML, or does not fit `T`.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let expected = error.message().lines().collect::<Vec<_>>().join(", ");
        at(path, text, error.span().unwrap_or_default(), expected)
    })
}

/// An error about a value that is well-formed, but cannot be: `span` is where it stands (see `toml::Spanned`).
pub fn at(path: &Path, text: &str, span: Range<usize>, expected: impl fmt::Display) -> ConfigError {
    let before = text.get(..span.start).unwrap_or(text);
    ConfigError::Wrong { path: path.to_owned(), line: before.matches('\n').count() + 1, expected: expected.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[expect(dead_code, reason = "only parsed")]
        listen: std::net::SocketAddr,
    }

    fn told(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        load::<Example>(&path).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_is_told_with_file_line_and_what_was_expected() {
        let unknown = told("# a comment\n\nlistn = '127.0.0.1:1'\n");
        assert!(unknown.ends_with("agent.toml, line 3: unknown field `listn`, expected `listen`"), "{unknown}");
        let not_toml = told("listen = '127.0.0.1:1'\n=\n");
        assert!(not_toml.contains("agent.toml, line 2: "), "{not_toml}");
        let not_an_address = told("listen = 'here'\n");
        assert!(not_an_address.contains("line 1: invalid socket address"), "{not_an_address}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let told = load::<Example>(Path::new("/nowhere/agent.toml")).unwrap_err().to_string();
        assert_eq!(told, "cannot read the configuration /nowhere/agent.toml");
    }
}
