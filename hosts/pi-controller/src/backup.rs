//! Everything that a cluster needs to go on elsewhere, in one sealed file: the store as of one revision, the keys of the
//! roots, the configuration and the first operator's context.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control_lib::{Authority, Place};
use data_encoding::BASE64;
use mtls::FileError;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::keys::{KeyFileError, KeyFolder};
use crate::open::OpenClusterError;
use crate::passphrase::Passphrase;
use crate::sealed::{self, Purpose, SealError};
use crate::store::{CopyError, Store};

/// Of the content, not of the seal.
const VERSION: u32 = 1;
/// A larger file is not read into memory.
const MOST_BYTES: u64 = 1 << 30;
/// When the last backup was made, and of which roots.
const NOTE: &str = "last-backup.toml";

/// No backup was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The cluster cannot be taken up.
    #[error(transparent)]
    Open(#[from] OpenClusterError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is a file already.
    #[error("{0} exists: name another file")]
    Exists(String),
    /// The store could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A root's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Without it the backup would be worth nothing.
    #[error("the CA key is not in {0}: a backup without it could not issue; run pi-controller ca recover")]
    NoKey(String),
    /// The file could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It cannot be read back.
    #[error("the backup cannot be read back")]
    Unreadable(#[source] Box<serde_json::Error>),
    /// The copy of the store cannot be read.
    #[error("cannot read the copy of the store")]
    Read(#[source] std::io::Error),
}

/// What a backup holds, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    pub(crate) version: u32,
    pub(crate) cluster: String,
    pub(crate) revision: u64,
    /// Seconds since 1970.
    pub(crate) made_at: u64,
    /// `controller.toml`.
    pub(crate) config: String,
    /// The first operator's context, if it is still there.
    pub(crate) admin_context: Option<Secret>,
    /// The key of each root in base64 of PKCS #8, by the root's id.
    pub(crate) keys: BTreeMap<String, Secret>,
    /// The SQLite file in base64.
    pub(crate) database: String,
}

/// Erased from memory when dropped.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// What was backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// The cluster.
    pub cluster: String,
    /// The revision of its state.
    pub revision: u64,
}

/// Writes a backup to `out`, a file that does not exist, sealed by `passphrase`. The controller may run.
///
/// # Errors
///
/// [`BackupError`]; `out` is then not there.
pub fn backup(state: &Path, out: &Path, passphrase: &Passphrase) -> Result<BackedUp, BackupError> {
    if out.exists() {
        return Err(BackupError::Exists(out.display().to_string()));
    }
    let (contents, authority) = gather(state)?;
    let text = Zeroizing::new(serde_json::to_vec(&contents).map_err(unreadable)?);
    let sealed = sealed::seal(Purpose::Backup, &text, passphrase)?;
    // A backup that cannot be opened is worse than none: look now.
    let opened = sealed::open(Purpose::Backup, &sealed, passphrase)?;
    serde_json::from_slice::<Contents>(&opened).map_err(unreadable)?;
    mtls::write_private(out, &sealed)?;
    BackupNote::now(&authority).store(state)?;
    Ok(BackedUp { cluster: contents.cluster.clone(), revision: contents.revision })
}

fn unreadable(error: serde_json::Error) -> BackupError {
    BackupError::Unreadable(Box::new(error))
}

fn gather(state: &Path) -> Result<(Contents, Authority), BackupError> {
    // The roots and keys that are told are those of the copy, not of a moment before it.
    let copy = TemporaryFile(state.join("backup.db"));
    drop(fs::remove_file(&copy.0)); // of a backup that was cut short
    if !Config::database_of(state).exists() {
        return Err(OpenClusterError::NotInitialised(state.display().to_string()).into());
    }
    Store::open(&Config::database_of(state)).map_err(OpenClusterError::from)?.copy_to(&copy.0)?;
    let loaded = Store::open(&copy.0).map_err(OpenClusterError::from)?.load().map_err(OpenClusterError::from)?;
    let authority = loaded.authority.ok_or_else(|| OpenClusterError::NotInitialised(state.display().to_string()))?;
    let keys = keys(state, &authority)?;
    let text = |path: &Path| Ok::<_, FileError>(String::from_utf8_lossy(&mtls::read_private(path)?).into_owned());
    let contents = Contents {
        version: VERSION,
        cluster: authority.cluster().to_string(),
        revision: loaded.revision,
        made_at: since_1970(SystemTime::now()),
        config: text(&Config::path(state))?,
        admin_context: text(&Config::admin_context(state)).ok().map(Secret),
        keys,
        database: BASE64.encode(&fs::read(&copy.0).map_err(BackupError::Read)?),
    };
    Ok((contents, authority))
}

fn keys(state: &Path, authority: &Authority) -> Result<BTreeMap<String, Secret>, BackupError> {
    let folder = KeyFolder::of(state);
    let mut keys = BTreeMap::new();
    for root in authority.roots().filter(|root| root.place != Place::Recovery) {
        match folder.read(root.issuer.id())? {
            Some(key) => drop(keys.insert(root.issuer.id().to_string(), Secret(BASE64.encode(&key)))),
            None if root.place == Place::Signing => return Err(BackupError::NoKey(state.display().to_string())),
            // gone with the day on which it was lost
            None => {}
        }
    }
    Ok(keys)
}

/// Unseals a backup and looks at its version.
pub(crate) fn read(file: &Path, passphrase: &Passphrase) -> Result<Contents, ReadError> {
    let failed = |error| ReadError::File(file.to_owned(), error);
    let mut sealed = Vec::new();
    fs::File::open(file).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut sealed)).map_err(failed)?;
    let text =
        sealed::open(Purpose::Backup, &sealed, passphrase).map_err(|error| ReadError::Seal(file.to_owned(), error))?;
    let contents: Contents = serde_json::from_slice(&text).map_err(|error| ReadError::Contents(Box::new(error)))?;
    match contents.version {
        VERSION => Ok(contents),
        other => Err(ReadError::Version(other)),
    }
}

/// A backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// It cannot be unsealed.
    #[error("{}", .0.display())]
    Seal(PathBuf, #[source] SealError),
    /// What was sealed is something else.
    #[error("the backup holds something else than was expected")]
    Contents(#[source] Box<serde_json::Error>),
    /// A later release made it.
    #[error("use a later release: the backup has version {0}, this release knows {VERSION}")]
    Version(u32),
}

/// When the last backup was made and what it can bring back; a reminder, nothing depends on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BackupNote {
    /// Seconds since 1970.
    made_at: u64,
    /// The root that signed.
    signing: String,
}

impl BackupNote {
    fn now(authority: &Authority) -> Self {
        Self { made_at: since_1970(SystemTime::now()), signing: authority.signing().id().to_string() }
    }

    fn store(&self, state: &Path) -> Result<(), FileError> {
        // two plain fields always serialise
        mtls::write_private(&state.join(NOTE), toml::to_string(self).unwrap_or_default().as_bytes())
    }

    /// `None` if no backup was made.
    pub(crate) fn load(state: &Path) -> Option<Self> {
        toml::from_str(&String::from_utf8_lossy(&mtls::read_private(&state.join(NOTE)).ok()?)).ok()
    }

    pub(crate) fn made_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.made_at)
    }

    /// Whether it holds the key that signs now.
    pub(crate) fn covers(&self, authority: &Authority) -> bool {
        self.signing == authority.signing().id().to_string()
    }
}

/// Deleted when it is no longer needed, however that comes.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        for ending in ["db", "db-wal", "db-shm"] {
            drop(fs::remove_file(self.0.with_extension(ending)));
        }
    }
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
