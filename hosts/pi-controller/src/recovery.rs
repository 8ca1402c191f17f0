//! The recovery root: its key in a sealed file, and what is done with it on the day when the CA's own key is lost.

use std::path::Path;
use std::time::SystemTime;

use control_lib::{CreateCaError, Decision, Issuer, OpenCaError, RootId, RotateRefusal};
use mtls::{FileError, PemError};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::keys::KeyFolder;
use crate::open::{self, Lock, OpenClusterError};
use crate::passphrase::Passphrase;
use crate::sealed::{self, Purpose, SealError};
use crate::store::CommitError;

/// The file's name unless another is asked for.
pub(crate) const FILE: &str = "recovery.sealed";

/// No new root was made. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The cluster cannot be taken up.
    #[error(transparent)]
    Open(#[from] OpenClusterError),
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] startup::ConfigError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The recovery key cannot be unsealed.
    #[error("{}", .0.display())]
    Seal(std::path::PathBuf, #[source] SealError),
    /// What was sealed is no recovery key.
    #[error("there is no recovery key in the file")]
    Pem(#[from] PemError),
    /// The recovery key cannot be used.
    #[error(transparent)]
    Key(#[from] OpenCaError),
    /// A new root could not be made.
    #[error(transparent)]
    Create(#[from] CreateCaError),
    /// The recovery key is another cluster's.
    #[error(transparent)]
    Refused(#[from] RotateRefusal),
    /// The new root was not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Certificate and key of the recovery root, sealed.
pub(crate) fn export(root: &Issuer, passphrase: &Passphrase) -> Result<Vec<u8>, SealError> {
    let mut text = Zeroizing::new(mtls::write_pem("CERTIFICATE", root.certificate_der()));
    if let Some(key) = root.key() {
        text.push_str(&Zeroizing::new(mtls::write_pem("PRIVATE KEY", key.expose())));
    }
    sealed::seal(Purpose::RecoveryKey, text.as_bytes(), passphrase)
}

fn import(file: &Path, passphrase: &Passphrase) -> Result<Issuer, RecoverError> {
    let sealed = mtls::read_private(file)?;
    let text = sealed::open(Purpose::RecoveryKey, &sealed, passphrase)
        .map_err(|error| RecoverError::Seal(file.to_owned(), error))?;
    let mtls::Pem { certificates, key, request: _ } = mtls::parse_pem(&text)?;
    let (Some(certificate), Some(key)) = (certificates.first(), key) else {
        return Err(OpenCaError::Certificate.into());
    };
    Ok(Issuer::from_der(certificate, key.secret_der())?)
}

/// Makes a new root that signs from the next start of the controller on, certified by the recovery key of `file`. Every
/// member believes it at once, because every bundle has the recovery root; the root of before is believed until it is
/// revoked. The controller of `state` must not run. Answers the new root.
///
/// # Errors
///
/// [`RecoverError`].
pub fn recover(state: &Path, file: &Path, passphrase: &Passphrase) -> Result<RootId, RecoverError> {
    let config = Config::load(state)?;
    let identity = open::identity(&config)?;
    let _lock = Lock::take(state)?;
    let (control, mut store) = open::open(state)?;
    let recovery = import(file, passphrase)?;
    let (now, keys) = (SystemTime::now(), KeyFolder::of(state));
    let next = Issuer::create(control.cluster(), now)?;
    let root = next.id();
    keys.store(&next)?;
    let Decision { changes, answer } = control.recover(now, &identity, next, &recovery);
    let committed = store.commit(&changes, control.next_revision());
    if answer.is_err() || committed.is_err() {
        keys.remove(root);
    }
    committed?;
    answer?;
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InitError, RecoveryExport, init_with};

    #[test]
    fn the_recovery_key_goes_where_it_is_wanted_and_stays_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let (state, out, file) = (folder.path().join("state"), folder.path().join("key"), folder.path().join("pass"));
        mtls::write_private(&file, b"correct horse battery\n").unwrap();
        let init = |state: &Path| {
            let passphrase = Some(Passphrase::read(&file).unwrap());
            let export = RecoveryExport { out: Some(out.clone()), passphrase };
            init_with(state, Some("lab"), "127.0.0.1:0".parse().unwrap(), "lab:7443", export)
        };
        let made = init(&state).unwrap();
        assert_eq!((made.recovery.as_path(), made.recovery_passphrase.is_none()), (out.as_path(), true));
        let (control, _store) = open::open(&state).unwrap();
        assert!(!state.join(FILE).exists() && !control.authority().recovery().has_key());
        assert!(!KeyFolder::of(&state).has(control.authority().recovery().id()));
        let root = import(&out, &Passphrase::read(&file).unwrap()).unwrap();
        assert!(root.has_key() && root == *control.authority().recovery());

        // another cluster does not write over it
        let before = std::fs::read(&out).unwrap();
        assert!(matches!(init(&folder.path().join("other")), Err(InitError::RecoveryExists(_))));
        assert_eq!(std::fs::read(&out).unwrap(), before);
    }
}
