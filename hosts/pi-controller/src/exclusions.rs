//! `Exclusions`: each method is decode, one decision, encode. Who may call was asked before; what follows from a change is
//! for [`enforcement`](crate::enforcement).

use std::sync::Arc;
use std::time::SystemTime;

use control_lib::{Caller, Control, Exclusion, ExclusionDecision, Identity, Text};
use proto::fleet::v1::exclusions_server::Exclusions;
use proto::fleet::v1::{LockRequest, LockResponse, RevokeRequest, RevokeResponse, UnlockRequest, UnlockResponse};
use tonic::{Request, Response, Status};

use crate::authorized::caller;
use crate::ledger::{Ledger, LedgerError};
use crate::wire;

pub(crate) struct ExclusionsService {
    ledger: Arc<Ledger>,
}

impl ExclusionsService {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }

    async fn decide<T>(
        &self,
        request: &Request<T>,
        subject: &str,
        decide: impl Fn(&Control, &Identity, &Identity) -> ExclusionDecision + Clone + Send + 'static,
    ) -> Result<Option<Exclusion>, Status> {
        let Caller::Identity(by) = caller(request)? else {
            return Err(Status::internal("the call was not authorized"));
        };
        let subject = wire::subject(subject)?;
        let (who, again) = (subject.clone(), (decide.clone(), by.clone(), subject.clone()));
        let decided = self.ledger.decide(move |control| decide(control, &by, &subject)).await;
        let decided = decided.map_err(|error| {
            let (decide, by, subject) = again;
            let unstored = decide(&self.ledger.read(), &by, &subject).answer;
            self.not_stored(unstored.ok().flatten(), error)
        });
        let exclusion = decided?.map_err(|refusal| wire::exclusion_refusal(&refusal))?;
        let now = exclusion.as_ref().map_or("let in", |exclusion| exclusion.kind.as_str());
        tracing::info!(%who, now, "locked, unlocked or revoked");
        Ok(exclusion)
    }

    /// A full disk is no reason to let a thief go on.
    fn not_stored(&self, exclusion: Option<Exclusion>, error: LedgerError) -> Status {
        let status = wire::ledger(error);
        let Some(exclusion) = exclusion else { return status };
        tracing::error!(who = %exclusion.subject, now = %exclusion.kind, "kept out, but only until this process ends");
        let status = wire::not_stored(&exclusion);
        self.ledger.exclude_unstored(exclusion);
        status
    }
}

#[tonic::async_trait]
impl Exclusions for ExclusionsService {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let LockRequest { subject, reason } = request.get_ref().clone();
        let reason: Text = wire::reason(&reason)?;
        let locked = self.decide(&request, &subject, move |control, by, subject| {
            control.lock(SystemTime::now(), by, subject, reason.clone())
        });
        Ok(Response::new(LockResponse { exclusion: locked.await?.as_ref().map(wire::exclusion) }))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        let UnlockRequest { subject } = request.get_ref().clone();
        self.decide(&request, &subject, |control, by, subject| control.unlock(SystemTime::now(), by, subject)).await?;
        Ok(Response::new(UnlockResponse {}))
    }

    async fn revoke(&self, request: Request<RevokeRequest>) -> Result<Response<RevokeResponse>, Status> {
        let RevokeRequest { subject, reason } = request.get_ref().clone();
        let reason: Text = wire::reason(&reason)?;
        let revoked = self.decide(&request, &subject, move |control, by, subject| {
            control.revoke(SystemTime::now(), by, subject, reason.clone())
        });
        Ok(Response::new(RevokeResponse { exclusion: revoked.await?.as_ref().map(wire::exclusion) }))
    }
}
