//! Whom the control plane has told this node not to let in, kept so that a restart without the control plane refuses the
//! same; and whether this node was itself revoked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use mtls::{FileError, Kind, PeerCertificate, Refusal};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Written when it changes: never by time alone.
const FILE: &str = "trust.toml";

/// What has been told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Told {
    /// Version of the roots that are stored; absent until some have been.
    pub(crate) roots_version: Option<u64>,
    /// This node is not wanted any more.
    pub(crate) revoked: bool,
    /// Such as `operator/anna`.
    pub(crate) denied_identities: BTreeSet<String>,
    /// SHA-256 of the SubjectPublicKeyInfo, in hexadecimal.
    pub(crate) denied_keys: BTreeSet<String>,
}

/// The latest word.
pub(crate) struct Beliefs {
    path: PathBuf,
    told: Mutex<Option<Told>>,
    revoked: watch::Sender<bool>,
}

impl Beliefs {
    /// What was told before this start. If that cannot be read, no operator is let in until it has been told again: a
    /// revoked one could be among them.
    pub(crate) fn load(state: &Path) -> Self {
        let path = state.join(FILE);
        let told = match read(&path) {
            Ok(told) => Some(told),
            Err(why) => {
                tracing::error!(%why, "no operator is let in directly until the control plane has told anew who is denied");
                None
            }
        };
        let revoked = watch::Sender::new(told.as_ref().is_some_and(|told| told.revoked));
        Self { path, told: Mutex::new(told), revoked }
    }

    /// Takes over what is told now, in memory in any case, and durably if anything has changed.
    pub(crate) fn replace(&self, now: Told) -> Result<(), FileError> {
        self.revoked.send_if_modified(|known| std::mem::replace(known, now.revoked) != now.revoked);
        let is_new = self.told().as_ref() != Some(&now);
        *self.told() = Some(now.clone());
        if !is_new {
            return Ok(());
        }
        // four fields of plain types: they can be written
        mtls::write_private(&self.path, toml::to_string(&now).unwrap_or_default().as_bytes())
    }

    /// What is told, if it is known.
    pub(crate) fn latest(&self) -> Told {
        self.told().clone().unwrap_or_default()
    }

    /// Whether this certificate is let in: for [`mtls::Trust::admit_by`].
    pub(crate) fn admit(&self, shown: &PeerCertificate) -> Result<(), Refusal> {
        let told = self.told();
        let Some(told) = told.as_ref() else {
            return if shown.identity.kind == Kind::Operator { Err(Refusal::Locked) } else { Ok(()) };
        };
        // it is not told whether they are locked or revoked
        if !told.denied_identities.is_empty() && told.denied_identities.contains(&shown.identity.to_string()) {
            return Err(Refusal::Locked);
        }
        if !told.denied_keys.is_empty() && told.denied_keys.contains(&HEXLOWER.encode(&shown.fingerprint)) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }

    /// Whether this node was revoked.
    pub(crate) fn is_revoked(&self) -> bool {
        *self.revoked.borrow()
    }

    /// Runs `task`, but leaves it standing while the node is revoked.
    pub(crate) async fn unless_revoked<F: Future>(&self, task: F) -> F::Output {
        let mut revoked = self.revoked.subscribe();
        let mut task = std::pin::pin!(task);
        loop {
            // neither wait fails: the sender is here
            let _ = revoked.wait_for(|revoked| !revoked).await;
            tokio::select! {
                biased;
                _ = revoked.wait_for(|revoked| *revoked) => {}
                output = &mut task => return output,
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, Option<Told>> {
        // whole values only
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<Told, String> {
    let bytes = match mtls::read_private(path) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(Told::default()),
        Err(error) => return Err(startup::one_line(&error)),
    };
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is no text", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), error.message()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use mtls::PeerIdentity;

    use super::*;

    fn shown(kind: Kind, name: &str, fingerprint: u8) -> PeerCertificate {
        let identity = PeerIdentity { cluster: "lab".to_owned(), kind, name: name.to_owned() };
        let (identity, fingerprint) = (Arc::new(identity), [fingerprint; 32]);
        PeerCertificate { identity, fingerprint, not_before: SystemTime::UNIX_EPOCH }
    }

    fn told() -> Told {
        let denied_keys = BTreeSet::from([HEXLOWER.encode(&[7; 32])]);
        let denied_identities = BTreeSet::from(["operator/bob".to_owned()]);
        Told { roots_version: Some(u64::from(u32::MAX) + 1), revoked: false, denied_identities, denied_keys }
    }

    #[test]
    fn who_is_denied_stays_so_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let beliefs = Beliefs::load(folder.path());
        let bob = shown(Kind::Operator, "bob", 1);
        assert_eq!(beliefs.admit(&bob), Ok(()));
        beliefs.replace(told()).unwrap();
        for beliefs in [beliefs, Beliefs::load(folder.path())] {
            assert_eq!(beliefs.admit(&bob), Err(Refusal::Locked));
            assert_eq!(beliefs.admit(&shown(Kind::Node, "bob", 1)), Ok(()), "another kind");
            assert_eq!(beliefs.admit(&shown(Kind::Operator, "anna", 1)), Ok(()));
            assert_eq!(beliefs.admit(&shown(Kind::Operator, "anna", 7)), Err(Refusal::Revoked), "the key");
            assert_eq!(beliefs.latest(), told());
        }
    }

    #[test]
    fn the_same_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let beliefs = Beliefs::load(folder.path());
        beliefs.replace(told()).unwrap();
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        beliefs.replace(told()).unwrap();
        assert!(!folder.path().join(FILE).exists());
    }

    #[test]
    fn what_cannot_be_read_lets_no_operator_in() {
        let folder = tempfile::tempdir().unwrap();
        for damage in ["denied_identities = [", "revoked = 3", "king = 'anna'", "\u{0}"] {
            mtls::write_private(&folder.path().join(FILE), damage.as_bytes()).unwrap();
            let beliefs = Beliefs::load(folder.path());
            assert_eq!(beliefs.admit(&shown(Kind::Operator, "anna", 1)), Err(Refusal::Locked), "{damage}");
            assert_eq!(beliefs.admit(&shown(Kind::Controller, "c1", 1)), Ok(()), "who is to tell anew");
            beliefs.replace(told()).unwrap();
            assert_eq!(beliefs.admit(&shown(Kind::Operator, "anna", 1)), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_for_a_revoked_node_stands_still() {
        let folder = tempfile::tempdir().unwrap();
        let beliefs = Beliefs::load(folder.path());
        beliefs.replace(Told { revoked: true, ..Told::default() }).unwrap();
        assert!(Beliefs::load(folder.path()).is_revoked(), "after a restart too");
        let minute = std::time::Duration::from_secs(60);
        let task = beliefs.unless_revoked(async { 1 });
        tokio::pin!(task);
        assert!(tokio::time::timeout(minute, &mut task).await.is_err());
        beliefs.replace(Told::default()).unwrap();
        assert_eq!(task.await, 1);
    }
}
