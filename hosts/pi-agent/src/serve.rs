//! The whole agent, on whatever board it is given.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use agent_lib::{Agent, ConditionKind, Verdict};
use hal_core::{Board, Buses, LineId, MetricsSource};
use mtls::{
    Acceptor, Credentials, CredentialsError, DialError, Dialer, Expect, IdentityError, Kind, Limits, OwnCertificate,
    PeerIdentity, Trust, TrustError,
};
use proto::agent::v1::node_agent_server::NodeAgentServer;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::access::Access;
use crate::audit::Auditor;
use crate::beliefs::Beliefs;
use crate::buses::BusWorkers;
use crate::checked::Checked;
use crate::conditions::Conditions;
use crate::config::Config;
use crate::exec::{ExecError, Executor};
use crate::hardware::Hardware;
use crate::join::joined_controller;
use crate::last::{self, LastLevels};
use crate::logs::Logs;
use crate::sampler;
use crate::service::{Node, Service};
#[cfg(feature = "reflection")]
use crate::standard::reflection;
use crate::standard::standard_health;
use crate::trust_watch::TrustWatch;
use crate::uplink::Uplink;
use crate::{boots, driver, limits, trust_watch, watchdog};

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
    /// The metrics cannot be served.
    #[error(transparent)]
    Prometheus(#[from] startup::ListenError),
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
/// If the state folder holds no node's certificate, or the server fails; lines that a killed agent left driven are safe by
/// then all the same. A control plane that cannot be reached is no
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
    let Hardware { board, pwm, buses, metrics, log, inventory, runner } = hardware;
    // First of all, and even if all else fails: the agent before this one may have been killed while it drove a line.
    let mut agent = Agent::new(board, config.policy.clone()).with_pwm(pwm);
    let mut last_levels = LastLevels::load(&config.state);
    let restored = restore(&mut agent, last_levels.levels());
    let credentials = load(&config)?;
    let identity = node_identity(&config, &credentials)?;
    let own = OwnCertificate::new(&credentials)?;
    let trust = Trust::new(&identity.cluster, &credentials.roots)?;
    let beliefs = Arc::new(Beliefs::load(&config.state));
    let admitting = beliefs.clone();
    trust.admit_by(move |shown| admitting.admit(shown));
    let acceptor = Acceptor::new(own.clone(), trust.clone(), None, Limits::default())?;
    let address = listener.local_addr()?;
    #[cfg(feature = "prometheus")]
    let scrapes = match config.prometheus {
        Some(crate::Prometheus { listen, tls }) => {
            Some((startup::listen(listen).await?, tls.then(|| acceptor.clone())))
        }
        None => None,
    };

    let starts = boots::count(&config.state)?;
    let agent = agent.with_epoch(starts).with_first_token(boots::first_token(starts));
    let (access, limits) =
        (Access::new(&config.operators, beliefs.clone()), limits::Limits::new(config.operations_per_second));
    let chain = audit::node_chain(&identity.cluster, &identity.name);
    let (auditor, auditing) = Auditor::start(&config.state, chain);
    let (id, boot_id) = (identity.name.clone(), inventory.boot_id.clone());
    let node = Arc::new(Node::new(id, boot_id, access, limits, auditor.clone(), agent));
    node.judge(ConditionKind::Policy, restored);
    if beliefs.is_revoked() {
        node.let_go(); // what was restored too: nobody is to switch it off later
    }
    let conditions = Conditions { root: config.root.clone(), state: config.state.clone(), certificate: own.clone() };
    let mut uplink = None;
    if let Some(controller) = config.controller.clone().or_else(|| joined_controller(&config.state)) {
        let channel = Dialer::new(own, trust.clone()).channel(&controller, Expect::Controller)?;
        let endpoints = endpoints(&config, address, &controller);
        uplink = Some(Uplink::new(node.clone(), channel, inventory, config.labels.clone(), endpoints));
    }
    let buses = BusWorkers::new(node.clone(), config.buses.clone(), buses);
    let logs = Logs::new(&config.logs, log);
    let executor = Arc::new(Executor::new(config.exec.clone(), runner, auditor, &config.state, starts)?);
    let watching_trust = uplink.as_ref().map(|uplink| {
        let (client, registration) = uplink.registration();
        let (node, beliefs, sessions, executor) =
            (node.clone(), beliefs.clone(), acceptor.sessions(), executor.clone());
        let (state, instance) = (config.state.clone(), trust_watch::instance());
        TrustWatch { node, beliefs, trust, sessions, executor, state, client, registration, instance }
    });
    let service = NodeAgentServer::new(Service { node: node.clone(), buses, logs, executor: executor.clone() })
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(ANSWER_BYTES);
    tracing::info!(node = %identity.name, cluster = %identity.cluster, %address, "serving");
    watchdog::ready();

    let (health, reporter) = standard_health(&node).await;
    let routes = mtls::server().add_service(Checked::new(&node, service)).add_service(health);
    #[cfg(feature = "reflection")]
    let routes = routes.add_optional_service(reflection(&node, config.reflection));
    let serving = mtls::serve(routes, acceptor, listener, async {
        shutdown.await;
        node.stop();
        reporter.end().await;
    });
    // Who waits for this agent is answered before it turns to its own affairs.
    let sampling = async {
        sleep(AFTER_START).await;
        sampler::sample(metrics, &node, conditions).await;
    };
    let reporting = async {
        sleep(AFTER_START).await;
        match uplink {
            Some(uplink) => beliefs.unless_revoked(uplink.run()).await,
            None => std::future::pending().await,
        }
    };
    let believing = async {
        sleep(AFTER_START).await;
        match watching_trust {
            Some(watch) => watch.run().await,
            None => std::future::pending().await,
        }
    };
    let scraping = async {
        #[cfg(feature = "prometheus")]
        if let Some((listener, acceptor)) = scrapes {
            crate::prometheus::serve(node.clone(), listener, acceptor).await;
        }
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = serving => ended,
        () = sampling => Ok(()),
        () = driver::drive(node.clone()) => Ok(()),
        () = reporting => Ok(()),
        () = believing => Ok(()),
        () = scraping => Ok(()),
        () = last_levels.keep(&node) => Ok(()),
    };
    let as_driven = node.agent().last_levels();
    node.let_go();
    executor.close().await;
    auditing.close().await;
    if last::is_wanted(&node) {
        last_levels.save(as_driven).await; // as they were before the agent made them safe: it is to come back
    }
    Ok(ended?)
}

/// Before the first call is accepted.
fn restore<B: Board>(agent: &mut Agent<B>, last: &[(LineId, bool)]) -> Verdict {
    let now = agent.board().now();
    let mut failed = Vec::new();
    for (line, refusal) in agent.restore(now, last) {
        tracing::error!(%line, why = %startup::one_line(&refusal), "cannot be restored");
        failed.push(line.to_string());
    }
    match failed.is_empty() {
        true => Verdict::holds("InForce", format!("{} lines may be used", agent.policy().allowed().count())),
        false => Verdict::fails("NotRestored", format!("{} could not be restored: see the log", failed.join(", "))),
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
