//! The audit: a table in which each row carries the hash over itself and the row before. Where the table ends stands in
//! `meta`, changed in the same transaction.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use audit::{Anchor, Chain, Entry, Hash, Row, cluster_chain};
use control_lib::AuditRow;
use rusqlite::{Connection, OpenFlags, Result, named_params, params};

use super::LoadError;
use super::read::{all, invalid};
use super::write::Nanos;

/// Appends to the end that `meta` names.
pub(super) fn append(connection: &Connection, row: &AuditRow) -> Result<()> {
    let (_, last) = end(connection)?;
    let Row { sequence, entry, hash } = Chain::after(last).append(entry(row.clone()));
    let Entry { at, who, on_behalf_of: _, action, subject, outcome, detail } = entry;
    let append = "INSERT INTO audit (sequence, at, who, action, subject, outcome, detail, hash)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let number = sequence.cast_signed();
    connection.execute(append, params![number, Nanos(at), who, action, subject, outcome, detail, hash.0])?;
    connection.execute("UPDATE meta SET audit_sequence = ?1, audit_hash = ?2", params![number, hash.0])?;
    Ok(())
}

/// Whoever calls a controller acts for themselves.
fn entry(row: AuditRow) -> Entry {
    let AuditRow { at, who, action, subject, outcome, detail } = row;
    let outcome = outcome.as_str().to_owned();
    Entry { at, who, on_behalf_of: String::new(), action, subject, outcome, detail }
}

/// The chain's name, and its last row.
fn end(connection: &Connection) -> Result<(String, Anchor)> {
    connection.query_row("SELECT cluster, audit_sequence, audit_hash FROM meta", [], |row| {
        let chain = cluster_chain(&row.get::<_, Option<String>>(0)?.unwrap_or_default());
        let hash = row.get::<_, Option<[u8; 32]>>(2)?.map_or_else(|| Hash::genesis(&chain), Hash);
        Ok((chain, Anchor { sequence: row.get::<_, i64>(1)?.cast_unsigned(), hash }))
    })
}

/// Up to `limit` rows after the one of that number, in the vocabulary of `control-lib`.
pub(super) fn entries(connection: &Connection, after: u64, limit: u32) -> Result<Vec<(u64, AuditRow)>> {
    let rows = rows(connection, &AuditQuery { after, limit, ..AuditQuery::default() })?;
    let entry = |Row { sequence, entry, .. }| {
        let Entry { at, who, on_behalf_of: _, action, subject, outcome, detail } = entry;
        let outcome = outcome.parse().map_err(invalid)?;
        Ok((sequence, AuditRow { at, who, action, subject, outcome, detail }))
    };
    rows.into_iter().map(entry).collect()
}

/// Which rows of the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Those with a higher number.
    pub after: u64,
    /// So many at most.
    pub limit: u32,
    /// Those that this identity caused.
    pub who: Option<String>,
    /// Those of this action, or of the method of this name.
    pub action: Option<String>,
    /// Those about this identity, or caused by it.
    pub about: Option<String>,
    /// Those from then on.
    pub since: Option<SystemTime>,
}

/// A page of the audit, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The name of the chain.
    pub chain: String,
    /// Oldest first.
    pub rows: Vec<Row>,
    /// The last row of all, whatever was asked for, as it was noted beside the table.
    pub last: Anchor,
}

/// Reads the audit of a store beside whoever writes it, and cannot write.
#[derive(Debug, Clone)]
pub struct AuditReader {
    path: PathBuf,
}

impl AuditReader {
    /// For the store at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// A page. It takes as long as the disk does.
    pub fn page(&self, query: &AuditQuery) -> Result<AuditPage, LoadError> {
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(super::sqlite::BUSY)?;
        // one transaction, so that the end belongs to the rows
        let snapshot = connection.unchecked_transaction()?;
        let (chain, last) = end(&snapshot)?;
        Ok(AuditPage { chain, rows: rows(&snapshot, query)?, last })
    }
}

fn rows(connection: &Connection, query: &AuditQuery) -> Result<Vec<Row>> {
    let AuditQuery { after, limit, who, action, about, since } = query;
    let page = "SELECT * FROM audit
                WHERE sequence > :after
                  AND (:who IS NULL OR who = :who)
                  AND (:action IS NULL OR action = :action OR substr(action, -length(:action) - 1) = '/' || :action)
                  AND (:about IS NULL OR subject = :about OR who = :about)
                  AND (:since IS NULL OR at >= :since)
                ORDER BY sequence LIMIT :limit";
    let params = named_params! {
        // a number beyond SQLite's range is after every row
        ":after": i64::try_from(*after).unwrap_or(i64::MAX),
        ":limit": i64::from(*limit),
        ":who": who,
        ":action": action,
        ":about": about,
        ":since": since.map(Nanos),
    };
    all(connection, page, params, |row| {
        let entry = Entry {
            // what nobody writes is for verification to find, not a reason to show nothing
            at: UNIX_EPOCH + Duration::from_nanos(u64::try_from(row.get::<_, i64>("at")?).unwrap_or(0)),
            who: row.get("who")?,
            on_behalf_of: String::new(),
            action: row.get("action")?,
            subject: row.get("subject")?,
            outcome: row.get("outcome")?,
            detail: row.get("detail")?,
        };
        Ok(Row { sequence: row.get::<_, i64>("sequence")?.cast_unsigned(), entry, hash: Hash(row.get("hash")?) })
    })
}
