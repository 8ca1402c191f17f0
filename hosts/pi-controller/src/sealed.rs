//! Files that leave the machine: encrypted under a passphrase, and whole or refused.
//!
//! ```text
//! pi-controller <what> 1\n                       what: recovery-key or backup
//! memory u32 | passes u32 | lanes u32 | salt 16 bytes | length of the rest u64      (little endian)
//! ChaCha20-Poly1305 of the content
//! ```
//!
//! The key is Argon2id's of the passphrase and the salt; it is used once, so that the nonce is zero. The lines above the
//! ciphertext are authenticated with it.

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::passphrase::Passphrase;

const SALT_BYTES: usize = 16;
const NUMBERS_BYTES: usize = 3 * 4 + SALT_BYTES + 8;
/// RFC 9106, section 4: the second recommended choice, on one lane. In KiB, passes, lanes.
const FOR_PEOPLE: Cost = Cost { memory: 64 * 1024, passes: 3, lanes: 1 };
/// Nobody guesses 120 random bits.
const FOR_DRAWN: Cost = Cost { memory: 8 * 1024, passes: 1, lanes: 1 };
/// No file of ours asks for more; one that does is to use up the machine.
const MOST: Cost = Cost { memory: 1024 * 1024, passes: 16, lanes: 4 };

/// What a file is for: one kind is never taken for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    RecoveryKey,
    Backup,
}

impl Purpose {
    const fn magic(self) -> &'static str {
        match self {
            Self::RecoveryKey => "pi-controller recovery-key 1\n",
            Self::Backup => "pi-controller backup 1\n",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::RecoveryKey => "a recovery key",
            Self::Backup => "a backup",
        }
    }
}

#[derive(Clone, Copy)]
struct Cost {
    memory: u32,
    passes: u32,
    lanes: u32,
}

/// A file could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Something else, or of a later release.
    #[error("this is not {0} of pi-controller, or of a later release")]
    Form(&'static str),
    /// The end is missing.
    #[error("the file is cut off or has something behind its end: copy it again, whole")]
    Length,
    /// The passphrase is wrong, or a bit has changed.
    #[error("the passphrase is wrong, or the file is damaged")]
    Passphrase,
    /// No random bytes, or not enough memory for Argon2.
    #[error("no key can be made of the passphrase: see that 64 MiB of memory are free")]
    Key,
}

/// Encrypts `content`.
pub(crate) fn seal(purpose: Purpose, content: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, SealError> {
    let cost = if passphrase.is_drawn { FOR_DRAWN } else { FOR_PEOPLE };
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| SealError::Key)?;
    let length = (content.len() + CHACHA20_POLY1305.tag_len()) as u64;
    let mut sealed = purpose.magic().as_bytes().to_vec();
    for number in [cost.memory, cost.passes, cost.lanes] {
        sealed.extend(number.to_le_bytes());
    }
    sealed.extend(salt);
    sealed.extend(length.to_le_bytes());
    let key = key(passphrase, cost, &salt)?;
    let mut body = content.to_vec(); // is encrypted where it stands
    let tag = key.seal_in_place_separate_tag(nonce(), Aad::from(&sealed), &mut body).map_err(|_| SealError::Key)?;
    sealed.extend(body);
    sealed.extend(tag.as_ref());
    Ok(sealed)
}

/// Decrypts what [`seal`] made.
pub(crate) fn open(purpose: Purpose, sealed: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let rest = sealed.strip_prefix(purpose.magic().as_bytes()).ok_or(SealError::Form(purpose.name()))?;
    let (numbers, body) = rest.split_at_checked(NUMBERS_BYTES).ok_or(SealError::Length)?;
    let (costs, numbers) = numbers.split_at(12);
    let (salt, length) = numbers.split_at(SALT_BYTES);
    if u64_of(length) != body.len() as u64 {
        return Err(SealError::Length);
    }
    let cost = Cost { memory: u32_of(&costs[..4]), passes: u32_of(&costs[4..8]), lanes: u32_of(&costs[8..]) };
    if cost.memory > MOST.memory || cost.passes > MOST.passes || cost.lanes > MOST.lanes {
        return Err(SealError::Form(purpose.name()));
    }
    let key = key(passphrase, cost, salt)?;
    let mut content = Zeroizing::new(body.to_vec());
    let head = &sealed[..sealed.len() - body.len()];
    let length = key.open_in_place(nonce(), Aad::from(head), &mut content).map_err(|_| SealError::Passphrase)?.len();
    content.truncate(length);
    Ok(content)
}

fn key(passphrase: &Passphrase, cost: Cost, salt: &[u8]) -> Result<LessSafeKey, SealError> {
    let params =
        Params::new(cost.memory, cost.passes, cost.lanes, None).map_err(|_| SealError::Form("a sealed file"))?;
    let mut bytes = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose().as_bytes(), salt, bytes.as_mut())
        .map_err(|_| SealError::Key)?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, bytes.as_ref()).map_err(|_| SealError::Key)?;
    Ok(LessSafeKey::new(key))
}

/// A key seals one file: each has a salt of its own.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn u32_of(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u64_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> (Vec<u8>, Passphrase) {
        let passphrase = Passphrase::draw().unwrap();
        (seal(Purpose::Backup, b"the content", &passphrase).unwrap(), passphrase)
    }

    #[test]
    fn content_comes_back() {
        let (sealed, passphrase) = sealed();
        assert_eq!(**open(Purpose::Backup, &sealed, &passphrase).unwrap(), *b"the content");
        assert!(!sealed.windows(7).any(|window| window == b"content"));
    }

    #[test]
    fn no_two_files_have_a_key_in_common() {
        let (one, passphrase) = sealed();
        let two = seal(Purpose::Backup, b"the content", &passphrase).unwrap();
        let start = Purpose::Backup.magic().len() + 12;
        assert_ne!(one[start..], two[start..]);
    }

    #[test]
    fn another_passphrase_or_purpose_is_refused() {
        let (sealed, passphrase) = sealed();
        let other = Passphrase::draw().unwrap();
        assert!(matches!(open(Purpose::Backup, &sealed, &other), Err(SealError::Passphrase)));
        assert!(matches!(open(Purpose::RecoveryKey, &sealed, &passphrase), Err(SealError::Form("a recovery key"))));
    }

    #[test]
    fn a_file_that_is_cut_anywhere_or_longer_is_refused() {
        let (sealed, passphrase) = sealed();
        let refused = |bytes: &[u8]| open(Purpose::Backup, bytes, &passphrase).unwrap_err();
        for end in 0..sealed.len() {
            assert!(matches!(refused(&sealed[..end]), SealError::Length | SealError::Form(_)), "{end}");
        }
        assert!(matches!(refused(&[&sealed[..], b"x"].concat()), SealError::Length));
    }

    /// Also in the lines before the ciphertext: the costs and the salt make another key.
    #[test]
    fn one_changed_bit_is_refused() {
        let (sealed, passphrase) = sealed();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(Purpose::Backup, &changed, &passphrase).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_file_that_asks_for_too_much_memory_is_refused_before_it_is_taken() {
        let (mut sealed, passphrase) = sealed();
        let costs = Purpose::Backup.magic().len();
        sealed[costs..costs + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(open(Purpose::Backup, &sealed, &passphrase), Err(SealError::Form(_))));
    }
}
