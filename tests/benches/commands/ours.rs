//! A controller, nodes that are processes of their own, and `pictl`.

use std::error::Error;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::SystemTime;

use mtls::Expect;
use proto::agent::v1::CommandRequest;
use proto::agent::v1::command_response::Outcome;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::control::v1::Inventory;
use tests::{Cluster, eventually};
use tokio::process::{Child, Command};
use tonic::Request;
use tonic::transport::Channel;

/// The controller is a task of this process; each node is the agent's own program on a simulated board, with this
/// machine's commands.
pub(crate) struct Ours {
    cluster: Cluster,
    /// To node-1, straight and by way of the controller.
    pub(crate) direct: NodeAgentClient<Channel>,
    pub(crate) proxied: NodeAgentClient<Channel>,
    pictl: PathBuf,
    address: String,
    bob: PathBuf,
    _nodes: Vec<Child>,
}

impl Ours {
    pub(crate) async fn start(count: usize) -> Result<Self, Box<dyn Error>> {
        let own = std::env::current_exe()?;
        let programs = own.parent().ok_or("no folder of programs")?.to_owned();
        let cluster = Cluster::start().await;
        let token = cluster.token(u32::try_from(count)?).await;
        let (mut nodes, mut address) = (Vec::new(), String::new());
        for number in 1..=count {
            let (name, state) = (format!("node-{number}"), cluster.folder(&format!("node-{number}")));
            pi_agent::join(&token, &cluster.address.to_string(), &name, Inventory::default(), &state).await?;
            let text = "[[operators]]\nname = 'bob'\nroles = ['exec']\n[exec]\nmode = 'any'\n";
            std::fs::write(state.join("agent.toml"), text)?;
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            if number == 1 {
                address = listener.local_addr()?.to_string();
            }
            let mut node = Command::new(programs.join("bench-sim-agent"));
            node.arg(&state).stdin(Stdio::from(OwnedFd::from(listener))).env("PI_LOG", "warn").kill_on_drop(true);
            nodes.push(node.spawn()?);
        }
        for number in 1..=count {
            let name = format!("node-{number}");
            eventually(async || cluster.pictl(&["node", "show", &name]).await.out.contains("ready")).await;
        }
        let bob = cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now());
        let direct = cluster.dialer(&bob).channel(&address, Expect::Node("node-1".to_owned()))?;
        let anna = mtls::Context::load(&cluster.admin())?.dialer()?;
        let proxied = anna.channel(&cluster.address.to_string(), Expect::Controller)?;
        let bob = cluster.context("bob.toml", &bob);
        Ok(Self {
            direct: NodeAgentClient::new(direct),
            proxied: NodeAgentClient::new(proxied),
            pictl: programs.join("pictl"),
            cluster,
            address,
            bob,
            _nodes: nodes,
        })
    }

    /// `true` on node-1.
    pub(crate) async fn execute(&self, client: &NodeAgentClient<Channel>) -> Result<(), Box<dyn Error>> {
        let mut request = Request::new(CommandRequest { argv: vec!["true".to_owned()], ..CommandRequest::default() });
        request.metadata_mut().insert("pi-node", "node-1".parse()?);
        match client.clone().execute_command(request).await?.into_inner().outcome {
            Some(Outcome::Exited(exited)) if exited.code == 0 => Ok(()),
            other => Err(format!("`true` ended as {other:?}").into()),
        }
    }

    pub(crate) async fn pictl(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(&self.pictl);
        command.arg("--context").arg(self.cluster.admin()).args(arguments);
        crate::peers::done(command).await
    }

    /// Straight to node-1.
    pub(crate) async fn pictl_direct(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(&self.pictl);
        command.arg("--context").arg(&self.bob).args(["--direct", &self.address]).args(arguments);
        crate::peers::done(command).await
    }
}
