//! Tells the control plane that this node is there, and how it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_lib::{ConditionKind, State};
use backon::{ExponentialBuilder, Retryable};
use hal_core::Board;
use proto::control::v1::control_plane_client::ControlPlaneClient;
use proto::control::v1::{HealthReport, Inventory, NodeRegistration};
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::service::Node;
use crate::wire;

const INTERVAL: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(crate) struct Uplink<B: Board> {
    node: Arc<Node<B>>,
    client: ControlPlaneClient<Channel>,
    registration: NodeRegistration,
    boot_id: String,
    sequence: u64,
}

impl<B: Board<Line: Send> + Send + 'static> Uplink<B> {
    pub(crate) fn new(
        node: Arc<Node<B>>,
        channel: Channel,
        inventory: Inventory,
        labels: BTreeMap<String, String>,
        endpoints: Vec<String>,
    ) -> Self {
        let boot_id = inventory.boot_id.clone();
        let inventory = Some(wire::inventory(inventory, &node.agent().board().chip()));
        let registration = NodeRegistration {
            csr: None,
            name: String::new(),
            inventory,
            labels: labels.into_iter().collect(),
            endpoints,
            roots_version: None,
        };
        Self { node, client: ControlPlaneClient::new(channel), registration, boot_id, sequence: 0 }
    }

    /// What the node says of itself, and to whom.
    pub(crate) fn registration(&self) -> (ControlPlaneClient<Channel>, NodeRegistration) {
        (self.client.clone(), self.registration.clone())
    }

    /// Registers, then reports every 10 s, for ever. What fails is tried again and shows in the node's health.
    pub(crate) async fn run(mut self) {
        self.register_until_answered().await;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let reported = self.report().await;
            self.note(&reported);
        }
    }

    async fn register_until_answered(&self) {
        let pauses = ExponentialBuilder::default().with_jitter().with_max_delay(LONGEST_PAUSE).without_max_times();
        let registered = (|| self.register()).retry(pauses).notify(|status, pause| {
            self.note(&Err(status.clone()));
            tracing::warn!(why = %why(status), ?pause, "cannot register, trying again");
        });
        // retried for ever: it only comes back with success
        let registered = registered.await;
        self.note(&registered);
        tracing::info!("registered with the control plane");
    }

    async fn register(&self) -> Result<(), Status> {
        let request = within(CALL_TIMEOUT, self.registration.clone());
        self.client.clone().register_node(request).await.map(drop)
    }

    async fn report(&mut self) -> Result<(), Status> {
        self.sequence += 1;
        let report = HealthReport {
            boot_id: self.boot_id.clone(),
            sequence: self.sequence,
            interval: Some(wire::duration(INTERVAL)),
            health: Some(self.node.health()),
            time: Some(SystemTime::now().into()),
        };
        self.client.report_health(within(CALL_TIMEOUT, report)).await.map(drop)
    }

    fn note(&self, outcome: &Result<(), Status>) {
        match outcome {
            Ok(()) => self.node.note(ConditionKind::ControlPlane, State::True, "Reported", String::new()),
            Err(status) => {
                self.node.note(ConditionKind::ControlPlane, State::False, "Unreachable", why(status));
            }
        }
    }
}

fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

fn why(status: &Status) -> String {
    mtls::explain(status).unwrap_or_else(|| status.message().to_owned())
}
