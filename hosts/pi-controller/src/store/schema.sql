-- Times are nanoseconds since 1970 (UTC). Unsigned 64-bit numbers are stored as the signed number of the same bits.

CREATE TABLE meta (
    one            INTEGER PRIMARY KEY CHECK (one = 1),
    cluster        TEXT,             -- absent until the store is bound to a cluster
    revision       INTEGER NOT NULL, -- rises by one per committed transaction
    audit_sequence INTEGER NOT NULL DEFAULT 0, -- of the last row of the audit
    audit_hash     BLOB CHECK (length(audit_hash) = 32) -- of that row; absent if there is none
) STRICT;
INSERT INTO meta (one, cluster, revision) VALUES (1, NULL, 0);

CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    public_key BLOB NOT NULL UNIQUE CHECK (length(public_key) = 32),
    expires    INTEGER NOT NULL,
    uses       INTEGER NOT NULL,
    uses_left  INTEGER NOT NULL CHECK (uses_left BETWEEN 0 AND uses),
    bound_name TEXT,
    bound_serial TEXT,
    own_labels INTEGER NOT NULL CHECK (own_labels IN (0, 1)),
    approval   INTEGER NOT NULL CHECK (approval IN (0, 1)),
    revoked_at INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- what its nodes are assigned
CREATE TABLE token_labels (
    token TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (token, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    name          TEXT PRIMARY KEY,
    public_key    BLOB NOT NULL UNIQUE,
    certificate   BLOB NOT NULL,
    not_before    INTEGER NOT NULL,
    not_after     INTEGER NOT NULL,
    pending       INTEGER NOT NULL CHECK (pending IN (0, 1)),
    own_labels    INTEGER NOT NULL CHECK (own_labels IN (0, 1)),
    token         TEXT NOT NULL REFERENCES tokens (id),
    roots_version INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    model         TEXT NOT NULL,
    serial        TEXT NOT NULL,
    revision      TEXT NOT NULL,
    kernel        TEXT NOT NULL,
    os            TEXT NOT NULL,
    architecture  TEXT NOT NULL,
    ram_bytes     INTEGER,
    machine_id    TEXT NOT NULL,
    boot_id       TEXT NOT NULL,
    backend       TEXT NOT NULL,
    lines         INTEGER NOT NULL
) STRICT;

-- what a node is selected by, and what it was assigned
CREATE TABLE labels (
    node     TEXT NOT NULL REFERENCES nodes (name) ON DELETE CASCADE,
    assigned INTEGER NOT NULL CHECK (assigned IN (0, 1)),
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (node, assigned, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoints (
    node     TEXT NOT NULL REFERENCES nodes (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    PRIMARY KEY (node, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE operators (
    name       TEXT PRIMARY KEY,
    lifetime   INTEGER NOT NULL, -- of each certificate, in seconds
    expires    INTEGER,          -- the end of the certificate that was issued last
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE operator_roles (
    operator  TEXT NOT NULL REFERENCES operators (name) ON DELETE CASCADE,
    role      TEXT NOT NULL,
    nodes     TEXT, -- this and the next: what the role is limited to, with commas in between; absent: no limit
    lines     TEXT,
    units     TEXT,
    sources   TEXT,
    templates TEXT,
    PRIMARY KEY (operator, role)
) STRICT, WITHOUT ROWID;

CREATE TABLE exclusions (
    subject  TEXT PRIMARY KEY, -- kind/name
    kind    TEXT NOT NULL, -- locked or revoked
    reason   TEXT NOT NULL,
    by       TEXT NOT NULL,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE revoked_keys (
    fingerprint BLOB PRIMARY KEY CHECK (length(fingerprint) = 32), -- SHA-256 of the SubjectPublicKeyInfo
    subject     TEXT NOT NULL,
    until       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY, -- without gaps, from 1
    at       INTEGER NOT NULL,
    who      TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    outcome  TEXT NOT NULL,
    detail   TEXT NOT NULL,
    hash     BLOB NOT NULL CHECK (length(hash) = 32) -- over the row and the one before: see the package audit
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
