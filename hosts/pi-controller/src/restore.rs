//! From a backup to a state folder. Everything is built and checked beside the place where it is to stand, and put there
//! by one rename: a restore that fails leaves what was there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use control_lib::{ClusterId, Decision};
use data_encoding::{BASE64, DecodeError};
use mtls::FileError;
use zeroize::Zeroizing;

use crate::backup::{self, Contents, ReadError};
use crate::config::Config;
use crate::open::{self, Lock, OpenClusterError};
use crate::passphrase::Passphrase;
use crate::store::{CommitError, Store};

/// Nothing was restored, and nothing overwritten.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The folder holds another cluster.
    #[error("{folder} holds cluster {there}, the backup is of {backup}: choose another folder")]
    OtherCluster {
        /// The state folder.
        folder: String,
        /// Whose state is there.
        there: String,
        /// Whose state the backup has.
        backup: String,
    },
    /// The folder holds this cluster.
    #[error("{0} holds this cluster already: with --replace it is set aside")]
    Exists(String),
    /// The folder holds something else.
    #[error("{0} holds other files: choose an empty folder")]
    NotEmpty(String),
    /// The state that is there, or the restored one, cannot be taken up.
    #[error(transparent)]
    Open(#[from] OpenClusterError),
    /// The configuration in the backup is damaged.
    #[error(transparent)]
    Config(#[from] startup::ConfigError),
    /// A key or the store in the backup is damaged.
    #[error("the backup is damaged")]
    Damaged(#[source] DecodeError),
    /// What the backup says of itself is not what is in it.
    #[error("the backup is damaged: it says that it is of cluster {0}, its store is another's")]
    Mismatch(String),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder cannot be made, moved or flushed.
    #[error("cannot {verb} {}", path.display())]
    Folder {
        /// What was tried.
        verb: &'static str,
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The new epoch was not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The cluster.
    pub cluster: String,
    /// The revision that the backup was made at.
    pub revision: u64,
    /// The new epoch.
    pub epoch: u64,
    /// Where what was there before has been set aside.
    pub set_aside: Option<PathBuf>,
}

/// Puts the cluster of a backup into `state`: an empty folder, or with `replace` one that holds the same cluster, which is
/// set aside. The epoch rises, and every join token of before is over. No controller may run in `state`.
///
/// # Errors
///
/// [`RestoreError`].
pub fn restore(file: &Path, state: &Path, passphrase: &Passphrase, replace: bool) -> Result<Restored, RestoreError> {
    let contents = backup::read(file, passphrase)?;
    let lock = occupied(state, &contents, replace)?;
    let building = beside(state, "restoring");
    remove(&building)?;
    mtls::create_private_dir(&building)?;
    let epoch = build(&contents, &building)?;
    let set_aside = lock.is_some().then(|| beside(state, &format!("replaced-{}", now())));
    if let Some(aside) = &set_aside {
        rename(state, aside)?;
    }
    rename(&building, state)?;
    sync_parent(state)?;
    Ok(Restored { cluster: contents.cluster.clone(), revision: contents.revision, epoch, set_aside })
}

/// What is there must be nothing, or this cluster and be given up. The lock keeps a controller from starting meanwhile.
fn occupied(state: &Path, contents: &Contents, replace: bool) -> Result<Option<Lock>, RestoreError> {
    let folder = || state.display().to_string();
    if fs::read_dir(state).map_or(true, |mut files| files.next().is_none()) {
        return Ok(None);
    }
    match there(state)? {
        None => Err(RestoreError::NotEmpty(folder())),
        Some(there) if there.as_str() != contents.cluster => {
            let (folder, there, backup) = (folder(), there.to_string(), contents.cluster.clone());
            Err(RestoreError::OtherCluster { folder, there, backup })
        }
        Some(_) if !replace => Err(RestoreError::Exists(folder())),
        Some(_) => Ok(Some(Lock::take(state)?)),
    }
}

/// The cluster whose store is in the folder.
fn there(state: &Path) -> Result<Option<ClusterId>, RestoreError> {
    let database = Config::database_of(state);
    if !database.exists() {
        return Ok(None);
    }
    let loaded = Store::open(&database).map_err(OpenClusterError::from)?.load().map_err(OpenClusterError::from)?;
    Ok(loaded.cluster)
}

/// A whole state folder at `folder`, taken up once to see that it can be. Answers the new epoch.
fn build(contents: &Contents, folder: &Path) -> Result<u64, RestoreError> {
    let decoded = |text: &str| BASE64.decode(text.as_bytes()).map_err(RestoreError::Damaged);
    mtls::write_private(&Config::path(folder), contents.config.as_bytes())?;
    if let Some(context) = &contents.admin_context {
        mtls::write_private(&Config::admin_context(folder), context.expose().as_bytes())?;
    }
    let keys = folder.join("ca");
    mtls::create_private_dir(&keys)?;
    for (root, key) in &contents.keys {
        if !root.bytes().all(|letter| letter.is_ascii_hexdigit()) {
            return Err(RestoreError::Mismatch(contents.cluster.clone())); // it becomes a file's name
        }
        let key = Zeroizing::new(decoded(key.expose())?);
        let pem = Zeroizing::new(mtls::write_pem("PRIVATE KEY", &key));
        mtls::write_private(&keys.join(format!("{root}.key.pem")), pem.as_bytes())?;
    }
    mtls::write_private(&Config::database_of(folder), &decoded(&contents.database)?)?;

    let identity = open::identity(&Config::load(folder)?)?;
    let (control, mut store) = open::open(folder)?;
    if control.cluster().as_str() != contents.cluster || !control.issuer().has_key() {
        return Err(RestoreError::Mismatch(contents.cluster.clone()));
    }
    let Decision { changes, answer } = control.restored(SystemTime::now(), &identity);
    store.commit(&changes, control.next_revision())?;
    Ok(answer)
}

/// `<state>.<what>`, in the same folder and so on the same file system.
fn beside(state: &Path, what: &str) -> PathBuf {
    let mut name = state.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}"));
    state.with_file_name(name)
}

fn remove(folder: &Path) -> Result<(), RestoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RestoreError::Folder { verb: "remove", path: folder.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), RestoreError> {
    fs::rename(from, to).map_err(|source| RestoreError::Folder { verb: "rename", path: from.to_owned(), source })
}

/// A rename is durable once its folder is.
fn sync_parent(path: &Path) -> Result<(), RestoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|folder| folder.sync_all());
    synced.map_err(|source| RestoreError::Folder { verb: "flush", path: parent.to_owned(), source })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
