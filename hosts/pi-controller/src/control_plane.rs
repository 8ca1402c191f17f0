//! `ControlPlane`: each method is decode, one decision, encode. Who may call was asked before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use control_lib::{Arrival, Caller, Identity, Presence, Presented};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use mtls::Peer;
use proto::control::v1::control_plane_server::ControlPlane;
use proto::control::v1::{
    ClusterStateRequest, ClusterStateResponse, HealthReport, NodeRegistration, ProvisioningRequest,
    ProvisioningResponse, RegistrationResponse, TrustUpdate, WatchTrustRequest,
};
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use crate::authorized::caller;
use crate::ledger::Ledger;
use crate::wire;

pub(crate) struct ControlPlaneService {
    ledger: Arc<Ledger>,
    presence: Arc<Mutex<Presence>>,
    /// Streams end when the server does: a stop does not wait for them.
    closing: watch::Receiver<bool>,
}

impl ControlPlaneService {
    pub(crate) fn new(
        ledger: Arc<Ledger>,
        presence: Arc<Mutex<Presence>>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self { ledger, presence, closing }
    }
}

#[tonic::async_trait]
impl ControlPlane for ControlPlaneService {
    async fn register_node(
        &self,
        request: Request<NodeRegistration>,
    ) -> Result<Response<RegistrationResponse>, Status> {
        let caller = caller(&request)?;
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
        let report = wire::report(request.into_inner())?;
        let mut presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        match presence.report(&name, Instant::now(), report) {
            Arrival::InOrder => {}
            Arrival::After { lost } => tracing::warn!(node = %name, lost, "reports were lost"),
            Arrival::Again => tracing::warn!(node = %name, "reports start again within one boot"),
        }
        Ok(Response::new(()))
    }

    type WatchTrustStream = BoxStream<'static, Result<TrustUpdate, Status>>;

    async fn watch_trust(&self, _: Request<WatchTrustRequest>) -> Result<Response<Self::WatchTrustStream>, Status> {
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
