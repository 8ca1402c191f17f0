//! The private keys of the roots: a folder with one file each, which only its owner may read.
//!
//! The store says which roots there are; a key is written before its root is committed and deleted after its root is
//! gone. A crash in between leaves a key of no root, which is told at the next start and touched by nobody.

use std::fs;
use std::path::{Path, PathBuf};

use control_lib::{Authority, Issuer, OpenCaError, Place, RootId};
use mtls::{FileError, PemError};
use zeroize::Zeroizing;

const FOLDER: &str = "ca";
const ENDING: &str = ".key.pem";

/// The folder of one controller.
#[derive(Clone, Debug)]
pub(crate) struct KeyFolder(PathBuf);

/// A root's key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds something else.
    #[error("{0} is damaged: restore it from a backup")]
    Pem(String, #[source] PemError),
    /// No key in it.
    #[error("{0} holds no key: restore it from a backup")]
    Empty(String),
    /// The key is not that of its root.
    #[error(transparent)]
    Key(#[from] OpenCaError),
}

impl KeyFolder {
    pub(crate) fn of(state: &Path) -> Self {
        Self(state.join(FOLDER))
    }

    fn file(&self, root: RootId) -> PathBuf {
        self.0.join(format!("{root}{ENDING}"))
    }

    /// Writes the key, if there is one.
    pub(crate) fn store(&self, issuer: &Issuer) -> Result<(), FileError> {
        mtls::create_private_dir(&self.0)?;
        let Some(key) = issuer.key() else { return Ok(()) };
        let pem = Zeroizing::new(mtls::write_pem("PRIVATE KEY", key.expose()));
        mtls::write_private(&self.file(issuer.id()), pem.as_bytes())
    }

    /// Whether the key's file is there.
    pub(crate) fn has(&self, root: RootId) -> bool {
        self.file(root).exists()
    }

    /// The key in PKCS #8, if its file is there.
    pub(crate) fn read(&self, root: RootId) -> Result<Option<Zeroizing<Vec<u8>>>, KeyFileError> {
        let file = self.file(root);
        let text = match mtls::read_private(&file) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let place = || file.display().to_string();
        let pem = mtls::parse_pem(&text).map_err(|error| KeyFileError::Pem(place(), error))?;
        let key = pem.key.ok_or_else(|| KeyFileError::Empty(place()))?;
        Ok(Some(Zeroizing::new(key.secret_der().to_vec())))
    }

    /// The authority with every key that is here.
    pub(crate) fn unlock(&self, authority: Authority) -> Result<Authority, KeyFileError> {
        authority.with_keys(|issuer| self.read(issuer.id()))
    }

    /// Deletes the keys of the roots that `after` no longer has.
    pub(crate) fn remove_gone(&self, before: &Authority, after: &Authority) {
        let stays = |root: RootId| after.roots().any(|other| other.issuer.id() == root);
        for root in before.roots().filter(|root| root.place != Place::Recovery).map(|root| root.issuer.id()) {
            if !stays(root) {
                self.remove(root);
            }
        }
    }

    /// Deletes a key, if it is there.
    pub(crate) fn remove(&self, root: RootId) {
        match fs::remove_file(self.file(root)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = %self.file(root).display(), "cannot delete the key of a root that is gone");
            }
            _ => {}
        }
    }

    /// Files that are the key of no root of `authority`.
    pub(crate) fn strays(&self, authority: &Authority) -> Vec<PathBuf> {
        let ours: Vec<_> = authority.roots().map(|root| self.file(root.issuer.id())).collect();
        let files = fs::read_dir(&self.0).into_iter().flatten().flatten().map(|entry| entry.path());
        files.filter(|file| !ours.contains(file)).collect()
    }
}
