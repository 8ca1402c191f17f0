//! Several simulated nodes in one process; each joins a controller as a real one would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use mtls::JoinToken;
use pi_agent::{Config, JoinError, ServeError, join, serve};
use sim::{Bench, SimMetrics};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::log::NodeLog;
use crate::node::hardware;

/// Running nodes. Dropping it ends them at once; [`Fleet::stop`] lets them end.
pub struct Fleet {
    /// Name, address and bench of each.
    pub nodes: Vec<(String, SocketAddr, Bench)>,
    /// The sensors of each, in the same order.
    pub metrics: Vec<SimMetrics>,
    /// Log of each.
    pub logs: Vec<NodeLog>,
    tasks: JoinSet<Result<(), ServeError>>,
    stop: watch::Sender<bool>,
}

/// Nodes could not be started.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// One could not join.
    #[error("{0} cannot join")]
    Join(String, #[source] JoinError),
    /// No port was free.
    #[error("cannot listen on loopback")]
    Listen(#[from] std::io::Error),
}

/// Starts `count` nodes named `sim-1` and so on, which join `controller` with `token` and serve on loopback. Each keeps
/// its certificate in a folder of its own below `state`; a node that has joined before does not join again. The rest of
/// its configuration is `config`.
///
/// # Errors
///
/// If one of them cannot join: then none is left running.
pub async fn up(
    count: usize,
    controller: &str,
    token: &JoinToken,
    state: &Path,
    config: &Config,
) -> Result<Fleet, UpError> {
    let (stop, stopped) = watch::channel(false);
    let mut fleet = Fleet { nodes: Vec::new(), metrics: Vec::new(), logs: Vec::new(), tasks: JoinSet::new(), stop };
    for number in 1..=count {
        let name = format!("sim-{number}");
        let (hardware, bench, log) = hardware(&name);
        let config = Config { state: state.join(&name), ..config.clone() };
        match join(token, controller, &name, hardware.inventory.clone(), &config.state).await {
            Ok(_) | Err(JoinError::Already(_)) => {}
            Err(error) => return Err(UpError::Join(name, error)),
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        fleet.metrics.push(hardware.metrics.clone());
        fleet.nodes.push((name, listener.local_addr()?, bench));
        let mut stopped = stopped.clone();
        let shutdown = async move { drop(stopped.wait_for(|stop| *stop).await) };
        fleet.logs.push(log.clone());
        let serving = serve(config, hardware, listener, shutdown);
        fleet.tasks.spawn(async move {
            tokio::select! {
                ended = serving => ended,
                () = log.run() => Ok(()),
            }
        });
    }
    Ok(fleet)
}

impl Fleet {
    /// Until one of them ends by itself, which it only does when it fails.
    pub async fn ended(&mut self) -> Option<ServeError> {
        self.tasks.join_next().await?.ok()?.err()
    }

    /// Ends them all: calls in flight may end, lines go to their safe states.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
