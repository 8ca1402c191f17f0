//! The whole control plane.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use control_lib::{COMEBACK, CsrError, IssueError, Presence};
use mtls::{
    Acceptor, CertificateDer, CredentialsError, Dialer, FileError, Guests, OwnCertificate, TokenKeys, Trust, TrustError,
};
use proto::control::v1::control_plane_server::ControlPlaneServer;
use proto::fleet::v1::audit_server::AuditServer;
use proto::fleet::v1::authority_server::AuthorityServer;
use proto::fleet::v1::enrolment_server::EnrolmentServer;
use proto::fleet::v1::exclusions_server::ExclusionsServer;
use proto::fleet::v1::fleet_server::FleetServer;
use proto::fleet::v1::operators_server::OperatorsServer;
use proto::fleet::v1::tokens_server::TokensServer;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::audit::AuditService;
use crate::authority::AuthorityService;
use crate::authorized::Authorized;
use crate::config::Config;
use crate::control_plane::ControlPlaneService;
use crate::enrolment::EnrolmentService;
use crate::exclusions::ExclusionsService;
use crate::fleet::FleetService;
use crate::keys::KeyFolder;
use crate::ledger::Ledger;
use crate::links::Links;
use crate::open::{Lock, OpenClusterError};
use crate::operators::OperatorsService;
use crate::own_certificate::Own;
use crate::proxy::NodeAgentProxy;
use crate::store::AuditReader;
use crate::tokens::TokensService;
use crate::{believed, enforcement, open, standard};

/// Control messages are small; what is larger is refused before it is read.
const MESSAGE_BYTES: usize = 64 * 1024;
/// A page of the largest list.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A controller cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The cluster cannot be taken up.
    #[error(transparent)]
    Cluster(#[from] OpenClusterError),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
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
    let _lock = Lock::take(&config.state)?;
    let ledger = take_up(&config)?;
    let identity = open::identity(&config)?;
    let certificate =
        Own { identity: identity.clone(), lifetime: config.certificates.controller, folder: config.own_certificate() };
    let (credentials, renew_at) = certificate.take(ledger.read().authority())?;
    let own = OwnCertificate::new(&credentials)?;
    let roots: Vec<_> = ledger.read().authority().bundle().into_iter().map(CertificateDer::from).collect();
    let trust = Trust::new(ledger.read().cluster().as_str(), &roots)?;
    enforcement::admit_by(&ledger, &trust);
    let guests = Guests { token_keys: live_tokens(&ledger), expired_for: COMEBACK };
    let acceptor = Acceptor::new(own.clone(), trust.clone(), Some(guests), config.limits.clone())?;

    let (close, closing) = watch::channel(false);
    let presence = Arc::new(Mutex::new(Presence::new(Presence::INTERVAL)));
    let authority = AuthorityServer::new(AuthorityService::new(ledger.clone(), own.clone(), &config.state))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(ANSWER_BYTES);
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
    let audit = AuditServer::new(AuditService::new(AuditReader::new(&config.database())))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(ANSWER_BYTES);
    let links = Arc::new(Links::new(Dialer::new(own.clone(), trust.clone())));
    let proxy = NodeAgentProxy::new(ledger.clone(), links.clone());
    let enforcing = enforcement::enforce(ledger.clone(), acceptor.sessions(), links.clone());
    let believing = believed::follow(ledger.clone(), trust.clone(), acceptor.sessions());
    let tokens = TokensServer::new(TokensService::new(ledger.clone()))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(ANSWER_BYTES);
    let enrolment = EnrolmentServer::new(EnrolmentService::new(ledger.clone(), presence))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let exclusions =
        ExclusionsServer::new(ExclusionsService::new(ledger.clone())).max_decoding_message_size(MESSAGE_BYTES);
    let (health, reporter) = standard::health().await;
    let reflection = standard::reflection(config.reflection).map(|service| Authorized::new(ledger.clone(), service));
    let routes = mtls::server()
        .add_service(Authorized::new(ledger.clone(), health))
        .add_optional_service(reflection)
        .add_service(Authorized::new(ledger.clone(), control_plane))
        .add_service(Authorized::new(ledger.clone(), fleet))
        .add_service(Authorized::new(ledger.clone(), operators))
        .add_service(Authorized::new(ledger.clone(), audit))
        .add_service(Authorized::new(ledger.clone(), authority))
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
    tokio::select! {
        () = mtls::serve(routes, acceptor, listener, shutdown) => {}
        () = believing => {}
        () = certificate.keep_fresh(&ledger, &own, &links, renew_at) => {}
        () = enforcing => {}
    }
    ledger.recorder().close().await;
    Ok(())
}

fn take_up(config: &Config) -> Result<Arc<Ledger>, ServeError> {
    mtls::check_private_dir(&config.state)?;
    let (control, store) = open::open(&config.state)?;
    for stray in KeyFolder::of(&config.state).strays(control.authority()) {
        tracing::warn!(file = %stray.display(), "the key of no root: delete it unless it belongs to a backup to be restored");
    }
    Ok(Ledger::new(control.with_node_lifetime(config.certificates.node), store))
}

fn live_tokens(ledger: &Arc<Ledger>) -> TokenKeys {
    let ledger = ledger.clone();
    Arc::new(move |key| ledger.read().live_token(SystemTime::now(), key))
}
