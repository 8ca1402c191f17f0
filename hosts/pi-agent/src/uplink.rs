//! Tells the control plane that this node is there, and how it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_lib::{ConditionKind, State};
use backon::{ExponentialBuilder, Retryable};
use hal_core::Board;
use mtls::ClockFault;
use proto::control::v1::{HealthReport, Inventory, NodeRegistration, RegistrationResponse};
use tokio::time::{MissedTickBehavior, interval};
use tonic::{Code, Status};

use crate::link::{Link, has_expired, why, within};
use crate::renewal::Progress;
use crate::service::Node;
use crate::wire;

const INTERVAL: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Twice as long by chance: a clock that is set right shows within half a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(crate) struct Uplink<B: Board> {
    node: Arc<Node<B>>,
    link: Arc<Link>,
    renewals: Arc<Progress>,
    registration: NodeRegistration,
    boot_id: String,
    sequence: u64,
}

/// What the node says of itself.
pub(crate) fn registration<B: Board>(
    node: &Node<B>,
    inventory: Inventory,
    labels: BTreeMap<String, String>,
    endpoints: Vec<String>,
) -> NodeRegistration {
    NodeRegistration {
        csr: None,
        name: String::new(),
        inventory: Some(wire::inventory(inventory, &node.agent().board().chip())),
        labels: labels.into_iter().collect(),
        endpoints,
        roots_version: None,
    }
}

impl<B: Board<Line: Send> + Send + 'static> Uplink<B> {
    pub(crate) fn new(
        node: Arc<Node<B>>,
        link: Arc<Link>,
        renewals: Arc<Progress>,
        registration: NodeRegistration,
    ) -> Self {
        let boot_id = registration.inventory.as_ref().map(|inventory| inventory.boot_id.clone()).unwrap_or_default();
        Self { node, link, renewals, registration, boot_id, sequence: 0 }
    }

    /// Registers, then reports every 10 s, for ever. What fails is tried again and shows in the node's health.
    pub(crate) async fn run(mut self) {
        self.register_until_answered().await;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let reported = self.report().await;
            self.note(&reported);
            match (&reported, failing) {
                (Err(status), false) => tracing::warn!(why = %why(status), "cannot report to the control plane"),
                (Ok(()), true) => tracing::info!("reporting to the control plane again"),
                _ => {}
            }
            failing = reported.is_err();
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
        let answer = self.link.client().register_node(request).await?.into_inner();
        approved(&answer)
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
        self.link.client().report_health(within(CALL_TIMEOUT, report)).await.map(drop)
    }

    fn note(&self, outcome: &Result<(), Status>) {
        let Err(status) = outcome else {
            self.renewals.answered();
            return self.node.note(ConditionKind::ControlPlane, State::True, "Reported", String::new());
        };
        let reason = match mtls::clock_fault(status) {
            Some(ClockFault::Ahead { .. }) => "ClockAhead",
            _ if has_expired(status) => "CertificateExpired",
            _ if status.code() == Code::FailedPrecondition => "NotApproved",
            _ => "Unreachable",
        };
        if has_expired(status) {
            self.renewals.want();
        }
        self.node.note(ConditionKind::ControlPlane, State::False, reason, why(status));
    }
}

/// Whether the node takes part; else it asks again.
fn approved(answer: &RegistrationResponse) -> Result<(), Status> {
    let node = &answer.node_id;
    let wait = || Status::failed_precondition(format!("node/{node} waits for approval: pictl node approve {node}"));
    if answer.pending { Err(wait()) } else { Ok(()) }
}
