use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control_lib::{
    AuditRow, Certificate, Change, Exclusion, ExclusionKind, Identity, Inventory, Labels, Name, Node, Operator,
    Outcome, PublicKey, RevokedKey, Role, TokenId, TokenRecord,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{BindError, CommitError, Loaded, OpenError, Store};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    (folder, path)
}

fn open(path: &Path) -> Store {
    Store::open(path).unwrap()
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::new(1_780_272_000 + seconds, 123_456_789)
}

fn token(uses_left: u32) -> TokenRecord {
    TokenRecord {
        id: TokenId::of(&[1; 32]),
        public_key: [1; 32],
        expires: time(3600),
        uses_left,
        bound_name: Some(name("pi-7")),
        created_by: Identity::operator(name("anna")),
        created_at: time(0),
    }
}

/// A node with an Ed25519 key of thirty-two times `key`.
fn node(node: &str, key: u8) -> Node {
    let spki = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], &[key; 32][..]].concat();
    Node {
        name: name(node),
        public_key: PublicKey::from_spki(&spki).unwrap(),
        certificate: Certificate { der: vec![0x30, 0, 0xff], not_before: time(0), not_after: time(600) },
        inventory: inventory(),
        labels: Labels::new([("rack", "2"), ("bay", "")]).unwrap(),
        endpoints: ["pi-7.local:7443", "192.0.2.7:7443"].map(|text| text.parse().unwrap()).into(),
        token: TokenId::of(&[1; 32]),
        roots_version: 3,
        registered_at: time(1),
        updated_at: time(2),
    }
}

fn inventory() -> Inventory {
    let text = |text: &str| text.parse().unwrap();
    Inventory {
        model: text("Raspberry Pi 5 Modèle B"),
        serial: text("10000000abcdef01"),
        revision: text("d04170"),
        kernel: text("6.12.20"),
        os: text("Debian GNU/Linux 13"),
        architecture: text("aarch64"),
        ram_bytes: Some(u64::MAX),
        machine_id: text("m'; DROP TABLE nodes; --"),
        boot_id: text(""),
        backend: text("simulated"),
        lines: 54,
    }
}

fn operator(roles: impl IntoIterator<Item = Role>) -> Operator {
    let created_by = Identity::controller(name("c1"));
    Operator { name: name("anna"), roles: roles.into_iter().collect(), created_by, created_at: time(0) }
}

fn audit(action: &str) -> AuditRow {
    let (who, subject, detail) = ("operator/anna".into(), "node/pi-7".into(), "in detail".into());
    AuditRow { at: time(3), who, action: action.into(), subject, outcome: Outcome::Alarm, detail }
}

fn put_node(node: Node) -> Change {
    Change::PutNode(Box::new(node))
}

fn exclusion(kind: ExclusionKind) -> Change {
    let reason = "stolen, it seems".parse().unwrap();
    let (subject, by) = (Identity::node(name("pi-7")), Identity::operator(name("anna")));
    Change::PutExclusion(Exclusion { subject, kind, reason, by, at: time(4) })
}

fn revoked_key(until: u64) -> Change {
    let subject = Identity::node(name("pi-7"));
    Change::PutRevokedKey(RevokedKey { fingerprint: [3; 32], subject, until: time(until) })
}

/// One of each kind of row, in the order in which they are loaded.
fn state() -> Vec<Change> {
    vec![
        Change::PutToken(token(1)),
        put_node(node("pi-7", 7)),
        Change::PutOperator(operator([Role::Admin, Role::Exec])),
        exclusion(ExclusionKind::Locked),
        revoked_key(9),
    ]
}

#[test]
fn a_new_store_is_empty_and_private() {
    let (_folder, path) = folder();
    let store = open(&path);
    assert_eq!(store.load().unwrap(), Loaded { cluster: None, revision: 0, changes: vec![] });
    for file in fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.bind(&"greenhouse".parse().unwrap()).unwrap();
    store.commit(&state(), 1).unwrap();
    drop(store);
    let loaded = open(&path).load().unwrap();
    assert_eq!(loaded.cluster, Some("greenhouse".parse().unwrap()));
    assert_eq!((loaded.revision, loaded.changes), (1, state()));
}

#[test]
fn what_was_committed_is_there_without_a_proper_end() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.commit(&state(), 1).unwrap();
    // Neither closed nor checkpointed: the commit is in the log only, as after a crash.
    std::mem::forget(store);
    assert_eq!(open(&path).load().unwrap().changes, state());
}

#[test]
fn a_put_replaces_the_whole_row() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.commit(&state(), 1).unwrap();
    let mut changed = node("pi-7", 8);
    changed.inventory.ram_bytes = None;
    changed.labels = Labels::new([("rack", "3")]).unwrap();
    changed.endpoints.truncate(1);
    let second = [
        Change::PutToken(token(0)),
        put_node(changed),
        Change::PutOperator(operator([Role::Logs])),
        exclusion(ExclusionKind::Revoked),
        revoked_key(10),
    ];
    store.commit(&second, 2).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!((loaded.revision, loaded.changes), (2, second.to_vec()));
}

#[test]
fn a_drop_removes_the_row() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.commit(&state(), 1).unwrap();
    let drops = [Change::DropExclusion(Identity::node(name("pi-7"))), Change::DropRevokedKey([3; 32])];
    store.commit(&drops, 2).unwrap();
    assert_eq!(store.load().unwrap().changes, state()[..3]);
}

