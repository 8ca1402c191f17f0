//! `Fleet`: each method is decode, one look, encode. Who may call was asked before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use control_lib::{Permission, Presence};
use proto::fleet::v1::fleet_server::Fleet;
use proto::fleet::v1::{GetNodeRequest, GetNodeResponse, ListNodesRequest, ListNodesResponse};
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
        let caller = caller(&request)?;
        let ListNodesRequest { page_size, page_token } = request.into_inner();
        let size = match page_size as usize {
            0 => LARGEST_PAGE,
            wished => wished.min(LARGEST_PAGE),
        };
        let control = self.ledger.read();
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let after = wire::page_start(&page_token)?;
        let rest = control.nodes_after(after.as_ref());
        let mut rest = rest.filter(|node| control.reaches(&caller, Permission::View, node)).peekable();
        let mut nodes = Vec::new();
        while let Some(node) = rest.next_if(|_| nodes.len() < size) {
            nodes.push(wire::node(node, &control, &presence, now));
        }
        let more = rest.peek().and(nodes.last()).map(|last| last.id.clone());
        Ok(Response::new(ListNodesResponse { nodes, next_page_token: more.unwrap_or_default() }))
    }

    async fn get_node(&self, request: Request<GetNodeRequest>) -> Result<Response<GetNodeResponse>, Status> {
        let caller = caller(&request)?;
        let GetNodeRequest { id } = request.into_inner();
        let control = self.ledger.read();
        // who may not see a node is told the same as of one that does not exist
        let node = id.parse().ok().and_then(|name| control.node(&name));
        let node = node.filter(|node| control.reaches(&caller, Permission::View, node));
        let node = node.ok_or_else(|| wire::unknown_node(&id))?;
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Response::new(GetNodeResponse { node: Some(wire::node(node, &control, &presence, Instant::now())) }))
    }
}
