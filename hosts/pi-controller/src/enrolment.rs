//! `Enrolment`: each method is decode, one decision, encode. Who may call was asked before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use control_lib::{ApprovalRefusal, Control, Decision, Labels, Name, Node, Presence};
use proto::fleet::v1 as pb;
use proto::fleet::v1::enrolment_server::Enrolment;
use tonic::{Code, Request, Response, Status};

use crate::ledger::Ledger;
use crate::tokens::operator;
use crate::wire;

pub(crate) struct EnrolmentService {
    ledger: Arc<Ledger>,
    presence: Arc<Mutex<Presence>>,
}

impl EnrolmentService {
    pub(crate) fn new(ledger: Arc<Ledger>, presence: Arc<Mutex<Presence>>) -> Self {
        Self { ledger, presence }
    }

    async fn decide(
        &self,
        decide: impl FnOnce(&Control) -> Decision<Result<Node, ApprovalRefusal>> + Send + 'static,
    ) -> Result<Option<pb::Node>, Status> {
        let node = self.ledger.decide(decide).await.map_err(wire::ledger)?.map_err(|why| refusal(&why))?;
        tracing::info!(node = %node.name, pending = node.pending, labels = %node.labels, "decided about a node");
        let control = self.ledger.read();
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(wire::node(&node, &control, &presence, Instant::now())))
    }
}

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn approve_node(
        &self,
        request: Request<pb::ApproveNodeRequest>,
    ) -> Result<Response<pb::ApproveNodeResponse>, Status> {
        let who = operator(&request)?;
        let name = name(&request.into_inner().id)?;
        let node = self.decide(move |control| control.approve_node(SystemTime::now(), &who, &name)).await?;
        Ok(Response::new(pb::ApproveNodeResponse { node }))
    }

    async fn reject_node(
        &self,
        request: Request<pb::RejectNodeRequest>,
    ) -> Result<Response<pb::RejectNodeResponse>, Status> {
        let who = operator(&request)?;
        let name = name(&request.into_inner().id)?;
        let node = self.decide(move |control| control.reject_node(SystemTime::now(), &who, &name)).await?;
        Ok(Response::new(pb::RejectNodeResponse { node }))
    }

    async fn label_node(
        &self,
        request: Request<pb::LabelNodeRequest>,
    ) -> Result<Response<pb::LabelNodeResponse>, Status> {
        let who = operator(&request)?;
        let pb::LabelNodeRequest { id, set, remove } = request.into_inner();
        let (name, set) = (name(&id)?, wire::labels("set", set)?);
        if remove.len() > Labels::MAX {
            return Err(wire::invalid("remove", "has more keys than a node can have"));
        }
        let remove = remove.iter().map(|key| wire::parse("remove", key)).collect::<Result<_, _>>()?;
        let now = SystemTime::now();
        let node = self.decide(move |control| control.label_node(now, &who, &name, &set, &remove)).await?;
        Ok(Response::new(pb::LabelNodeResponse { node }))
    }
}

fn name(id: &str) -> Result<Name, Status> {
    id.parse().map_err(|_| wire::unknown_node(id))
}

fn refusal(why: &ApprovalRefusal) -> Status {
    let (code, reason) = match why {
        ApprovalRefusal::Unknown(name) => return wire::unknown_node(name.as_str()),
        ApprovalRefusal::Revoked(_) | ApprovalRefusal::Revoke(_) => (Code::FailedPrecondition, "REVOKED"),
        ApprovalRefusal::TakesPart(_) => (Code::FailedPrecondition, "TAKES_PART"),
        ApprovalRefusal::Labels(_) => (Code::InvalidArgument, "LABELS"),
    };
    wire::status(code, reason, &startup::one_line(why), [])
}