#[test]
fn every_role_is_read_back() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.commit(&[Change::PutOperator(operator(Role::ALL))], 1).unwrap();
    let [Change::PutOperator(operator)] = &store.load().unwrap().changes[..] else { panic!("one operator") };
    assert_eq!(operator.roles, BTreeSet::from(Role::ALL));
}

#[test]
fn commits_are_flushed_before_they_are_acknowledged() {
    let (_folder, path) = folder();
    let store = open(&path);
    let pragma =
        |name| store.connection().pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
    assert_eq!(pragma("journal_mode").unwrap(), "wal".to_owned().into());
    assert_eq!(pragma("synchronous").unwrap(), 2.into());
    assert_eq!(pragma("foreign_keys").unwrap(), 1.into());
    assert_eq!(pragma("user_version").unwrap(), 2.into());
}

#[test]
fn a_failed_commit_changes_nothing() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.commit(&state(), 1).unwrap();
    let mut orphan = node("pi-8", 8);
    orphan.token = TokenId::of(&[9; 32]);
    // The last change fails in each: a token that is not there, a key that another node has, a time out of range.
    let mut ancient = token(5);
    ancient.expires = UNIX_EPOCH - Duration::from_secs(1);
    for last in [put_node(orphan), put_node(node("pi-8", 7)), Change::PutToken(ancient)] {
        let changes = [Change::PutToken(token(9)), Change::Audit(audit("join")), last];
        assert!(matches!(store.commit(&changes, 2), Err(CommitError::Sqlite(_))));
    }
    let loaded = store.load().unwrap();
    assert_eq!((loaded.revision, loaded.changes), (1, state()));
    assert_eq!(store.audit(0, 10).unwrap(), []);
    store.commit(&[Change::Audit(audit("join"))], 2).unwrap();
}

#[test]
fn a_revision_that_is_not_the_next_is_refused() {
    let (_folder, path) = folder();
    let (mut one, mut two) = (open(&path), open(&path));
    one.commit(&state(), 1).unwrap();
    for revision in [0, 1, 3, u64::MAX] {
        let refused = two.commit(&[Change::PutToken(token(9))], revision);
        assert!(matches!(refused, Err(CommitError::Revision(given)) if given == revision), "{revision}");
    }
    assert_eq!(two.load().unwrap().changes, state());
    two.commit(&[], 2).unwrap();
}

#[test]
fn the_audit_keeps_its_order_and_is_only_added_to() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let actions = ["b", "a", "c", "a"];
    store.commit(&actions[..2].iter().map(|action| Change::Audit(audit(action))).collect::<Vec<_>>(), 1).unwrap();
    store.commit(&actions[2..].iter().map(|action| Change::Audit(audit(action))).collect::<Vec<_>>(), 2).unwrap();
    drop(store);
    let store = open(&path);
    let expected: Vec<_> = (1..).zip(actions.map(audit)).collect();
    assert_eq!(store.audit(0, 10).unwrap(), expected);
    assert_eq!(store.audit(1, 2).unwrap(), expected[1..3]);
    assert_eq!(store.audit(u64::MAX, 2).unwrap(), []);
    for tamper in ["DELETE FROM audit", "UPDATE audit SET who = 'operator/eve'"] {
        assert!(store.connection().execute(tamper, []).is_err());
    }
}

#[test]
fn a_store_belongs_to_one_cluster() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let (ours, theirs) = ("greenhouse".parse().unwrap(), "barn".parse().unwrap());
    store.bind(&ours).unwrap();
    store.bind(&ours).unwrap();
    assert!(matches!(store.bind(&theirs), Err(BindError::OtherCluster(bound)) if bound == "greenhouse"));
    assert_eq!(store.load().unwrap().cluster, Some(ours));
}

#[test]
fn a_store_of_a_later_release_is_left_alone() {
    let (_folder, path) = folder();
    drop(open(&path));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, known: 2 }));
    assert_eq!(error.to_string(), "use a later release: the store has schema 99, this release knows 2");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_of_something_else_is_left_alone() {
    let (_folder, path) = folder();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE nodes (x)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Foreign)));
    assert_eq!(fs::read(&path).unwrap(), before);
    let text = b"this is not a database, but somebody needs it. ".repeat(100);
    fs::write(&path, &text).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Sqlite(_))));
    assert_eq!(fs::read(&path).unwrap(), text);
}

#[test]
fn a_start_that_was_cut_short_is_finished() {
    let (_folder, path) = folder();
    fs::write(&path, b"").unwrap();
    drop(open(&path));
    let (_folder, path) = folder();
    Connection::open(&path).unwrap().pragma_update(None, "journal_mode", "wal").unwrap();
    assert_eq!(open(&path).load().unwrap().revision, 0);
}

#[test]
fn damage_is_found_on_opening() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.commit(&state(), 1).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    // The first page says what there is; the pages after it are overwritten.
    bytes[4096..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Damaged(_) | OpenError::Sqlite(_))));
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let (folder, _) = folder();
    let missing = folder.path().join("missing");
    assert!(matches!(Store::open(&missing.join("state.db")), Err(OpenError::Create(_))));
    assert!(!missing.exists());
}
