//! From a state folder to a cluster: the store, the roots and their keys, and the lock that keeps others away meanwhile.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use control_lib::{Control, Identity};

use crate::config::Config;
use crate::keys::{KeyFileError, KeyFolder};
use crate::store::{LoadError, OpenError, Store};

/// A cluster cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum OpenClusterError {
    /// There is none.
    #[error("{0} holds no cluster: run pi-controller init first")]
    NotInitialised(String),
    /// The configured id is no name.
    #[error("id {0} in controller.toml is not a name: expected lower-case letters, digits and hyphens")]
    Id(String),
    /// Somebody else works with the folder.
    #[error("a controller is running in {0}: stop it first")]
    Running(String),
    /// The lock's file cannot be used.
    #[error("cannot lock {}", .0.display())]
    Lock(PathBuf, #[source] io::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A root's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The store is another cluster's.
    #[error("the store belongs to cluster {0}, its roots to another: restore a backup")]
    OtherCluster(String),
}

/// While it lives, nobody else serves or changes the cluster of this folder. The system lets go of it when a process ends,
/// however it ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Lock {
    pub(crate) fn take(state: &Path) -> Result<Self, OpenClusterError> {
        let path = state.join("lock");
        if !Config::database_of(state).exists() {
            return Err(OpenClusterError::NotInitialised(state.display().to_string()));
        }
        let failed = |error| OpenClusterError::Lock(path.clone(), error);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenClusterError::Running(state.display().to_string())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The state, with the keys of the roots where they are there. Whoever goes on to change it holds the [`Lock`].
pub(crate) fn open(state: &Path) -> Result<(Control, Store), OpenClusterError> {
    let not_initialised = || OpenClusterError::NotInitialised(state.display().to_string());
    let database = Config::database_of(state);
    if !database.exists() {
        return Err(not_initialised());
    }
    let store = Store::open(&database)?;
    let loaded = store.load()?;
    let (Some(cluster), Some(authority)) = (loaded.cluster, loaded.authority) else {
        return Err(not_initialised());
    };
    if cluster != *authority.cluster() {
        return Err(OpenClusterError::OtherCluster(cluster.to_string()));
    }
    let authority = KeyFolder::of(state).unlock(authority)?;
    Ok((Control::restore(authority, loaded.revision, loaded.changes), store))
}

/// Who this controller is; also who acts where nobody is asked for a certificate: whoever can write to the state folder.
pub(crate) fn identity(config: &Config) -> Result<Identity, OpenClusterError> {
    let id = config.id.parse().map_err(|_| OpenClusterError::Id(config.id.clone()))?;
    Ok(Identity::controller(id))
}
