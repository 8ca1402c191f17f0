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

#[cfg(test)]
mod tests {
    use ::audit::{Damage, Report, Verifier};
    use control_lib::{Change, Outcome};

    use super::*;
    use crate::store::Store;

    const CHAIN: &str = "spiffe://lab";

    /// A store with six rows, three of them with a decision, and a connection that does to it what an intruder would.
    fn written() -> (tempfile::TempDir, AuditReader, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let mut store = Store::open(&path).unwrap();
        store.bind(&"lab".parse().unwrap()).unwrap();
        let row = |number: u64| AuditRow {
            at: UNIX_EPOCH + Duration::from_secs(1_780_272_000 + number),
            who: "operator/anna".to_owned(),
            action: if number.is_multiple_of(2) { "/pi.agent.v1.NodeAgent/ControlGPIO" } else { "token.create" }
                .to_owned(),
            subject: format!("node/pi-{number}"),
            outcome: Outcome::Allowed,
            detail: "a detail".to_owned(),
        };
        let changes: Vec<Change> = (1..=3).map(|number| Change::Audit(row(number))).collect();
        store.commit(&changes, 1).unwrap();
        store.append_audit(&[row(4), row(5), row(6)]).unwrap();
        assert_eq!(store.load().unwrap().revision, 1, "an audit alone is no new revision");
        let intruder = Connection::open(&path).unwrap();
        let drop = "DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_deleted;";
        intruder.execute_batch(drop).unwrap();
        (folder, AuditReader::new(&path), intruder)
    }

    fn verify(reader: &AuditReader, chain: &str) -> Report {
        let page = reader.page(&AuditQuery { limit: 100, ..AuditQuery::default() }).unwrap();
        let mut verifier = Verifier::new(chain);
        page.rows.iter().for_each(|row| verifier.check(row));
        verifier.end_at(page.last);
        verifier.finish()
    }

    fn after(tampering: &str) -> Vec<Damage> {
        let (_folder, reader, intruder) = written();
        intruder.execute_batch(tampering).unwrap();
        verify(&reader, CHAIN).damages
    }

    #[test]
    fn what_was_written_verifies_under_its_own_name_only() {
        let (_folder, reader, _) = written();
        let report = verify(&reader, CHAIN);
        assert_eq!((report.is_good(), report.rows, report.last.sequence), (true, 6, 6));
        assert_eq!(verify(&reader, "spiffe://barn").damages, [Damage::Beginning { chain: "spiffe://barn".to_owned() }]);
    }

    /// S26.
    #[test]
    fn every_edited_column_is_named() {
        for edit in [
            "at = at + 1",
            "at = -1",
            "who = 'operator/eve'",
            "action = 'renew'",
            "subject = ''",
            "outcome = 'denied'",
            "detail = detail || ' '",
            "hash = zeroblob(32)",
            "subject = who, who = subject",
        ] {
            assert_eq!(after(&format!("UPDATE audit SET {edit} WHERE sequence = 4")), [Damage::Changed(4)], "{edit}");
        }
        assert_eq!(
            after("UPDATE audit SET sequence = 60 WHERE sequence = 4"),
            [
                Damage::Missing { first: 4, last: 4, before: 5 },
                Damage::Missing { first: 7, last: 59, before: 60 },
                Damage::Added(7)
            ]
        );
    }

    /// S26.
    #[test]
    fn every_dropped_moved_and_added_row_is_named() {
        let missing = |first, last| Damage::Missing { first, last, before: last + 1 };
        assert_eq!(after("DELETE FROM audit WHERE sequence = 1"), [missing(1, 1)]);
        assert_eq!(after("DELETE FROM audit WHERE sequence IN (3, 4)"), [missing(3, 4)]);
        assert_eq!(after("DELETE FROM audit WHERE sequence = 6"), [Damage::Cut { first: 6, last: 6 }]);
        assert_eq!(after("DELETE FROM audit"), [Damage::Cut { first: 1, last: 6 }]);
        let swap =
            "UPDATE audit SET sequence = 99 WHERE sequence = 3; UPDATE audit SET sequence = 3 WHERE sequence = 4;
                    UPDATE audit SET sequence = 4 WHERE sequence = 99;";
        assert_eq!(after(swap), [Damage::Changed(3), Damage::Changed(4), Damage::Changed(5)]);
        let copy =
            "INSERT INTO audit SELECT 7, at, who, action, subject, outcome, detail, hash FROM audit WHERE sequence = 6";
        assert_eq!(after(copy), [Damage::Changed(7), Damage::Added(7)]);
        // the end noted beside the table changed as well: only a note elsewhere tells
        let cut = "DELETE FROM audit WHERE sequence > 4;
                   UPDATE meta SET audit_sequence = 4, audit_hash = (SELECT hash FROM audit WHERE sequence = 4);";
        assert_eq!(after(cut), []);
    }

    #[test]
    fn rows_are_found_by_who_what_where_and_when() {
        let (_folder, reader, _) = written();
        let found = |query: AuditQuery| -> Vec<u64> {
            let rows = reader.page(&AuditQuery { limit: 10, ..query }).unwrap().rows;
            rows.iter().map(|row| row.sequence).collect()
        };
        let text = |text: &str| Some(text.to_owned());
        let all = AuditQuery::default;
        assert_eq!(found(AuditQuery { action: text("ControlGPIO"), ..all() }), [2, 4, 6]);
        assert_eq!(found(AuditQuery { action: text("/pi.agent.v1.NodeAgent/ControlGPIO"), after: 2, ..all() }), [4, 6]);
        assert_eq!(found(AuditQuery { action: text("GPIO"), ..all() }), [0; 0]);
        assert_eq!(found(AuditQuery { action: text("%"), ..all() }), [0; 0]);
        assert_eq!(found(AuditQuery { about: text("node/pi-5"), ..all() }), [5]);
        assert_eq!(found(AuditQuery { about: text("operator/anna"), ..all() }).len(), 6);
        assert_eq!(found(AuditQuery { who: text("operator/eve"), ..all() }), [0; 0]);
        let since = Some(UNIX_EPOCH + Duration::from_secs(1_780_272_005));
        assert_eq!(found(AuditQuery { since, who: text("operator/anna"), ..all() }), [5, 6]);
    }
}
