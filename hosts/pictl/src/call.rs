//! Where a command's call goes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mtls::{Context, Dialer, Expect};
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::fleet::v1::exclusions_client::ExclusionsClient;
use proto::fleet::v1::fleet_client::FleetClient;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::exit::Failure;

/// Calls as the operator of one context.
pub(crate) struct Caller {
    context: PathBuf,
    controller: String,
    cluster: String,
    dialer: Dialer,
    direct: Option<String>,
    timeout: Duration,
}

impl Caller {
    pub(crate) fn new(context: Option<PathBuf>, direct: Option<String>, timeout: Duration) -> Result<Self, Failure> {
        let path = context.or_else(usual_context).ok_or(Failure::NoHome)?;
        let context = Context::load(&path)?;
        let dialer = context.dialer()?;
        let cluster = context.identity.cluster;
        Ok(Self { context: path, dialer, controller: context.controller, cluster, direct, timeout })
    }

    /// For how long an answer, or a command, may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The operator's cluster, as their own certificate says.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The file that the context is in.
    pub(crate) fn context(&self) -> &Path {
        &self.context
    }

    /// Where the controller listens.
    pub(crate) fn controller(&self) -> &str {
        &self.controller
    }

    /// The controller, for whichever of its services.
    pub(crate) fn channel(&self) -> Result<Channel, Failure> {
        Ok(self.dialer.channel(&self.controller, Expect::Controller)?)
    }

    /// The fleet, at the controller.
    pub(crate) fn fleet(&self) -> Result<FleetClient<Channel>, Failure> {
        Ok(FleetClient::new(self.channel()?))
    }

    /// Who is kept out, at the controller.
    pub(crate) fn exclusions(&self) -> Result<ExclusionsClient<Channel>, Failure> {
        Ok(ExclusionsClient::new(self.dialer.channel(&self.controller, Expect::Controller)?))
    }

    /// A node: through the controller, or itself.
    pub(crate) fn node(&self, node: &str) -> Result<NodeAgentClient<Channel>, Failure> {
        let channel = match &self.direct {
            None => self.dialer.channel(&self.controller, Expect::Controller)?,
            Some(address) => self.dialer.channel(address, Expect::Node(node.to_owned()))?,
        };
        Ok(NodeAgentClient::new(channel))
    }

    /// Whether calls go straight to one node.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Any node, by the name in the request's metadata: one connection to the controller for all of them.
    pub(crate) fn proxy(&self) -> Result<NodeAgentClient<Channel>, Failure> {
        Ok(NodeAgentClient::new(self.channel()?))
    }

    /// A request to the fleet.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// A request to a node; its name goes into the metadata.
    pub(crate) fn request_to<T>(&self, node: &str, message: T) -> Result<Request<T>, Failure> {
        let mut request = self.request(message);
        let name = MetadataValue::try_from(node);
        let name = name.map_err(|_| Status::not_found(format!("no node is called {node:?}")))?;
        request.metadata_mut().insert("pi-node", name);
        Ok(request)
    }
}

impl Caller {
    /// A request for a stream, which has no deadline: it lasts until somebody ends it.
    pub(crate) fn stream_to<T>(&self, node: &str, message: T) -> Result<Request<T>, Failure> {
        let mut request = self.request_to(node, message)?;
        request.metadata_mut().remove("grpc-timeout");
        Ok(request)
    }
}

fn usual_context() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| std::env::home_dir().map(|home| home.join(".config")))?;
    Some(config.join("pictl").join("context.toml"))
}
