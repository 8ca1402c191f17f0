//! Text that came from elsewhere and is safe to keep, to log and to show.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

/// Why a text was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// More than [`Text::MAX_BYTES`] bytes.
    #[error("give at most 256 bytes, not {0}")]
    TooLong(usize),
    /// A control character, which could forge a log line or drive a terminal.
    #[error("remove the control character {0:?}")]
    Control(char),
}

/// At most 256 bytes without control characters. May be empty: not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<str>);

impl Text {
    /// The most bytes a text can have.
    pub const MAX_BYTES: usize = 256;

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Text {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Text, TextError> {
        if text.len() > Text::MAX_BYTES {
            return Err(TextError::TooLong(text.len()));
        }
        match text.chars().find(|c| c.is_control()) {
            Some(control) => Err(TextError::Control(control)),
            None => Ok(Text(text.into())),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
