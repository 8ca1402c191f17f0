//! The store in one SQLite file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use control_lib::{AuditRow, Change, ClusterId};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::{BindError, CommitError, LoadError, Loaded, OpenError, audit, read, write};

/// The schema that this release writes, kept in SQLite's `user_version`.
const SCHEMA: u32 = 2;
/// Marks the file as ours ("PiCs"), kept in SQLite's `application_id`.
const APPLICATION: i32 = 0x5069_4373;
/// How long a statement waits for another process, a backup for instance, to let go of the file.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// The durable state of one control plane. One writer: whoever has the `Store` mutably.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the store at `path`, or makes an empty one there, readable and writable by its owner only. The folder must
    /// exist.
    ///
    /// An existing file is checked for damage, which takes time in proportion to its size. A store of a later release
    /// is refused and left alone.
    pub fn open(path: &Path) -> Result<Store, OpenError> {
        create_missing(path).map_err(OpenError::Create)?;
        recognise(path)?;
        let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        configure(&connection)?;
        check(&connection)?;
        migrate(&mut connection)?;
        Ok(Store { connection })
    }

    /// Binds an unbound store to `cluster`, and makes sure that a bound one is bound to it.
    pub fn bind(&mut self, cluster: &ClusterId) -> Result<(), BindError> {
        let bind = "UPDATE meta SET cluster = coalesce(cluster, ?1) RETURNING cluster";
        let bound: String = self.connection.query_row(bind, [cluster.as_str()], |row| row.get(0))?;
        if bound == cluster.as_str() { Ok(()) } else { Err(BindError::OtherCluster(bound)) }
    }

    /// Everything but the audit, as of one moment.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        // One transaction, so that no other process can commit between two tables.
        let snapshot = self.connection.unchecked_transaction()?;
        let (cluster, revision) = read::meta(&snapshot)?;
        let tokens = read::tokens(&snapshot)?.into_iter().map(Change::PutToken);
        let nodes = read::nodes(&snapshot)?.into_iter().map(|node| Change::PutNode(Box::new(node)));
        let operators = read::operators(&snapshot)?.into_iter().map(Change::PutOperator);
        let exclusions = read::exclusions(&snapshot)?.into_iter().map(Change::PutExclusion);
        let revoked_keys = read::revoked_keys(&snapshot)?.into_iter().map(Change::PutRevokedKey);
        let changes = tokens.chain(nodes).chain(operators).chain(exclusions).chain(revoked_keys).collect();
        Ok(Loaded { cluster, revision, changes })
    }

    /// Up to `limit` audit rows after the row numbered `after` (0: from the start), oldest first, with their numbers.
    pub fn audit(&self, after: u64, limit: u32) -> Result<Vec<(u64, AuditRow)>, LoadError> {
        Ok(audit::entries(&self.connection, after, limit)?)
    }

    /// Makes `changes` durable as transaction `revision`, which must be the one after the last; all of them or, on an
    /// error, none.
    pub fn commit(&mut self, changes: &[Change], revision: u64) -> Result<(), CommitError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        advance(&transaction, revision)?;
        changes.iter().try_for_each(|change| write::change(&transaction, change))?;
        Ok(transaction.commit()?)
    }

    /// Makes rows of the audit durable that go with no change; all of them or, on an error, none. No new revision.
    pub fn append_audit(&mut self, rows: &[AuditRow]) -> Result<(), CommitError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        rows.iter().try_for_each(|row| audit::append(&transaction, row))?;
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
impl Store {
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// From now on every write fails, or none.
    pub(crate) fn set_read_only(&mut self, on: bool) {
        self.connection.pragma_update(None, "query_only", on).expect("a pragma");
    }
}

/// Makes an empty file before SQLite does, as SQLite would make it readable for everybody.
fn create_missing(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// A new file is durable once its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Looks whose file it is over a connection that cannot write, so that a refused file stays as it is. (SQLite
/// may leave its empty log beside it.)
fn recognise(path: &Path) -> Result<(), OpenError> {
    let peek = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    peek.busy_timeout(BUSY)?;
    let number = |sql| peek.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let found = u32::try_from(number("PRAGMA user_version")?).unwrap_or(u32::MAX);
    let empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
    match application == i64::from(APPLICATION) {
        true if found > SCHEMA => Err(OpenError::Newer { found, known: SCHEMA }),
        // schema 1 was in no release
        true if found < SCHEMA => Err(OpenError::Older { found, known: SCHEMA }),
        true => Ok(()),
        false if empty && application == 0 && found == 0 => Ok(()),
        false => Err(OpenError::Foreign),
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL; -- in WAL mode, NORMAL loses acknowledged commits at power failure
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;",
    )
}

fn check(connection: &Connection) -> Result<(), OpenError> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(OpenError::Damaged(verdict)) }
}

/// Brings an empty file to today's schema. Tables and version number come in one transaction: a crash leaves either
/// an empty file or a store.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 {
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()
}

fn advance(transaction: &Transaction<'_>, revision: u64) -> Result<(), CommitError> {
    let advance = "UPDATE meta SET revision = ?1 WHERE revision = ?1 - 1";
    match transaction.execute(advance, [revision.cast_signed()])? {
        1 => Ok(()),
        _ => Err(CommitError::Revision(revision)),
    }
}
