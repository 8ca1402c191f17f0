//! From the vocabulary of `control-lib` to rows.

use std::time::{SystemTime, UNIX_EPOCH};

use control_lib::{Change, Exclusion, Names, Node, Operator, RevokedKey, Scope, TokenRecord};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, Error, Result, ToSql, named_params, params};

use super::audit;

pub(super) fn change(connection: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::PutNode(node) => put_node(connection, node),
        Change::PutToken(token) => put_token(connection, token),
        Change::PutOperator(operator) => put_operator(connection, operator),
        Change::PutExclusion(exclusion) => put_exclusion(connection, exclusion),
        Change::DropExclusion(subject) => {
            connection.execute("DELETE FROM exclusions WHERE subject = ?1", [subject.to_string()]).map(drop)
        }
        Change::PutRevokedKey(key) => put_revoked_key(connection, key),
        Change::DropRevokedKey(fingerprint) => {
            connection.execute("DELETE FROM revoked_keys WHERE fingerprint = ?1", [fingerprint]).map(drop)
        }
        Change::Audit(row) => audit::append(connection, row),
    }
}

fn put_token(connection: &Connection, token: &TokenRecord) -> Result<()> {
    let TokenRecord { id, public_key, expires, uses, uses_left, bound_name, bound_serial, labels, .. } = token;
    let TokenRecord { own_labels, approval, revoked_at, created_by, created_at, .. } = token;
    // Updated in place, not replaced: nodes refer to the row.
    let put = "INSERT INTO tokens (
            id, public_key, expires, uses, uses_left, bound_name, bound_serial, own_labels, approval, revoked_at, created_by,
            created_at
        ) VALUES (
            :id, :public_key, :expires, :uses, :uses_left, :bound_name, :bound_serial, :own_labels, :approval, :revoked_at,
            :created_by, :created_at
        ) ON CONFLICT (id) DO UPDATE SET
            expires = :expires, uses_left = :uses_left, bound_name = :bound_name, revoked_at = :revoked_at";
    let id = id.to_string();
    connection.execute(
        put,
        named_params! {
            ":id": id,
            ":public_key": public_key,
            ":expires": Nanos(*expires),
            ":uses": uses,
            ":uses_left": uses_left,
            ":bound_name": bound_name.as_ref().map(|name| name.as_str()),
            ":bound_serial": bound_serial.as_ref().map(|serial| serial.as_str()),
            ":own_labels": own_labels,
            ":approval": approval,
            ":revoked_at": revoked_at.map(Nanos),
            ":created_by": created_by.to_string(),
            ":created_at": Nanos(*created_at),
        },
    )?;
    let mut label = connection.prepare("INSERT OR IGNORE INTO token_labels (token, key, value) VALUES (?1, ?2, ?3)")?;
    for (key, value) in labels.iter() {
        label.execute([id.as_str(), key, value])?;
    }
    Ok(())
}

fn put_node(connection: &Connection, node: &Node) -> Result<()> {
    let name = node.name.as_str();
    // Its labels and endpoints go with it.
    connection.execute("DELETE FROM nodes WHERE name = ?1", [name])?;
    insert_node(connection, node)?;
    let mut label = connection.prepare("INSERT INTO labels (node, assigned, key, value) VALUES (?1, ?2, ?3, ?4)")?;
    for (assigned, labels) in [(false, &node.labels), (true, &node.assigned)] {
        for (key, value) in labels.iter() {
            label.execute(params![name, assigned, key, value])?;
        }
    }
    let put = "INSERT INTO endpoints (node, position, endpoint) VALUES (?1, ?2, ?3)";
    let mut endpoint = connection.prepare(put)?;
    for (position, text) in (0_i64..).zip(&node.endpoints) {
        endpoint.execute(params![name, position, text.as_str()])?;
    }
    Ok(())
}

