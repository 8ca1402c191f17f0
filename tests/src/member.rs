//! A node that does nothing but follow the control plane: believes the roots that it is told, stores them, says so, and
//! gets another certificate when it is told to. Many of them cost little.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use mtls::{
    Acceptor, CertificateDer, Credentials, Dialer, Expect, JoinToken, Limits, OwnCertificate, OwnKey, Trust,
    public_key_pin,
};
use proto::control::v1::control_plane_client::ControlPlaneClient;
use proto::control::v1::{Inventory, NodeRegistration, RegistrationResponse, TrustUpdate, WatchTrustRequest};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::Cluster;

/// The method by which a member is asked whether it is there.
const ASKED: &str = "/pi.agent.v1.NodeAgent/HealthCheck";
const ANSWERED: &str = "/grpc.health.v1.Health/Check";

/// A running member; ends with its value.
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it serves.
    pub address: SocketAddr,
    follows: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Member {
    /// Joins and serves.
    ///
    /// # Panics
    ///
    /// If it cannot.
    pub async fn join(cluster: &Cluster, token: &JoinToken, name: &str) -> Self {
        let state = cluster.folder(&format!("member-{name}"));
        let controller = cluster.address.to_string();
        pi_agent::join(token, &controller, name, Inventory::default(), &state).await.expect("a join");
        Self::start(cluster, name).await
    }

    /// Serves after it has joined.
    ///
    /// # Panics
    ///
    /// If it cannot.
    pub async fn start(cluster: &Cluster, name: &str) -> Self {
        let state = cluster.folder(&format!("member-{name}"));
        let credentials = Credentials::load(&state).expect("credentials");
        let own = OwnCertificate::new(&credentials).expect("a pair");
        let trust = Trust::new("lab", &credentials.roots).expect("roots");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let acceptor = Acceptor::new(own.clone(), trust.clone(), None, Limits::default()).expect("TLS");
        let follows = Arc::new(AtomicBool::new(true));
        let channel = Dialer::new(own.clone(), trust.clone()).channel(&cluster.address.to_string(), Expect::Controller);
        let client = ControlPlaneClient::new(channel.expect("a channel"));
        let follower = Follower { client, endpoint: address.to_string(), own, trust, state, follows: follows.clone() };
        follower.tell(None, None).await.expect("the controller knows it");
        let mut tasks = JoinSet::new();
        tasks.spawn(follower.run());
        tasks.spawn(async move {
            let (_, health) = tonic_health::server::health_reporter();
            let routes = mtls::server().add_service(Renamed(health));
            mtls::serve(routes, acceptor, listener, std::future::pending()).await;
        });
        Self { name: name.to_owned(), address, follows, _tasks: tasks }
    }

    /// Whether it does what it is told about roots.
    pub fn follow(&self, follows: bool) {
        self.follows.store(follows, Ordering::Relaxed);
    }

    /// Asks it whether it is there, over a channel to the controller or to itself.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn ask(&self, channel: Channel) -> Result<(), Status> {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.set_timeout(Duration::from_secs(10));
        request.metadata_mut().insert("pi-node", self.name.parse().expect("a name"));
        HealthClient::new(Renamed(channel)).check(request).await.map(drop)
    }
}

/// What the agent does with the updates of `WatchTrust`.
struct Follower {
    client: ControlPlaneClient<Channel>,
    endpoint: String,
    own: Arc<OwnCertificate>,
    trust: Arc<Trust>,
    state: PathBuf,
    follows: Arc<AtomicBool>,
}

impl Follower {
    async fn run(self) {
        loop {
            if let Ok(updates) = self.client.clone().watch_trust(WatchTrustRequest::default()).await {
                let mut updates = updates.into_inner();
                while let Ok(Some(update)) = updates.message().await {
                    while !self.follows.load(Ordering::Relaxed) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    while self.obey(&update).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn obey(&self, update: &TrustUpdate) -> Result<(), Status> {
        let mut credentials = Credentials::load(&self.state).expect("credentials");
        credentials.roots = update.roots.iter().cloned().map(CertificateDer::from).collect();
        self.trust.replace(&credentials.roots).expect("roots");
        credentials.store(&self.state).expect("stored");
        let issuer = public_key_pin(&credentials.chain[1]).expect("a certificate");
        if update.renew_issuers.iter().any(|pin| *pin == issuer) {
            let key = OwnKey::generate().expect("a key");
            let answer = self.tell(Some(key.csr().expect("a request")), Some(update.roots_version)).await?;
            credentials.chain = answer.certificate_chain.into_iter().map(CertificateDer::from).collect();
            credentials.key = key.into_private_key();
            credentials.store(&self.state).expect("stored");
            self.own.replace(&credentials).expect("a pair");
            return Ok(());
        }
        self.tell(None, Some(update.roots_version)).await.map(drop)
    }

    async fn tell(&self, csr: Option<Vec<u8>>, roots_version: Option<u64>) -> Result<RegistrationResponse, Status> {
        let registration =
            NodeRegistration { csr, roots_version, endpoints: vec![self.endpoint.clone()], ..Default::default() };
        self.client.clone().register_node(registration).await.map(tonic::Response::into_inner)
    }
}

/// `grpc.health.v1` under the name of a node's service: the proxy passes on what it does not know.
#[derive(Clone)]
struct Renamed<S>(S);

impl<S> NamedService for Renamed<S> {
    const NAME: &'static str = "pi.agent.v1.NodeAgent";
}

impl<S, Answer> Service<Request<Body>> for Renamed<S>
where
    S: Service<Request<Body>, Response = Response<Answer>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let other = if request.uri().path() == ASKED { ANSWERED } else { ASKED };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = other.parse().ok();
        *request.uri_mut() = Uri::from_parts(parts).expect("a path");
        self.0.call(request)
    }
}
