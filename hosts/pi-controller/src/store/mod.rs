//! Where the control plane's state outlives the process. Decides nothing: it stores what `control-lib` decided.
//!
//! A store holds one cluster. Each committed decision is one transaction under the next revision; once
//! [`Store::commit`] has returned, the decision survives a crash and a power failure of a disk that honours fsync.

mod audit;
mod read;
mod sqlite;
#[cfg(test)]
mod tests;
mod write;

use control_lib::{Change, ClusterId};

pub use audit::{AuditPage, AuditQuery, AuditReader};
pub use sqlite::Store;

/// What a store held when it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The cluster that the store is bound to; absent if it never was.
    pub cluster: Option<ClusterId>,
    /// The revision that was committed last; 0 if none was.
    pub revision: u64,
    /// Each node, token and operator as the change that puts it there. The audit is read with [`Store::audit`].
    pub changes: Vec<Change>,
}

/// Why a store could not be opened. Nothing was written to an existing file unless it was recognised as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be made.
    #[error("see that the state folder exists and can be written to")]
    Create(#[source] std::io::Error),
    /// A later release wrote it.
    #[error("use a later release: the store has schema {found}, this release knows {known}")]
    Newer {
        /// The schema that the store has.
        found: u32,
        /// The latest schema that this release knows.
        known: u32,
    },
    /// An earlier version wrote it that was never released.
    #[error("make a new cluster: the store has schema {found}, which was in no release; this release knows {known}")]
    Older {
        /// The schema that the store has.
        found: u32,
        /// The schema that this release knows.
        known: u32,
    },
    /// It is a database of something else.
    #[error("choose another file: this one is not a store of the control plane")]
    Foreign,
    /// SQLite's check of the file found damage.
    #[error("restore a snapshot: the store is damaged ({0})")]
    Damaged(String),
    /// SQLite could not read or write the file.
    #[error("look at the store's file and its disk: it cannot be opened")]
    Sqlite(#[from] rusqlite::Error),
}

/// Why a store was not bound to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It belongs to another one.
    #[error("use the state folder of this cluster: the store is that of {0}")]
    OtherCluster(String),
    /// SQLite could not read or write the file.
    #[error("look at the store's file and its disk: it cannot be written")]
    Sqlite(#[from] rusqlite::Error),
}

/// Why the state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A row could not be read, or says what no release of ours wrote.
    #[error("restore a snapshot: the store cannot be read")]
    Sqlite(#[from] rusqlite::Error),
}

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The store is not at the revision before this one: something else wrote to it.
    #[error("load the store again: it is not at the revision before {0}")]
    Revision(u64),
    /// SQLite could not write; the store is as it was.
    #[error("look at the store's disk: the transaction was not committed")]
    Sqlite(#[from] rusqlite::Error),
}

impl CommitError {
    /// Whether the disk has no room.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }
}
