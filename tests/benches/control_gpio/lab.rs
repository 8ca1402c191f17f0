//! Who takes part: a cluster with its controller, a node's folder, and an operator whom the node knows.

use std::path::PathBuf;
use std::time::SystemTime;

use mtls::Dialer;
use proto::control::v1::Inventory;
use tests::Cluster;
use tokio::runtime::Runtime;

/// What the node may be asked by the operator without a controller in between. The limit of operations is there, and costs
/// what it costs, but it is never reached.
const AGENT_TOML: &str = "[gpio]\noperations_per_second = 4_000_000_000\n[[operators]]\nname = 'bench'\nroles = ['gpio', 'logs', 'viewer']\n";

/// All of it; gone when the value goes.
pub(crate) struct Lab {
    /// Credentials that a join has made, and `agent.toml`. Agent and floor both serve from here.
    pub(crate) node: PathBuf,
    /// Calls as the operator.
    pub(crate) dialer: Dialer,
    _cluster: Cluster,
    /// The controller has a thread of its own: it takes the agent's reports and shall not stand in the caller's way.
    _controller: Runtime,
}

impl Lab {
    pub(crate) fn set_up() -> Self {
        let controller =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let cluster = controller.block_on(Cluster::start());
        let node = cluster.folder("bench");
        controller.block_on(join(&cluster, &node));
        let operator = cluster.credentials(&cluster.issuer(), "operator/bench", SystemTime::now());
        Self { node, dialer: cluster.dialer(&operator), _cluster: cluster, _controller: controller }
    }
}

async fn join(cluster: &Cluster, folder: &std::path::Path) {
    let token = cluster.token(1).await;
    let controller = cluster.address.to_string();
    pi_agent::join(&token, &controller, "bench", Inventory::default(), folder).await.expect("a join");
    std::fs::write(folder.join("agent.toml"), AGENT_TOML).expect("a configuration");
}
