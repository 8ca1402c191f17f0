//! S24, S4: a backup brings a cluster back elsewhere; a wrong passphrase, a cut file or another cluster's changes nothing;
//! tokens of before a restore are over.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mtls::JoinToken;
use pi_agent::JoinError;
use pi_controller::{
    BackupError, OpenClusterError, Passphrase, ReadError, RestoreError, SealError, backup, init, restore,
};
use pictl::Exit;
use tests::{Cluster, eventually};

/// Every file below a folder with its content and mode, folders with their mode.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            let content = if metadata.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            all.insert(path, (metadata.permissions().mode() & 0o777, content));
        }
    }
    all
}

fn assert_private(folder: &Path) {
    for (path, (mode, _)) in snapshot(folder) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", path.display());
    }
}

/// Joins a machine whose agent does not run.
async fn join(cluster: &Cluster, token: &JoinToken, name: &str) -> Result<(), JoinError> {
    let (controller, state) = (cluster.address.to_string(), cluster.folder(name));
    pi_agent::join(token, &controller, name, Default::default(), &state).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_from_its_backup() {
    let mut cluster = Cluster::start().await;
    let token = cluster.token(5).await;
    let _fleet = cluster.nodes(1).await;
    join(&cluster, &token, "m-1").await.unwrap();
    let unused = cluster.token(1).await;
    // of a running controller, in the middle of a rotation
    assert_eq!(cluster.pictl(&["ca", "rotate", "prepare"]).await.exit, Exit::Done);
    let (file, passphrase) = (cluster.folder("cluster.backup"), Passphrase::draw().unwrap());
    let said = cluster.pictl(&["ca", "status"]).await.out;
    assert!(said.contains("no backup has the key that signs now"), "{said}");
    let made = backup(&cluster.controller_state(), &file, &passphrase).unwrap();
    assert_eq!(made.cluster, "lab");
    let said = cluster.pictl(&["ca", "status"]).await.out;
    assert!(!said.contains("no backup"), "{said}");
    assert!(matches!(backup(&cluster.controller_state(), &file, &passphrase), Err(BackupError::Exists(_))));
    assert_private(&cluster.controller_state());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // what happens after the backup is lost, and so must be what a token did meanwhile
    join(&cluster, &unused, "m-2").await.unwrap();
    assert_eq!(cluster.pictl(&["ca", "rotate", "activate"]).await.exit, Exit::Done);
    cluster.stop().await;
    let keys_before = cluster.authority();
    fs::remove_dir_all(cluster.controller_state()).unwrap();
    let done = restore(&file, &cluster.controller_state(), &passphrase, false).unwrap();
    assert_eq!((done.cluster.as_str(), done.revision, done.epoch, done.set_aside), ("lab", made.revision, 1, None));
    assert_private(&cluster.controller_state());
    cluster.resume().await;

    eventually(async || cluster.pictl(&["health", "sim-1"]).await.exit == Exit::Done).await;
    let status: serde_json::Value =
        serde_json::from_str(&cluster.pictl(&["ca", "status", "-o", "json"]).await.out).unwrap();
    assert_eq!((status["rotation"].as_str(), status["epoch"].as_str()), (Some("ROTATION_STATE_PREPARED"), Some("1")));
    let version = cluster.authority().roots_version();
    assert!(version > keys_before.roots_version(), "above what any node has heard");
    // m-1 does not run
    eventually(async || cluster.pictl(&["ca", "status", "-o", "json"]).await.out.contains("\"lagging_count\": 1"))
        .await;

    // S4: the used token and the unused one, both of before
    for (token, name) in [(&token, "m-3"), (&unused, "m-2b")] {
        join(&cluster, token, name).await.unwrap_err();
    }
    let fresh = cluster.token(1).await;
    join(&cluster, &fresh, "m-4").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_fit_changes_nothing() {
    let mut cluster = Cluster::start().await;
    let (file, passphrase) = (cluster.folder("cluster.backup"), Passphrase::draw().unwrap());
    backup(&cluster.controller_state(), &file, &passphrase).unwrap();
    cluster.stop().await;
    let (state, elsewhere) = (cluster.controller_state(), cluster.folder("elsewhere"));
    let parent = state.parent().unwrap().to_owned();
    let whole = fs::read(&file).unwrap();
    let cut = cluster.folder("cut.backup");
    mtls::write_private(&cut, &whole[..whole.len() - 1]).unwrap();
    let changed = cluster.folder("changed.backup");
    let mut bits = whole.clone();
    *bits.last_mut().unwrap() ^= 1;
    mtls::write_private(&changed, &bits).unwrap();
    let foreign = cluster.folder("foreign");
    let orchard = init(&foreign, Some("orchard"), cluster.address, "orchard:7443").unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let before = snapshot(&parent);

    // whether the place is taken, with and without leave to replace, or free
    for (state, replace) in [(&state, true), (&state, false), (&elsewhere, false)] {
        let refused = |file: &Path, passphrase: &Passphrase| restore(file, state, passphrase, replace).unwrap_err();
        let wrong = Passphrase::draw().unwrap();
        let by_passphrase = |error| matches!(error, RestoreError::Read(ReadError::Seal(_, SealError::Passphrase)));
        assert!(by_passphrase(refused(&file, &wrong)));
        assert!(by_passphrase(refused(&changed, &passphrase)));
        assert!(matches!(refused(&cut, &passphrase), RestoreError::Read(ReadError::Seal(_, SealError::Length))));
        let recovery = refused(&orchard.recovery, orchard.recovery_passphrase.as_ref().unwrap());
        assert!(matches!(recovery, RestoreError::Read(ReadError::Seal(_, SealError::Form(_)))));
    }
    for replace in [true, false] {
        let refused = restore(&file, &foreign, &passphrase, replace).unwrap_err();
        assert!(matches!(refused, RestoreError::OtherCluster { .. }), "{refused}");
    }
    let refused = restore(&file, &state, &passphrase, false).unwrap_err();
    assert!(matches!(refused, RestoreError::Exists(_)), "{refused}");
    let after = snapshot(&parent);
    let differing: Vec<_> = after.iter().filter(|(path, what)| before.get(*path) != Some(what)).collect();
    // SQLite makes its two empty files when a store is looked at
    assert!(differing.iter().all(|(path, _)| path.to_string_lossy().contains("state.db-")), "{:?}", differing);

    // while a controller runs there, it is not replaced
    cluster.resume().await;
    let refused = restore(&file, &state, &passphrase, true).unwrap_err();
    assert!(matches!(refused, RestoreError::Open(OpenClusterError::Running(_))), "{refused}");
    cluster.stop().await;

    // the control: the same backup with the right passphrase does restore, and sets aside what was there
    let done = restore(&file, &state, &passphrase, true).unwrap();
    assert!(done.set_aside.unwrap().join("state.db").exists());
    cluster.resume().await;
    assert_eq!(cluster.pictl(&["node", "list"]).await.exit, Exit::Done);
}

/// No copy of the store can sign: the keys are elsewhere. And what leaves the machine shows neither keys nor state.
#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_in_the_store_or_readable_in_a_backup() {
    let cluster = Cluster::start().await;
    let key = cluster.issuer().key().unwrap();
    // the secret number of the key, in the middle of PKCS #8
    let secret = &key.expose()[36..68];
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(holds(key.expose()));
    let (file, passphrase) = (cluster.folder("cluster.backup"), Passphrase::draw().unwrap());
    backup(&cluster.controller_state(), &file, &passphrase).unwrap();
    for path in [cluster.controller_state().join("state.db"), cluster.controller_state().join("state.db-wal"), file] {
        assert!(!holds(&fs::read(&path).unwrap()), "{}", path.display());
    }
}
