//! Names as the kernel gives them: short, inline, no allocation.

use core::fmt;
use core::ops::Deref;

/// A name of at most [`Label::CAPACITY`] bytes, kept inline.
///
/// The size is the kernel's: `struct gpiochip_info` and `struct gpio_v2_line_info` (`include/uapi/linux/gpio.h`) keep
/// names in `char[32]` with a terminating NUL. Longer text is cut at a character boundary. An empty label is "no name".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    bytes: [u8; Self::CAPACITY],
    len: u8,
}

impl Label {
    /// The longest label in bytes: the kernel's 32 less the NUL.
    pub const CAPACITY: usize = 31;

    /// The first [`Label::CAPACITY`] bytes of `text`, less the last character where it would be cut in two.
    pub fn new(text: &str) -> Self {
        let whole = |end: &usize| text.is_char_boundary(*end);
        let end = (0..=text.len().min(Self::CAPACITY)).rev().find(whole).unwrap_or_default();
        let kept = &text.as_bytes()[..end];
        let mut bytes = [0; Self::CAPACITY];
        bytes[..kept.len()].copy_from_slice(kept);
        let len = kept.len() as u8; // at most CAPACITY
        Self { bytes, len }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Only `new` fills the bytes, and only with whole characters.
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl Deref for Label {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn keeps_what_fits() {
        assert_eq!(&*Label::new("pinctrl-rp1"), "pinctrl-rp1");
        assert!(Label::default().is_empty());
        assert_eq!(Label::new(&"x".repeat(31)).len(), 31);
    }

    #[test]
    fn cuts_between_characters() {
        // 30 bytes and then a character of two: the whole character goes.
        let label = Label::new(&std::format!("{}é", "x".repeat(30)));
        assert_eq!(label.len(), 30);
        assert_eq!(Label::new(&"x".repeat(40)).len(), 31);
    }
}
