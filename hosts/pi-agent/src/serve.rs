//! The whole agent, on whatever board it is given.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use agent_lib::Agent;
use hal_core::{Board, Buses, MetricsSource};
use mtls::{
    Acceptor, Credentials, CredentialsError, DialError, Dialer, Expect, IdentityError, Kind, Limits, OwnCertificate,
    PeerIdentity, Trust, TrustError,
};
use proto::agent::v1::node_agent_server::NodeAgentServer;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::access::Access;
use crate::buses::BusWorkers;
use crate::config::Config;
use crate::exec::{ExecError, Executor};
use crate::hardware::Hardware;
use crate::join::joined_controller;
use crate::sampler;
use crate::service::{Node, Service};
use crate::uplink::Uplink;
use crate::{boots, driver, watchdog};

/// Control messages are small; what is larger is refused before it is read.
const MESSAGE_BYTES: usize = 64 * 1024;

/// The two kept outputs of a command; clients take 4 MiB unless they say otherwise.
const ANSWER_BYTES: usize = 3 << 20;

/// When sampling and reporting begin.
const AFTER_START: Duration = Duration::from_millis(20);

/// An agent cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No certificate yet.
    #[error("no certificate in {0}: run pi-agent join first")]
    NotJoined(String),
    /// The certificate cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The state folder cannot be used.
    #[error(transparent)]
    File(#[from] mtls::FileError),
    /// The certificate names nobody.
    #[error("the certificate in {0} is not a node's: run pi-agent join in an empty folder")]
    NotANode(String, #[source] Option<IdentityError>),
    /// The roots cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The TLS library cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] mtls::TlsError),
    /// The controller's address is wrong.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Commands are on, and cannot be run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The listener is gone.
    #[error("cannot serve")]
    Listener(#[from] std::io::Error),
    /// The HTTP server failed.
    #[error("the server failed")]
    Server(#[from] tonic::transport::Error),
}

/// Serves `NodeAgent` on `listener` until `shutdown`, reports to the control plane if there is one, and leaves every
/// held line in its safe state.
///
/// # Errors
///
/// If the state folder holds no node's certificate, or the server fails. A control plane that cannot be reached is no
/// error: the agent works without, and goes on trying.
pub async fn serve<B, M, U>(
    config: Config,
    hardware: Hardware<B, M, U>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError>
where
    B: Board<Line: Send> + Send + 'static,
    M: MetricsSource + Send + 'static,
    U: Buses<I2c: Send> + Send + 'static,
{
    let Hardware { board, buses, metrics, inventory, runner } = hardware;
    let credentials = load(&config)?;
    let identity = node_identity(&config, &credentials)?;
    let own = OwnCertificate::new(&credentials)?;
    let trust = Trust::new(&identity.cluster, &credentials.roots)?;
    let acceptor = Acceptor::new(own.clone(), trust.clone(), None, Limits::default())?;
    let address = listener.local_addr()?;

    let starts = boots::count(&config.state)?;
    let mut agent =
        Agent::new(board, config.policy.clone()).with_epoch(starts).with_first_token(boots::first_token(starts));
    restore(&mut agent);
    let node =
        Arc::new(Node::new(identity.name.clone(), inventory.boot_id.clone(), Access::new(&config.operators), agent));
    let mut uplink = None;
    if let Some(controller) = config.controller.clone().or_else(|| joined_controller(&config.state)) {
        let channel = Dialer::new(own, trust).channel(&controller, Expect::Controller)?;
        let endpoints = endpoints(&config, address, &controller);
        uplink = Some(Uplink::new(node.clone(), channel, inventory, config.labels.clone(), endpoints));
    }
    let executor = Arc::new(Executor::new(config.exec.clone(), runner, &config.state, starts)?);
    let service = Service { node: node.clone(), buses: BusWorkers::new(buses), executor: executor.clone() };
    let service =
        NodeAgentServer::new(service).max_decoding_message_size(MESSAGE_BYTES).max_encoding_message_size(ANSWER_BYTES);
    tracing::info!(node = %identity.name, cluster = %identity.cluster, %address, "serving");
    watchdog::ready();

    let serving = mtls::serve(mtls::server().add_service(service), acceptor, listener, shutdown);
    // Who waits for this agent is answered before it turns to its own affairs.
    let sampling = async {
        sleep(AFTER_START).await;
        sampler::sample(metrics, &node).await;
    };
    let reporting = async {
        sleep(AFTER_START).await;
        match uplink {
            Some(uplink) => uplink.run().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = serving => ended,
        () = sampling => Ok(()),
        () = driver::drive(node.clone()) => Ok(()),
        () = reporting => Ok(()),
    };
    node.let_go();
    executor.close().await;
    Ok(ended?)
}

/// Before the first call is accepted.
fn restore<B: Board>(agent: &mut Agent<B>) {
    let now = agent.board().now();
    for (line, refusal) in agent.restore(now, &[]) {
        tracing::error!(%line, why = %startup::one_line(&refusal), "cannot be restored");
    }
}

fn load(config: &Config) -> Result<Credentials, ServeError> {
    Credentials::load(&config.state).map_err(|error| match error {
        CredentialsError::File(file) if file.is_not_found() => {
            ServeError::NotJoined(config.state.display().to_string())
        }
        other => other.into(),
    })
}

fn node_identity(config: &Config, credentials: &Credentials) -> Result<PeerIdentity, ServeError> {
    let not_a_node = |cause| ServeError::NotANode(config.state.display().to_string(), cause);
    let leaf = credentials.chain.first().ok_or_else(|| not_a_node(None))?;
    let identity = PeerIdentity::from_certificate(leaf).map_err(|error| not_a_node(Some(error)))?;
    (identity.kind == Kind::Node).then_some(identity).ok_or_else(|| not_a_node(None))
}

/// Where the controller can reach this node: as configured, else the listener's address, else the address from which
/// this machine reaches the controller.
fn endpoints(config: &Config, listener: SocketAddr, controller: &str) -> Vec<String> {
    if !config.advertise.is_empty() {
        return config.advertise.clone();
    }
    if !listener.ip().is_unspecified() {
        return vec![listener.to_string()];
    }
    // connecting a datagram socket sends nothing; it only asks for the route
    let route = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect(controller)?;
        socket.local_addr()
    });
    route.map(|own| SocketAddr::new(own.ip(), listener.port()).to_string()).into_iter().collect()
}
