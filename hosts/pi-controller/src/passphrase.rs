//! What protects a file that leaves the machine. From a file or a terminal, never from the command line.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;

use data_encoding::BASE32_NOPAD;
use mtls::FileError;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// The shortest that a person may choose.
const LEAST_CHARACTERS: usize = 12;
/// Of a drawn passphrase: 120 bits in 24 characters.
const DRAWN_BYTES: usize = 15;

/// A passphrase. Erased from memory when dropped; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Passphrase {
    text: Zeroizing<String>,
    /// Nobody can guess it, so that guessing need not be made slow.
    pub(crate) is_drawn: bool,
}

/// There is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Too easily guessed.
    #[error("choose a passphrase of at least {LEAST_CHARACTERS} characters, in one line")]
    Short,
    /// There is nobody to ask.
    #[error("name a file that holds the passphrase with --passphrase-file: this is no terminal")]
    NoTerminal,
    /// The two answers differ.
    #[error("the two passphrases differ: try again")]
    Differ,
    /// The terminal failed.
    #[error("cannot ask for the passphrase")]
    Terminal(#[source] io::Error),
    /// No random bytes.
    #[error("no random bytes for a passphrase")]
    Random,
}

impl Passphrase {
    /// Draws one of 120 bits: six groups of four letters and digits.
    ///
    /// # Errors
    ///
    /// [`PassphraseError::Random`].
    pub fn draw() -> Result<Self, PassphraseError> {
        let mut bytes = Zeroizing::new([0; DRAWN_BYTES]);
        SystemRandom::new().fill(bytes.as_mut()).map_err(|_| PassphraseError::Random)?;
        let letters = Zeroizing::new(BASE32_NOPAD.encode(bytes.as_ref()).to_ascii_lowercase());
        let mut text = Zeroizing::new(String::with_capacity(letters.len() + letters.len() / 4));
        for (at, letter) in letters.char_indices() {
            if at > 0 && at % 4 == 0 {
                text.push('-');
            }
            text.push(letter);
        }
        Ok(Self { text, is_drawn: true })
    }

    /// The one line of a file that only its owner may read.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is too short.
    pub fn read(path: &Path) -> Result<Self, PassphraseError> {
        let bytes = Zeroizing::new(mtls::read_private(path)?);
        let text = std::str::from_utf8(&bytes).map_err(|_| PassphraseError::Short)?;
        Self::chosen(text.trim_end_matches(['\r', '\n']))
    }

    /// Asks on the terminal, without showing what is typed; twice if it is a new one.
    ///
    /// # Errors
    ///
    /// If there is no terminal, the passphrase is too short, or the two answers differ.
    pub fn ask(what: &str, is_new: bool) -> Result<Self, PassphraseError> {
        if !io::stdin().is_terminal() {
            return Err(PassphraseError::NoTerminal);
        }
        let ask = |what| rpassword::prompt_password(what).map(Zeroizing::new).map_err(PassphraseError::Terminal);
        let first = ask(format!("Passphrase of {what}: "))?;
        if is_new && *ask("The same again: ".to_owned())? != *first {
            return Err(PassphraseError::Differ);
        }
        Self::chosen(&first)
    }

    fn chosen(text: &str) -> Result<Self, PassphraseError> {
        let fits = text.chars().count() >= LEAST_CHARACTERS && !text.contains('\n');
        let passphrase = Self { text: Zeroizing::new(text.to_owned()), is_drawn: false };
        fits.then_some(passphrase).ok_or(PassphraseError::Short)
    }

    /// The secret itself: to be shown to a person once, or to make a key of.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_one_has_120_bits_and_is_another_each_time() {
        let (one, two) = (Passphrase::draw().unwrap(), Passphrase::draw().unwrap());
        assert_eq!(one.expose().split('-').map(str::len).collect::<Vec<_>>(), [4; 6]);
        assert_ne!(one.expose(), two.expose());
        assert_eq!(format!("{one:?}"), "Passphrase(..)");
    }

    #[test]
    fn a_file_holds_one_line_of_twelve_characters_at_least() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        let read = |text: &str| {
            mtls::write_private(&path, text.as_bytes()).unwrap();
            Passphrase::read(&path)
        };
        assert_eq!(read("correct horse\n").unwrap().expose(), "correct horse");
        assert!(matches!(read("short\n"), Err(PassphraseError::Short)));
        assert!(matches!(read("correct horse\nbattery staple\n"), Err(PassphraseError::Short)));
    }
}
