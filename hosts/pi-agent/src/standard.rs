//! The services that every gRPC server may have beside its own: `grpc.health.v1` and, if configured, server reflection.
//! Whoever may see the node's metrics may call them.

use std::sync::Arc;

use hal_core::Board;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
#[cfg(feature = "reflection")]
use tonic_reflection::server::{
    Builder,
    v1::{ServerReflection, ServerReflectionServer},
};

use crate::checked::Checked;
use crate::service::Node;

/// Names by which health is asked: the server as a whole, and its one service.
const NAMES: [&str; 2] = ["", "pi.agent.v1.NodeAgent"];

/// Tells watchers how the server stands.
pub(crate) struct Reporter(HealthReporter);

/// `SERVING` as long as calls are answered, degraded or not: what is degraded is told by `HealthCheck`.
pub(crate) async fn standard_health<B: Board>(
    node: &Arc<Node<B>>,
) -> (Checked<HealthServer<HealthService>, B>, Reporter) {
    let reporter = HealthReporter::new();
    for name in NAMES {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    let service = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    (Checked::new(node, service), Reporter(reporter))
}

impl Reporter {
    /// Tells every watcher that it is over, and ends their streams.
    pub(crate) async fn end(mut self) {
        for name in NAMES {
            self.0.set_service_status(name, ServingStatus::NotServing).await;
            self.0.clear_service_status(name).await;
        }
    }
}

/// What methods and messages there are, for grpcurl and its like; `None` unless it is asked for.
#[cfg(feature = "reflection")]
pub(crate) fn reflection<B: Board>(
    node: &Arc<Node<B>>,
    wanted: bool,
) -> Option<Checked<ServerReflectionServer<impl ServerReflection>, B>> {
    let builder = Builder::configure().register_encoded_file_descriptor_set(proto::DESCRIPTORS);
    // our own descriptors can always be decoded
    let service = wanted.then(|| builder.with_service_name(NAMES[1]).build_v1().ok()).flatten()?;
    Some(Checked::new(node, service))
}
