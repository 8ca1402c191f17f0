//! The whole control plane.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use control_lib::{Control, CsrError, Identity, IssueError, Issuer, Name, OpenCaError, Presence};
use mtls::{
    Acceptor, CredentialsError, Dialer, FileError, Limits, OwnCertificate, Pem, PemError, TokenKeys, Trust, TrustError,
};
use proto::control::v1::control_plane_server::ControlPlaneServer;
use proto::fleet::v1::audit_server::AuditServer;
use proto::fleet::v1::enrolment_server::EnrolmentServer;
use proto::fleet::v1::exclusions_server::ExclusionsServer;
use proto::fleet::v1::fleet_server::FleetServer;
use proto::fleet::v1::operators_server::OperatorsServer;
use proto::fleet::v1::tokens_server::TokensServer;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::audit::AuditService;
use crate::authorized::Authorized;
use crate::config::Config;
use crate::control_plane::ControlPlaneService;
use crate::enrolment::EnrolmentService;
use crate::exclusions::ExclusionsService;
use crate::fleet::FleetService;
use crate::ledger::Ledger;
use crate::links::Links;
use crate::operators::OperatorsService;
use crate::proxy::NodeAgentProxy;
use crate::store::{AuditReader, LoadError, OpenError, Store};
use crate::tokens::TokensService;
use crate::{enforcement, own_certificate, standard};

/// Control messages are small; what is larger is refused before it is read.
const MESSAGE_BYTES: usize = 64 * 1024;
/// A page of the largest list.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A controller cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No cluster yet.
    #[error("{0} holds no cluster: run pi-controller init first")]
    NotInitialised(String),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The CA's files hold something else.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The CA cannot be used.
    #[error(transparent)]
    Ca(#[from] OpenCaError),
    /// The configured id is no name.
    #[error("id {0} in controller.toml is not a name: expected lower-case letters, digits and hyphens")]
    Id(String),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store is another cluster's.
    #[error("the store belongs to cluster {0}, the CA to another: put the right files together")]
    OtherCluster(String),
    /// The controller could not certify itself.
    #[error(transparent)]
    Csr(#[from] CsrError),
    /// The controller could not certify itself.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// Key and certificate could not be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The roots cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The TLS library cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] mtls::TlsError),
    /// The listener is gone.
    #[error("cannot serve")]
    Listener(#[from] std::io::Error),
    /// The HTTP server failed.
    #[error("the server failed")]
    Server(#[from] tonic::transport::Error),
}

/// Serves `ControlPlane`, the fleet API and the proxy to the nodes on `listener` until `shutdown`.
///
/// # Errors
///
/// If the state folder holds no cluster or a damaged one, or the server fails.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let ledger = open(&config)?;
    let id: Name = config.id.parse().map_err(|_| ServeError::Id(config.id.clone()))?;
    let identity = Identity::controller(id);
    let (credentials, renew_at) = own_certificate::issue(ledger.read().issuer(), &identity)?;
    let own = OwnCertificate::new(&credentials)?;
    let trust = Trust::new(ledger.read().cluster().as_str(), &credentials.roots)?;
    enforcement::admit_by(&ledger, &trust);
    let acceptor = Acceptor::new(own.clone(), trust.clone(), Some(live_tokens(&ledger)), Limits::default())?;

    let (close, closing) = watch::channel(false);
    let presence = Arc::new(Mutex::new(Presence::new(Presence::INTERVAL)));
    let control_plane = ControlPlaneServer::new(ControlPlaneService::new(
        ledger.clone(),
        presence.clone(),
        acceptor.sessions(),
        identity.clone(),
        closing,
    ))
    .max_decoding_message_size(MESSAGE_BYTES)
    .max_encoding_message_size(MESSAGE_BYTES);
    let fleet = FleetServer::new(FleetService::new(ledger.clone(), presence.clone()))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(ANSWER_BYTES);
    let operators = OperatorsServer::new(OperatorsService::new(ledger.clone()))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(ANSWER_BYTES);
    let exclusions =
        ExclusionsServer::new(ExclusionsService::new(ledger.clone())).max_decoding_message_size(MESSAGE_BYTES);
    let tokens = TokensServer::new(TokensService::new(ledger.clone()))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(ANSWER_BYTES);
    let enrolment = EnrolmentServer::new(EnrolmentService::new(ledger.clone(), presence))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let audit = AuditServer::new(AuditService::new(AuditReader::new(&config.database())))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(ANSWER_BYTES);
    let links = Arc::new(Links::new(Dialer::new(own.clone(), trust)));
    let proxy = NodeAgentProxy::new(ledger.clone(), links.clone());
    let enforcing = enforcement::enforce(ledger.clone(), acceptor.sessions(), links);
    let (health, reporter) = standard::health().await;
    let reflection = standard::reflection(config.reflection).map(|service| Authorized::new(ledger.clone(), service));
    let routes = mtls::server()
        .add_service(Authorized::new(ledger.clone(), health))
        .add_optional_service(reflection)
        .add_service(Authorized::new(ledger.clone(), control_plane))
        .add_service(Authorized::new(ledger.clone(), fleet))
        .add_service(Authorized::new(ledger.clone(), audit))
        .add_service(Authorized::new(ledger.clone(), operators))
        .add_service(Authorized::new(ledger.clone(), tokens))
        .add_service(Authorized::new(ledger.clone(), enrolment))
        .add_service(Authorized::new(ledger.clone(), exclusions))
        .add_service(Authorized::new(ledger.clone(), proxy));
    tracing::info!(cluster = %ledger.read().cluster(), address = %listener.local_addr()?, %identity, "serving");

    let shutdown = async {
        shutdown.await;
        close.send_replace(true);
        reporter.end().await;
    };
    let ended = tokio::select! {
        ended = mtls::serve(routes, acceptor, listener, shutdown) => ended,
        () = enforcing => Ok(()),
        () = own_certificate::keep_fresh(ledger.clone(), identity, own, renew_at) => Ok(()),
    };
    ledger.recorder().close().await;
    Ok(ended?)
}

fn open(config: &Config) -> Result<Arc<Ledger>, ServeError> {
    if !config.ca_certificate().exists() || !config.database().exists() {
        return Err(ServeError::NotInitialised(config.state.display().to_string()));
    }
    let issuer = read_issuer(config)?;
    let store = Store::open(&config.database())?;
    let loaded = store.load()?;
    match loaded.cluster {
        Some(cluster) if cluster != *issuer.cluster() => return Err(ServeError::OtherCluster(cluster.to_string())),
        Some(_) => {}
        None => return Err(ServeError::NotInitialised(config.state.display().to_string())),
    }
    Ok(Ledger::new(Control::restore(issuer, loaded.revision, loaded.changes), store))
}

fn read_issuer(config: &Config) -> Result<Issuer, ServeError> {
    let Pem { certificates, .. } = mtls::parse_pem(&mtls::read_private(&config.ca_certificate())?)?;
    let Pem { key, .. } = mtls::parse_pem(&mtls::read_private(&config.ca_key())?)?;
    let not_initialised = || ServeError::NotInitialised(config.state.display().to_string());
    let certificate = certificates.first().ok_or_else(not_initialised)?;
    let key = key.ok_or_else(not_initialised)?;
    Ok(Issuer::from_der(certificate, key.secret_der())?)
}

fn live_tokens(ledger: &Arc<Ledger>) -> TokenKeys {
    let ledger = ledger.clone();
    Arc::new(move |key| ledger.read().live_token(SystemTime::now(), key))
}
