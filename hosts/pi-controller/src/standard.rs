//! The services that every gRPC server may have beside its own: `grpc.health.v1` and, if configured, server reflection.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

/// Names by which health is asked: the server as a whole, and each of its services. `NodeAgent` is the proxy; how a node
/// is, its own `HealthCheck` tells.
const NAMES: [&str; 7] = [
    "",
    "pi.agent.v1.NodeAgent",
    "pi.control.v1.ControlPlane",
    "pi.fleet.v1.Audit",
    "pi.fleet.v1.Fleet",
    "pi.fleet.v1.Exclusions",
    "pi.fleet.v1.Operators",
];

/// Tells watchers how the server stands.
pub(crate) struct Reporter(HealthReporter);

/// `SERVING` as long as calls are answered.
pub(crate) async fn health() -> (HealthServer<HealthService>, Reporter) {
    let reporter = HealthReporter::new();
    for name in NAMES {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    (HealthServer::new(HealthService::from_health_reporter(reporter.clone())), Reporter(reporter))
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
pub(crate) fn reflection(wanted: bool) -> Option<ServerReflectionServer<impl ServerReflection>> {
    let builder = Builder::configure().register_encoded_file_descriptor_set(proto::DESCRIPTORS);
    wanted.then(|| builder.build_v1().ok()).flatten()
}
