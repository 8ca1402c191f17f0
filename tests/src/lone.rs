//! One agent on a board that the test has built, on a thread of its own as in production.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::SystemTime;

use mtls::Expect;
use pi_agent::{Config, Hardware, JoinError, ServeError, join, serve};
use proto::agent::v1::node_agent_client::NodeAgentClient;
use sim::SimBoard;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::Channel;

use crate::Cluster;

const NAME: &str = "lone";

/// A running agent named `lone`.
pub struct Lone {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Lone {
    /// Serves `board`. The state folder is that of the agent before, if there was one in this cluster.
    ///
    /// # Panics
    ///
    /// If it cannot join or listen.
    pub async fn start(cluster: &Cluster, config: &Config, board: &SimBoard) -> Self {
        let config = Config { state: cluster.folder(NAME), ..config.clone() };
        let hardware = Hardware { board: board.clone(), buses: board.buses(), ..pi_sim::hardware(NAME).0 };
        let token = cluster.token(1).await;
        let joined = join(&token, &cluster.address.to_string(), NAME, hardware.inventory.clone(), &config.state).await;
        assert!(matches!(joined, Ok(_) | Err(JoinError::Already(_))), "{joined:?}");
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                serve(config, hardware, TcpListener::from_std(listener)?, async { drop(stopped.await) }).await
            })
        });
        Self { address, stop, serving }
    }

    /// A connection of its own for an operator.
    ///
    /// # Panics
    ///
    /// If it cannot be set up; it connects at the first call.
    pub fn client(&self, cluster: &Cluster, operator: &str) -> NodeAgentClient<Channel> {
        let credentials = cluster.credentials(&cluster.issuer(), &format!("operator/{operator}"), SystemTime::now());
        let channel = cluster.dialer(&credentials).channel(&self.address.to_string(), Expect::Node(NAME.to_owned()));
        NodeAgentClient::new(channel.expect("a channel"))
    }

    /// Stops it as a signal would.
    ///
    /// # Panics
    ///
    /// If it does not end well.
    pub async fn stop(self) {
        drop(self.stop);
        let ended = tokio::task::spawn_blocking(|| self.serving.join()).await.expect("a thread");
        ended.expect("no panic").expect("a clean end");
    }
}
