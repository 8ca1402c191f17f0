//! Who holds a line.

use alloc::string::String;
use core::fmt;

/// Who holds a line, such as `operator/anna`: the host makes it from the caller's certificate.
///
/// Two calls with the same holder are the same person to the agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(String);

/// Why a text is no holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HolderError {
    /// It is empty.
    #[error("the holder is empty; name who is asking")]
    Empty,
    /// It holds a control character, which would garble logs and terminals.
    #[error("the holder holds a control character; use printable text")]
    ControlCharacter,
}

impl Holder {
    /// The holder of this name.
    ///
    /// # Errors
    ///
    /// If the name is empty or holds a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, HolderError> {
        let name = name.into();
        if name.is_empty() {
            return Err(HolderError::Empty);
        }
        if name.contains(char::is_control) {
            return Err(HolderError::ControlCharacter);
        }
        Ok(Self(name))
    }

    /// The agent itself, for one of its own purposes.
    pub(crate) fn house(name: &'static str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_holder_has_a_printable_name() {
        assert_eq!(Holder::new("operator/anna").unwrap().to_string(), "operator/anna");
        assert_eq!(Holder::new(""), Err(HolderError::Empty));
        assert_eq!(Holder::new("anna\n"), Err(HolderError::ControlCharacter));
    }
}
