//! From rows to the vocabulary of `control-lib`. A row that no release of ours wrote is an error, never a guess.

use std::error::Error as StdError;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control_lib::{
    Certificate, ClusterId, Exclusion, Grants, Inventory, Labels, Lifetime, Names, Node, Operator, PublicKey,
    RevokedKey, Scope, ScopeError, TokenRecord,
};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, Params, Result, Row};

pub(super) fn meta(connection: &Connection) -> Result<(Option<ClusterId>, u64)> {
    connection.query_row("SELECT cluster, revision FROM meta", [], |row| {
        Ok((optional(row, "cluster")?, row.get::<_, i64>("revision")?.cast_unsigned()))
    })
}

pub(super) fn tokens(connection: &Connection) -> Result<Vec<TokenRecord>> {
    all(connection, "SELECT * FROM tokens ORDER BY id", [], |row| {
        let id: String = row.get("id")?;
        Ok(TokenRecord {
            id: parsed(row, "id")?,
            public_key: row.get("public_key")?,
            expires: time(row, "expires")?,
            uses: row.get("uses")?,
            uses_left: row.get("uses_left")?,
            bound_name: optional(row, "bound_name")?,
            bound_serial: optional(row, "bound_serial")?,
            labels: labels(connection, "SELECT key, value FROM token_labels WHERE token = ?1", &id)?,
            own_labels: row.get("own_labels")?,
            approval: row.get("approval")?,
            revoked_at: row.get::<_, Option<i64>>("revoked_at")?.map(|_| time(row, "revoked_at")).transpose()?,
            created_by: parsed(row, "created_by")?,
            created_at: time(row, "created_at")?,
        })
    })
}

pub(super) fn nodes(connection: &Connection) -> Result<Vec<Node>> {
    all(connection, "SELECT * FROM nodes ORDER BY name", [], |row| {
        let name: String = row.get("name")?;
        Ok(Node {
            name: parsed(row, "name")?,
            public_key: PublicKey::from_spki(row.get_ref("public_key")?.as_blob()?).map_err(invalid)?,
            certificate: certificate(row)?,
            inventory: inventory(row)?,
            pending: row.get("pending")?,
            labels: labels(connection, &format!("{NODE_LABELS} AND assigned = 0"), &name)?,
            assigned: labels(connection, &format!("{NODE_LABELS} AND assigned = 1"), &name)?,
            own_labels: row.get("own_labels")?,
            endpoints: list(connection, "SELECT endpoint FROM endpoints WHERE node = ?1 ORDER BY position", &name)?,
            token: parsed(row, "token")?,
            roots_version: row.get::<_, i64>("roots_version")?.cast_unsigned(),
            registered_at: time(row, "registered_at")?,
            updated_at: time(row, "updated_at")?,
        })
    })
}

fn certificate(row: &Row<'_>) -> Result<Certificate> {
    let (not_before, not_after) = (time(row, "not_before")?, time(row, "not_after")?);
    Ok(Certificate { der: row.get("certificate")?, not_before, not_after })
}

fn inventory(row: &Row<'_>) -> Result<Inventory> {
    Ok(Inventory {
        model: parsed(row, "model")?,
        serial: parsed(row, "serial")?,
        revision: parsed(row, "revision")?,
        kernel: parsed(row, "kernel")?,
        os: parsed(row, "os")?,
        architecture: parsed(row, "architecture")?,
        ram_bytes: row.get::<_, Option<i64>>("ram_bytes")?.map(i64::cast_unsigned),
        machine_id: parsed(row, "machine_id")?,
        boot_id: parsed(row, "boot_id")?,
        backend: parsed(row, "backend")?,
        lines: row.get("lines")?,
    })
}

const NODE_LABELS: &str = "SELECT key, value FROM labels WHERE node = ?1";

fn labels(connection: &Connection, sql: &str, owner: &str) -> Result<Labels> {
    let pair = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    Labels::new(all(connection, sql, [owner], pair)?).map_err(invalid)
}

pub(super) fn operators(connection: &Connection) -> Result<Vec<Operator>> {
    all(connection, "SELECT * FROM operators ORDER BY name", [], |row| {
        let name: String = row.get("name")?;
        Ok(Operator {
            name: parsed(row, "name")?,
            grants: grants(connection, &name)?,
            lifetime: Lifetime::operator(Duration::from_secs(row.get::<_, u32>("lifetime")?.into()))
                .map_err(invalid)?,
            expires: row.get::<_, Option<i64>>("expires")?.map(moment).transpose()?,
            created_by: parsed(row, "created_by")?,
            created_at: time(row, "created_at")?,
        })
    })
}

fn grants(connection: &Connection, operator: &str) -> Result<Grants> {
    let rows = "SELECT * FROM operator_roles WHERE operator = ?1";
    let grants = all(connection, rows, [operator], |row| Ok((parsed(row, "role")?, scope(row)?)))?;
    Grants::new(grants).map_err(invalid)
}

fn scope(row: &Row<'_>) -> Result<Scope> {
    let text = |column: &str| row.get::<_, Option<String>>(column);
    let names = |column: &str, check: fn(std::str::Split<'_, char>) -> std::result::Result<Names, ScopeError>| {
        text(column)?.map(|names| check(names.split(','))).transpose().map_err(invalid)
    };
    Ok(Scope {
        nodes: optional(row, "nodes")?,
        lines: names("lines", |names| Names::lines(names))?,
        units: names("units", |names| Names::units(names))?,
        sources: names("sources", |names| Names::sources(names))?,
        templates: names("templates", |names| Names::templates(names))?,
    })
}

pub(super) fn exclusions(connection: &Connection) -> Result<Vec<Exclusion>> {
    all(connection, "SELECT * FROM exclusions ORDER BY subject", [], |row| {
        Ok(Exclusion {
            subject: parsed(row, "subject")?,
            kind: parsed(row, "kind")?,
            reason: parsed(row, "reason")?,
            by: parsed(row, "by")?,
            at: time(row, "at")?,
        })
    })
}

pub(super) fn revoked_keys(connection: &Connection) -> Result<Vec<RevokedKey>> {
    all(connection, "SELECT * FROM revoked_keys ORDER BY fingerprint", [], |row| {
        let (subject, until) = (parsed(row, "subject")?, time(row, "until")?);
        Ok(RevokedKey { fingerprint: row.get("fingerprint")?, subject, until })
    })
}

pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    connection.prepare(sql)?.query_map(params, read)?.collect()
}

/// The first column of each row that belongs to `owner`, parsed.
fn list<C, T>(connection: &Connection, sql: &str, owner: &str) -> Result<C>
where
    T: FromStr<Err: StdError + Send + Sync + 'static>,
    C: FromIterator<T>,
{
    let texts = all(connection, sql, [owner], |row| row.get::<_, String>(0))?;
    texts.iter().map(|text| text.parse().map_err(invalid)).collect()
}

fn parsed<T: FromStr<Err: StdError + Send + Sync + 'static>>(row: &Row<'_>, column: &str) -> Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(invalid)
}

fn optional<T: FromStr<Err: StdError + Send + Sync + 'static>>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(invalid)).transpose()
}

fn time(row: &Row<'_>, column: &str) -> Result<SystemTime> {
    moment(row.get(column)?)
}

fn moment(nanos: i64) -> Result<SystemTime> {
    let nanos = u64::try_from(nanos).map_err(invalid)?;
    Ok(UNIX_EPOCH + Duration::from_nanos(nanos))
}

pub(super) fn invalid(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(0, Type::Null, Box::new(error))
}
