//! Where a join token is read from: a file, standard input or a credential of systemd. Never the command line or the
//! environment, which other processes can see.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mtls::{FileError, JoinToken, TokenError};
use zeroize::Zeroizing;

/// Name of the credential: `LoadCredential=join-token:/path`.
const CREDENTIAL: &str = "join-token";
/// A token has less.
const MAXIMUM_BYTES: u64 = 4096;

/// Where the token is.
#[derive(Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A file that is ours to delete; mode 0600.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// A file that the service manager gave us, and takes away with the service.
    Credential(PathBuf),
}

/// There is no token to be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenSourceError {
    /// No argument, and no credential.
    #[error(
        "name a file with the join token, or - for standard input, or have systemd load the credential {CREDENTIAL}"
    )]
    None,
    /// The argument is the token itself. Not shown again.
    #[error(
        "put the join token into a file of mode 0600, or pipe it in: on the command line others have seen it, so have it \
         revoked (pictl token revoke) and ask for a new one"
    )]
    Argument,
    /// The file cannot be read, or is open to others.
    #[error(transparent)]
    File(#[from] FileError),
    /// Standard input or the credential cannot be read, or the file cannot be deleted.
    #[error("cannot {verb} the join token")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was read is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl TokenSource {
    /// The source that `argument` names; without one the credential in the folder `credentials`, which is what systemd
    /// says in `$CREDENTIALS_DIRECTORY`.
    ///
    /// # Errors
    ///
    /// If there is neither, or the argument is a token.
    pub fn find(argument: Option<PathBuf>, credentials: Option<PathBuf>) -> Result<Self, TokenSourceError> {
        match (argument, credentials) {
            (Some(argument), _) if argument == Path::new("-") => Ok(Self::Stdin),
            (Some(argument), _) if is_token(&argument) => Err(TokenSourceError::Argument),
            (Some(file), _) => Ok(Self::File(file)),
            (None, Some(folder)) => Ok(Self::Credential(folder.join(CREDENTIAL))),
            (None, None) => Err(TokenSourceError::None),
        }
    }

    /// Reads the token.
    ///
    /// # Errors
    ///
    /// [`TokenSourceError`]; none of them shows what was read.
    pub fn read(&self) -> Result<JoinToken, TokenSourceError> {
        let failed = |source| TokenSourceError::Io { verb: "read", source };
        let bytes = Zeroizing::new(match self {
            Self::File(file) => mtls::read_private(file)?,
            Self::Stdin => read(io::stdin()).map_err(failed)?,
            // not `read_private`: systemd lets the service's user in by an access list, whose mask looks like a group's
            // rights; the folder above is the service's alone
            Self::Credential(file) => File::open(file).and_then(read).map_err(failed)?,
        });
        Ok(String::from_utf8_lossy(&bytes).parse()?)
    }

    /// Deletes what is ours to delete, once the token is of no more use.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn delete(&self) -> Result<(), TokenSourceError> {
        match self {
            Self::File(file) => {
                std::fs::remove_file(file).map_err(|source| TokenSourceError::Io { verb: "delete", source })
            }
            Self::Stdin | Self::Credential(_) => Ok(()),
        }
    }
}

fn is_token(argument: &Path) -> bool {
    argument.to_string_lossy().trim_start().starts_with("pijoin1.")
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(MAXIMUM_BYTES as usize); // never moved, so that no copy stays behind
    from.take(MAXIMUM_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn token() -> JoinToken {
        JoinToken::new("lab", [1; 32], "abc234", Zeroizing::new([5; 32])).unwrap()
    }

    #[test]
    fn a_file_is_read_if_it_is_private_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("join.token");
        fs::write(&file, &*token().to_text()).unwrap();
        let source = TokenSource::find(Some(file.clone()), None).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let loose = source.read().unwrap_err().to_string();
        assert!(loose.contains("can be read by others (mode 0644)"), "{loose}");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(source.read().unwrap().id(), "abc234");
        source.delete().unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn a_credential_of_systemd_is_read_and_left_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("join-token");
        fs::write(&file, &*token().to_text()).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o440)).unwrap();
        let source = TokenSource::find(None, Some(folder.path().to_owned())).unwrap();
        assert_eq!(source.read().unwrap().id(), "abc234");
        source.delete().unwrap();
        assert!(file.exists());
    }

    #[test]
    fn a_token_on_the_command_line_is_refused_and_not_shown() {
        let text = token().to_text();
        let refused = TokenSource::find(Some(PathBuf::from(text.as_str())), None).unwrap_err();
        assert!(matches!(refused, TokenSourceError::Argument));
        let seed = text.split('.').nth(4).unwrap();
        assert!(!refused.to_string().contains(seed) && !format!("{refused:?}").contains(seed));
        assert_eq!(TokenSource::find(Some("-".into()), None).unwrap(), TokenSource::Stdin);
        assert!(matches!(TokenSource::find(None, None), Err(TokenSourceError::None)));
    }
}
