//! Operators, and their calls to a node.

use std::path::{Path, PathBuf};

use mtls::{Context, Expect};
use pictl::Exit;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::Cluster;

/// Adds an operator with these options of `pictl operator add`, as the first operator; their context.
///
/// # Panics
///
/// If the controller refuses.
pub async fn operator(cluster: &Cluster, name: &str, options: &[&str]) -> PathBuf {
    let context = cluster.folder(&format!("{name}.context.toml"));
    let out = context.display().to_string();
    let add = ["operator", "add", name, "--out", &out].into_iter().chain(options.iter().copied());
    let said = cluster.pictl(&add.collect::<Vec<_>>()).await;
    assert_eq!(said.exit, Exit::Done, "{}", said.err);
    context
}

/// Names the node in each request, as a call through the controller needs it.
#[derive(Clone)]
pub struct ToNode(MetadataValue<Ascii>);

impl Interceptor for ToNode {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("pi-node", self.0.clone());
        Ok(request)
    }
}

/// A client of a node behind `channel`, which may lead to the controller or to the node itself.
///
/// # Panics
///
/// If the name is none.
pub fn client_of(channel: Channel, node: &str) -> NodeAgentClient<InterceptedService<Channel, ToNode>> {
    NodeAgentClient::with_interceptor(channel, ToNode(node.parse().expect("a name")))
}

/// The same through the controller, with a context.
///
/// # Panics
///
/// If the context cannot be used.
pub fn proxied(context: &Path, node: &str) -> NodeAgentClient<InterceptedService<Channel, ToNode>> {
    let context = Context::load(context).expect("a context");
    let dialer = context.dialer().expect("a dialer");
    client_of(dialer.channel(&context.controller, Expect::Controller).expect("a channel"), node)
}