fn insert_node(connection: &Connection, node: &Node) -> Result<()> {
    let inventory = &node.inventory;
    let insert = "INSERT INTO nodes (
            name, public_key, certificate, not_before, not_after, pending, own_labels, token,
            roots_version, registered_at, updated_at, model, serial, revision, kernel, os, architecture, ram_bytes, machine_id, boot_id, backend, lines
        ) VALUES (
            :name, :public_key, :certificate, :not_before, :not_after, :pending, :own_labels, :token,
            :roots_version, :registered_at, :updated_at, :model, :serial, :revision, :kernel, :os, :architecture, :ram_bytes, :machine_id, :boot_id, :backend, :lines
        )";
    connection.execute(
        insert,
        named_params! {
            ":name": node.name.as_str(),
            ":public_key": node.public_key.spki(),
            ":certificate": node.certificate.der,
            ":not_before": Nanos(node.certificate.not_before),
            ":not_after": Nanos(node.certificate.not_after),
            ":pending": node.pending,
            ":own_labels": node.own_labels,
            ":token": node.token.to_string(),
            ":roots_version": node.roots_version.cast_signed(),
            ":registered_at": Nanos(node.registered_at),
            ":updated_at": Nanos(node.updated_at),
            ":model": inventory.model.as_str(),
            ":serial": inventory.serial.as_str(),
            ":revision": inventory.revision.as_str(),
            ":kernel": inventory.kernel.as_str(),
            ":os": inventory.os.as_str(),
            ":architecture": inventory.architecture.as_str(),
            ":ram_bytes": inventory.ram_bytes.map(u64::cast_signed),
            ":machine_id": inventory.machine_id.as_str(),
            ":boot_id": inventory.boot_id.as_str(),
            ":backend": inventory.backend.as_str(),
            ":lines": inventory.lines,
        },
    )?;
    Ok(())
}

fn put_operator(connection: &Connection, operator: &Operator) -> Result<()> {
    let Operator { name, grants, lifetime, expires, created_by, created_at } = operator;
    // Its roles go with it.
    connection.execute("DELETE FROM operators WHERE name = ?1", [name.as_str()])?;
    let insert = "INSERT INTO operators (name, lifetime, expires, created_by, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let lifetime = lifetime.duration().as_secs().cast_signed();
    let row = params![name.as_str(), lifetime, expires.map(Nanos), created_by.to_string(), Nanos(*created_at)];
    connection.execute(insert, row)?;
    let grant = "INSERT INTO operator_roles (operator, role, nodes, lines, units, sources, templates)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut grant = connection.prepare(grant)?;
    for (role, Scope { nodes, lines, units, sources, templates }) in grants.iter() {
        let text = |names: &Option<Names>| names.as_ref().map(ToString::to_string);
        let nodes = nodes.as_ref().map(ToString::to_string);
        let row =
            params![name.as_str(), role.as_str(), nodes, text(lines), text(units), text(sources), text(templates)];
        grant.execute(row)?;
    }
    Ok(())
}

fn put_exclusion(connection: &Connection, exclusion: &Exclusion) -> Result<()> {
    let Exclusion { subject, kind, reason, by, at } = exclusion;
    let put = "INSERT OR REPLACE INTO exclusions (subject, kind, reason, by, at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = params![subject.to_string(), kind.as_str(), reason.as_str(), by.to_string(), Nanos(*at)];
    connection.execute(put, row)?;
    Ok(())
}

fn put_revoked_key(connection: &Connection, key: &RevokedKey) -> Result<()> {
    let RevokedKey { fingerprint, subject, until } = key;
    let put = "INSERT OR REPLACE INTO revoked_keys (fingerprint, subject, until) VALUES (?1, ?2, ?3)";
    connection.execute(put, params![fingerprint, subject.to_string(), Nanos(*until)])?;
    Ok(())
}

/// A time as whole nanoseconds since 1970, without loss; from 1970 to 2262.
pub(super) struct Nanos(pub(super) SystemTime);

impl ToSql for Nanos {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let failure = |error| Error::ToSqlConversionFailure(error);
        let since = self.0.duration_since(UNIX_EPOCH).map_err(|error| failure(error.into()))?;
        i64::try_from(since.as_nanos()).map(ToSqlOutput::from).map_err(|error| failure(error.into()))
    }
}
