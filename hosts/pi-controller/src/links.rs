//! Channels to nodes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use control_lib::{Control, Identity, Name};
use mtls::{Dialer, Expect};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::wire;

/// One channel a node, made at the first call and kept; each reconnects by itself.
pub(crate) struct Links {
    dialer: Dialer,
    channels: Mutex<HashMap<Name, Link>>,
}

#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) endpoint: String,
    pub(crate) channel: Channel,
}

impl Links {
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self { dialer, channels: Mutex::new(HashMap::new()) }
    }

    /// Lets go of the channels to nodes that are kept out: a channel closes its connection when the last call on it ends.
    pub(crate) fn forget_excluded(&self, control: &Control) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|node, _| check_excluded(control, node).is_ok());
    }

    /// The channel to `node`, at the first endpoint that it advertises now.
    pub(crate) fn to(&self, control: &Control, node: &Name) -> Result<Link, Status> {
        check_excluded(control, node)?;
        let row = control.node(node).ok_or_else(|| wire::unknown_node(node.as_str()))?;
        let endpoint = row.endpoints.first().ok_or_else(|| {
            let why = format!("node/{node} has not said yet where it serves: start pi-agent serve on it");
            wire::status(Code::Unavailable, "NO_ENDPOINT", &why, [("node", node.to_string())])
        })?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = channels.get(node).filter(|link| link.endpoint == endpoint.as_str()) {
            return Ok(link.clone());
        }
        let channel = self.dialer.channel(endpoint.as_str(), Expect::Node(node.to_string()));
        let channel = channel.map_err(|error| Status::unavailable(startup::one_line(&error)))?;
        let link = Link { endpoint: endpoint.to_string(), channel };
        channels.insert(node.clone(), link.clone());
        Ok(link)
    }
}

/// No call goes to a node that is locked or revoked.
pub(crate) fn check_excluded(control: &Control, node: &Name) -> Result<(), Status> {
    let exclusion = control.exclusion(&Identity::node(node.clone()));
    exclusion.map_or(Ok(()), |exclusion| Err(wire::excluded_node(exclusion)))
}
