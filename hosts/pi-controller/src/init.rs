//! Makes a cluster: its two roots, its store and its first operator.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use control_lib::{
    AddOperatorRefusal, Authority, AuthorityError, Change, ClusterId, Control, CreateCaError, CsrError, Decision,
    Identity, IssueError, Issuer, Lifetime, Name, OpenCaError, OperatorSpec, PublicKey, Role,
};
use data_encoding::BASE32_NOPAD;
use mtls::{CertificateDer, Context, ContextError, Credentials, CredentialsError, FileError, OwnKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::{Config, Lifetimes};
use crate::keys::KeyFolder;
use crate::passphrase::{Passphrase, PassphraseError};
use crate::recovery;
use crate::sealed::SealError;
use crate::store::{BindError, CommitError, OpenError, Store};

const FIRST_OPERATOR: &str = "admin";

/// A cluster could not be made. What was made so far is left behind; start again in an empty folder.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one already.
    #[error("{0} already holds a cluster: choose an empty folder")]
    Exists(String),
    /// A name is no DNS label.
    #[error("{0} is not a name: expected lower-case letters, digits and hyphens, at most 63")]
    Name(String),
    /// No random bytes.
    #[error("no random bytes for a cluster id")]
    Random,
    /// The CA could not be made.
    #[error(transparent)]
    Ca(#[from] CreateCaError),
    /// The operator's key could not be certified.
    #[error(transparent)]
    Csr(#[from] CsrError),
    /// The operator's key could not be certified.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The CA could not be read back.
    #[error(transparent)]
    Open(#[from] OpenCaError),
    /// The roots are no authority; none in practice.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The recovery key has nowhere to go.
    #[error("{0} exists: name another file for the recovery key")]
    RecoveryExists(String),
    /// There is no passphrase for the recovery key.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The recovery key could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key could not be made.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The operator's context could not be written.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The first operator was refused.
    #[error(transparent)]
    Operator(#[from] AddOperatorRefusal),
}

/// Where the recovery root's key goes, the only time that it is there.
#[derive(Debug, Default)]
pub struct RecoveryExport {
    /// A file that does not exist; by default `recovery.sealed` in the state folder.
    pub out: Option<PathBuf>,
    /// What seals it; by default one is drawn and handed back in [`Initialised`].
    pub passphrase: Option<Passphrase>,
}

/// What was made.
#[derive(Debug)]
pub struct Initialised {
    /// The cluster's id.
    pub cluster: String,
    /// The first operator's context for `pictl`. A secret.
    pub context: PathBuf,
    /// The sealed key of the recovery root. Belongs somewhere else than on this machine.
    pub recovery: PathBuf,
    /// What opens it, if it was drawn: nobody keeps it but who is told now.
    pub recovery_passphrase: Option<Passphrase>,
}

/// Makes a cluster in `state`, a folder that is empty or does not exist.
///
/// `advertise` is the `host:port` by which operators reach the control plane; it goes into the first operator's context.
///
/// # Errors
///
/// [`InitError`].
pub fn init(
    state: &Path,
    cluster: Option<&str>,
    listen: SocketAddr,
    advertise: &str,
) -> Result<Initialised, InitError> {
    init_with(state, cluster, listen, advertise, RecoveryExport::default())
}

/// The same, with a place for the recovery key.
///
/// # Errors
///
/// [`InitError`].
pub fn init_with(
    state: &Path,
    cluster: Option<&str>,
    listen: SocketAddr,
    advertise: &str,
    export: RecoveryExport,
) -> Result<Initialised, InitError> {
    mtls::create_private_dir(state)?;
    let config = Config {
        state: state.to_owned(),
        id: "c1".to_owned(),
        listen,
        reflection: false,
        certificates: Lifetimes::default(),
    };
    if config.database().exists() {
        return Err(InitError::Exists(state.display().to_string()));
    }
    let cluster = cluster.map_or_else(random_cluster, |name| Ok(name.to_owned()))?;
    let cluster: ClusterId = cluster.parse().map_err(|_| InitError::Name(cluster))?;
    let now = SystemTime::now();
    let issuer = Issuer::create(&cluster, now)?;
    let admin: Name = FIRST_OPERATOR.parse().map_err(|_| InitError::Name(FIRST_OPERATOR.to_owned()))?;
    let context = Config::admin_context(state);
    let (recovery_root, recovery, recovery_passphrase) = export_recovery(&cluster, now, state, export)?;

    KeyFolder::of(state).store(&issuer)?;
    let authority = Authority::new(issuer, recovery_root)?;
    let credentials = operator_credentials(&authority, &admin, now, config.certificates.operator)?;
    Context::store(&context, advertise, &credentials)?;
    config.store()?;
    // Last, in one transaction: whoever finds the roots finds everything.
    store_first_state(&config, authority, admin, now)?;
    Ok(Initialised { cluster: cluster.to_string(), context, recovery, recovery_passphrase })
}

/// The recovery root without its key, which is in the file from now on and nowhere else.
fn export_recovery(
    cluster: &ClusterId,
    now: SystemTime,
    state: &Path,
    export: RecoveryExport,
) -> Result<(Issuer, PathBuf, Option<Passphrase>), InitError> {
    let RecoveryExport { out, passphrase } = export;
    let out = out.unwrap_or_else(|| state.join(recovery::FILE));
    if out.exists() {
        return Err(InitError::RecoveryExists(out.display().to_string()));
    }
    let drawn = if passphrase.is_none() { Some(Passphrase::draw()?) } else { None };
    let root = Issuer::create_recovery(cluster, now)?;
    if let Some(passphrase) = passphrase.as_ref().or(drawn.as_ref()) {
        mtls::write_private(&out, &recovery::export(&root, passphrase)?)?;
    }
    Ok((Issuer::without_key(root.certificate_der())?, out, drawn))
}

fn random_cluster() -> Result<String, InitError> {
    let mut bytes = [0; 5];
    SystemRandom::new().fill(&mut bytes).map_err(|_| InitError::Random)?;
    Ok(format!("pi-{}", BASE32_NOPAD.encode(&bytes).to_lowercase()))
}

fn operator_credentials(
    authority: &Authority,
    name: &Name,
    now: SystemTime,
    lifetime: Lifetime,
) -> Result<Credentials, InitError> {
    let key = OwnKey::generate()?;
    let public = PublicKey::from_csr(&key.csr()?)?;
    let who = Identity::operator(name.clone());
    let certificate = authority.signing().issue(&public, &who, now, lifetime)?;
    let certificates = |list: Vec<Vec<u8>>| list.into_iter().map(CertificateDer::from);
    let chain = authority.chain_of(&certificate.der);
    Ok(Credentials {
        chain: certificates(vec![certificate.der]).chain(certificates(chain)).collect(),
        key: key.into_private_key(),
        roots: certificates(authority.bundle()).collect(),
    })
}

fn store_first_state(config: &Config, authority: Authority, name: Name, now: SystemTime) -> Result<(), InitError> {
    let mut store = Store::open(&config.database())?;
    store.bind(authority.cluster())?;
    let control = Control::new(authority.clone());
    let id: Name = config.id.parse().map_err(|_| InitError::Name(config.id.clone()))?;
    let spec = OperatorSpec { name, roles: BTreeSet::from([Role::Admin]) };
    let Decision { mut changes, answer } = control.add_operator(now, &Identity::controller(id), spec);
    changes.push(Change::PutAuthority(Box::new(authority)));
    store.commit(&changes, control.next_revision())?;
    answer?;
    Ok(())
}
