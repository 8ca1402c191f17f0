//! Makes a cluster: its CA, its store and its first operator.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use control_lib::{
    AddOperatorRefusal, ClusterId, Control, CreateCaError, CsrError, Decision, Identity, IssueError, Issuer, Lifetime,
    Name, OperatorSpec, PublicKey, Role,
};
use data_encoding::BASE32_NOPAD;
use mtls::{CertificateDer, Context, ContextError, Credentials, CredentialsError, FileError, OwnKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::{Config, Lifetimes};
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
    Open(#[from] OpenError),
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

/// What was made.
#[derive(Debug)]
pub struct Initialised {
    /// The cluster's id.
    pub cluster: String,
    /// The first operator's context for `pictl`. A secret.
    pub context: PathBuf,
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
    mtls::create_private_dir(state)?;
    let config = Config {
        state: state.to_owned(),
        id: "c1".to_owned(),
        listen,
        reflection: false,
        certificates: Lifetimes::default(),
    };
    if config.ca_certificate().exists() {
        return Err(InitError::Exists(state.display().to_string()));
    }
    let cluster = cluster.map_or_else(random_cluster, |name| Ok(name.to_owned()))?;
    let cluster: ClusterId = cluster.parse().map_err(|_| InitError::Name(cluster))?;
    let now = SystemTime::now();
    let issuer = Issuer::create(&cluster, now)?;
    let admin: Name = FIRST_OPERATOR.parse().map_err(|_| InitError::Name(FIRST_OPERATOR.to_owned()))?;
    let credentials = operator_credentials(&issuer, &admin, now, config.certificates.operator)?;
    let context = Config::admin_context(state);

    mtls::write_private(&config.ca_key(), mtls::write_pem("PRIVATE KEY", issuer.key().expose()).as_bytes())?;
    Context::store(&context, advertise, &credentials)?;
    config.store()?;
    let ca = mtls::write_pem("CERTIFICATE", issuer.certificate_der());
    store_first_operator(&config, issuer, admin, now)?;
    // Last: whoever finds the CA's certificate finds everything.
    mtls::write_private(&config.ca_certificate(), ca.as_bytes())?;
    Ok(Initialised { cluster: cluster.to_string(), context })
}

fn random_cluster() -> Result<String, InitError> {
    let mut bytes = [0; 5];
    SystemRandom::new().fill(&mut bytes).map_err(|_| InitError::Random)?;
    Ok(format!("pi-{}", BASE32_NOPAD.encode(&bytes).to_lowercase()))
}

fn operator_credentials(
    issuer: &Issuer,
    name: &Name,
    now: SystemTime,
    lifetime: Lifetime,
) -> Result<Credentials, InitError> {
    let key = OwnKey::generate()?;
    let public = PublicKey::from_csr(&key.csr()?)?;
    let certificate = issuer.issue(&public, &Identity::operator(name.clone()), now, lifetime)?;
    let ca = CertificateDer::from(issuer.certificate_der().to_vec());
    Ok(Credentials {
        chain: vec![CertificateDer::from(certificate.der), ca.clone()],
        key: key.into_private_key(),
        roots: vec![ca],
    })
}

fn store_first_operator(config: &Config, issuer: Issuer, name: Name, now: SystemTime) -> Result<(), InitError> {
    let mut store = Store::open(&config.database())?;
    store.bind(issuer.cluster())?;
    let control = Control::new(issuer);
    let id: Name = config.id.parse().map_err(|_| InitError::Name(config.id.clone()))?;
    let spec = OperatorSpec { name, roles: BTreeSet::from([Role::Admin]) };
    let Decision { changes, answer } = control.add_operator(now, &Identity::controller(id), spec);
    store.commit(&changes, control.next_revision())?;
    answer?;
    Ok(())
}
