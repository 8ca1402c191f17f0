//! `ControlPlane`: each method is decode, one decision, encode. Who may call was asked before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use control_lib::{Arrival, Caller, Identity, Name, Presence, Presented};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use mtls::{Peer, Sessions};
use proto::control::v1::control_plane_server::ControlPlane;
use proto::control::v1::{
    ClusterStateRequest, ClusterStateResponse, HealthReport, NodeRegistration, ProvisioningRequest,
    ProvisioningResponse, RegistrationResponse, TrustUpdate, WatchTrustRequest,
};
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use crate::authorized::caller;
use crate::ledger::Ledger;
use crate::live::{Entry, LiveNodes};
use crate::wire;

pub(crate) struct ControlPlaneService {
    ledger: Arc<Ledger>,
    presence: Arc<Mutex<Presence>>,
    live: LiveNodes,
    sessions: Arc<Sessions>,
    /// This controller.
    own: Identity,
    /// Streams end when the server does: a stop does not wait for them.
    closing: watch::Receiver<bool>,
}

impl ControlPlaneService {
    pub(crate) fn new(
        ledger: Arc<Ledger>,
        presence: Arc<Mutex<Presence>>,
        sessions: Arc<Sessions>,
        own: Identity,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self { ledger, presence, live: LiveNodes::default(), sessions, own, closing }
    }

    fn presence(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what a node says for another one, and counts it.
    fn check_speaker(&self, who: &Name, named: &str) -> Result<(), Status> {
        if named.is_empty() || named == who.as_str() {
            return Ok(());
        }
        self.presence().deny(who);
        tracing::warn!(node = %who, named, "a node spoke for another one");
        Err(wire::other_node(who, named))
    }

    /// One process speaks for a node: the connections of the one before are ended.
    async fn take_over(&self, node: &Name, instance: &str, peer: &Peer) {
        let address = peer.address();
        let entry = self.live.enter(node, instance, address);
        if entry == Entry::Alone {
            return;
        }
        let is_older = |open: &mtls::Open| {
            let of_node = open
                .certificate
                .as_ref()
                .is_some_and(|shown| shown.identity.kind == mtls::Kind::Node && shown.identity.name == node.as_str());
            of_node && open.address != address
        };
        self.sessions.end(is_older, Duration::ZERO);
        if entry == Entry::Returns {
            self.suspect(node, "two processes take turns with the same certificate").await;
        }
    }

    /// Somebody may have a copy of the node's key: no call goes to it until a person has looked.
    async fn suspect(&self, node: &Name, why: &'static str) {
        let (name, own) = (node.clone(), self.own.clone());
        let locked = self.ledger.decide(move |control| control.quarantine(SystemTime::now(), &own, &name, why)).await;
        match locked {
            Ok(true) => tracing::error!(%node, why, "alarm: suspected clone; it is locked until an admin unlocks it"),
            Ok(false) => tracing::debug!(%node, why, "a suspected clone is still there"),
            Err(error) => tracing::error!(%node, why, store = %startup::one_line(&error), "alarm: suspected clone"),
        }
    }
}

#[tonic::async_trait]
impl ControlPlane for ControlPlaneService {
    async fn register_node(
        &self,
        request: Request<NodeRegistration>,
    ) -> Result<Response<RegistrationResponse>, Status> {
        let caller = caller(&request)?;
        if let Caller::Identity(who) = &caller {
            self.check_speaker(&who.name, &request.get_ref().name)?;
        }
        let peer = request.extensions().get::<Peer>().cloned();
        let registration = wire::registration(request.into_inner(), &caller)?;
        let issued = registration.csr.is_some();
        let decided = self.ledger.decide(move |control| {
            let presented = match (&peer, &caller) {
                (Some(Peer::Token(public_key, _)), _) => Presented::Token { public_key },
                (_, Caller::Identity(identity)) => Presented::Node(&identity.name),
                // no key is this one: the connection had neither a token nor a certificate
                (_, Caller::Token) => Presented::Token { public_key: &[0; 32] },
            };
            control.register(SystemTime::now(), presented, registration)
        });
        let registered = decided.await.map_err(wire::ledger)?.map_err(wire::register_refusal)?;
        tracing::info!(node = %registered.node, issued, "registered");
        Ok(Response::new(wire::registered(registered, issued)))
    }

    async fn report_health(&self, request: Request<HealthReport>) -> Result<Response<()>, Status> {
        let Caller::Identity(Identity { name, .. }) = caller(&request)? else {
            return Err(Status::internal("the call was not authorized"));
        };
        let message = request.into_inner();
        self.check_speaker(&name, message.health.as_ref().map_or("", |health| &health.node_id))?;
        let report = wire::report(message)?;
        let arrival = self.presence().report(&name, Instant::now(), report);
        match arrival {
            Arrival::InOrder => {}
            Arrival::After { lost } => tracing::warn!(node = %name, lost, "reports were lost"),
            Arrival::Again => tracing::warn!(node = %name, "reports start again within one boot"),
            Arrival::Interleaved => self.suspect(&name, "two rows of reports go on side by side").await,
        }
        Ok(Response::new(()))
    }

    type WatchTrustStream = BoxStream<'static, Result<TrustUpdate, Status>>;

    async fn watch_trust(
        &self,
        request: Request<WatchTrustRequest>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        if let (Some(peer), Caller::Identity(who)) = (request.extensions().get::<Peer>(), caller(&request)?) {
            let WatchTrustRequest { instance } = request.get_ref();
            self.take_over(&who.name, wire::instance(instance)?, peer).await;
        }
        let revisions = self.ledger.revisions();
        let first = (self.ledger.clone(), revisions, None);
        let updates = futures_util::stream::unfold(first, async |(ledger, mut revisions, sent)| {
            loop {
                revisions.borrow_and_update();
                let bundle = ledger.read().trust_bundle();
                if sent.as_ref() != Some(&bundle) {
                    let update = wire::trust_update(bundle.clone(), SystemTime::now());
                    return Some((Ok(update), (ledger, revisions, Some(bundle))));
                }
                revisions.changed().await.ok()?;
            }
        });
        let mut closing = self.closing.clone();
        let closed = async move { drop(closing.wait_for(|closing| *closing).await) };
        Ok(Response::new(updates.take_until(closed.boxed()).boxed()))
    }

    async fn sync_cluster_state(
        &self,
        _: Request<ClusterStateRequest>,
    ) -> Result<Response<ClusterStateResponse>, Status> {
        Err(not_yet("SyncClusterState will hand the state on to another instance"))
    }

    async fn request_provisioning(
        &self,
        _: Request<ProvisioningRequest>,
    ) -> Result<Response<ProvisioningResponse>, Status> {
        Err(not_yet("RequestProvisioning will plan and apply a profile on nodes"))
    }
}

fn not_yet(what: &str) -> Status {
    wire::status(Code::Unimplemented, "NOT_YET", &format!("{what}; this version does not serve it yet"), [])
}
