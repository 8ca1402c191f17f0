//! `Fleet`: each method is decode, one look or decision, encode. Who may call was asked before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use control_lib::{Caller, Presence};
use proto::fleet::v1::fleet_server::Fleet;
use proto::fleet::v1::{
    CreateTokenRequest, CreateTokenResponse, GetNodeRequest, GetNodeResponse, ListNodesRequest, ListNodesResponse,
};
use tonic::{Request, Response, Status};

use crate::authorized::caller;
use crate::ledger::Ledger;
use crate::wire;

/// Nodes on a page.
const LARGEST_PAGE: usize = 500;

pub(crate) struct FleetService {
    ledger: Arc<Ledger>,
    presence: Arc<Mutex<Presence>>,
}

impl FleetService {
    pub(crate) fn new(ledger: Arc<Ledger>, presence: Arc<Mutex<Presence>>) -> Self {
        Self { ledger, presence }
    }
}

#[tonic::async_trait]
impl Fleet for FleetService {
    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        let ListNodesRequest { page_size, page_token } = request.into_inner();
        let size = match page_size as usize {
            0 => LARGEST_PAGE,
            wished => wished.min(LARGEST_PAGE),
        };
        let control = self.ledger.read();
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let after = wire::page_start(&page_token)?;
        let mut rest = control.nodes_after(after.as_ref()).peekable();
        let mut nodes = Vec::new();
        while let Some(node) = rest.next_if(|_| nodes.len() < size) {
            nodes.push(wire::node(node, &control, &presence, now));
        }
        let more = rest.peek().and(nodes.last()).map(|last| last.id.clone());
        Ok(Response::new(ListNodesResponse { nodes, next_page_token: more.unwrap_or_default() }))
    }

    async fn get_node(&self, request: Request<GetNodeRequest>) -> Result<Response<GetNodeResponse>, Status> {
        let GetNodeRequest { id } = request.into_inner();
        let control = self.ledger.read();
        let node = id.parse().ok().and_then(|name| control.node(&name)).ok_or_else(|| wire::unknown_node(&id))?;
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Response::new(GetNodeResponse { node: Some(wire::node(node, &control, &presence, Instant::now())) }))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let Caller::Identity(who) = caller(&request)? else {
            return Err(Status::internal("the call was not authorized"));
        };
        let spec = wire::token_spec(request.into_inner())?;
        let decided = self.ledger.decide(move |control| control.create_token(SystemTime::now(), &who, spec));
        let record = decided.await.map_err(wire::ledger)?.map_err(|refusal| wire::token_refusal(&refusal))?;
        tracing::info!(token = %record.id, by = %record.created_by, "made a join token");
        Ok(Response::new(wire::token(&record, &self.ledger.read())))
    }
}
