//! `NodeAgent`: each method is decode, one call, encode.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_lib::{Agent, ConditionKind, Health, Holder, State};
use hal_core::Board;
use proto::agent::v1::node_agent_server::NodeAgent;
use proto::agent::v1::{
    CommandRequest, CommandResponse, GpioRequest, GpioResponse, HealthStatus, LogEntry, LogFilter, SystemMetrics,
};
use tonic::{Code, Request, Response, Status};

use crate::access::{Access, Right};
use crate::clock::Clock;
use crate::sampler::Readings;
use crate::{gpio, wire};

/// One node: what its service, its sampler and its uplink share.
pub(crate) struct Node<B: Board> {
    id: String,
    boot_id: String,
    access: Access,
    agent: Mutex<Agent<B>>,
    health: Mutex<Health>,
    pub(crate) readings: Readings,
    pub(crate) clock: Clock,
}

impl<B: Board> Node<B> {
    pub(crate) fn new(id: String, boot_id: String, access: Access, agent: Agent<B>) -> Self {
        let clock = Clock::start();
        let node = Self {
            id,
            boot_id,
            access,
            agent: Mutex::new(agent),
            health: Mutex::new(Health::new()),
            readings: Readings::none(),
            clock,
        };
        let backend = node.agent().board().chip();
        let message = format!("{} lines of {} by {}", backend.lines, backend.label, backend.backend);
        node.note(ConditionKind::GpioBackend, State::True, "Opened", message);
        node
    }

    /// The agent. A call holds it for one ioctl or a few: microseconds.
    pub(crate) fn agent(&self) -> MutexGuard<'_, Agent<B>> {
        // A panic in a handler leaves the agent's own invariants whole: its methods end before they answer.
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, kind: ConditionKind, state: State, reason: &'static str, message: String) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.set(self.clock.now(), kind, state, reason, message);
    }

    pub(crate) fn health(&self) -> HealthStatus {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        wire::health(&health, self.clock.now(), &self.id, &self.boot_id)
    }

    /// Every held line to its safe state: the agent ends.
    pub(crate) fn let_go(&self) {
        let released = self.agent().release_all(self.clock.now());
        for (line, refusal) in &released.failed {
            tracing::error!(%line, why = %startup::one_line(refusal), "could not be left in its safe state");
        }
        tracing::info!(lines = released.released.len(), "left in their safe states");
    }

    fn caller<T>(&self, right: Right, request: &Request<T>) -> Result<Holder, Status> {
        self.access.check(right, request.metadata(), request.extensions())
    }
}

/// The service itself.
pub(crate) struct Service<B: Board>(pub(crate) Arc<Node<B>>);

#[tonic::async_trait]
impl<B: Board<Line: Send> + Send + 'static> NodeAgent for Service<B> {
    async fn get_system_metrics(&self, request: Request<()>) -> Result<Response<SystemMetrics>, Status> {
        self.0.caller(Right::Viewer, &request)?;
        let (metrics, at) = self.0.readings.latest();
        Ok(Response::new(wire::metrics(metrics, at, &self.0.id, &self.0.boot_id)))
    }

    async fn control_gpio(&self, request: Request<GpioRequest>) -> Result<Response<GpioResponse>, Status> {
        let holder = self.0.caller(Right::Gpio, &request)?;
        let now = self.0.clock.now();
        gpio::operate(&mut self.0.agent(), now, &holder, request.into_inner()).map(Response::new)
    }

    async fn execute_command(&self, request: Request<CommandRequest>) -> Result<Response<CommandResponse>, Status> {
        self.0.caller(Right::Exec, &request)?;
        Err(not_yet("ExecuteCommand will run one command without a shell and answer its typed outcome"))
    }

    type StreamLogsStream = tokio_stream::Empty<Result<LogEntry, Status>>;

    async fn stream_logs(&self, request: Request<LogFilter>) -> Result<Response<Self::StreamLogsStream>, Status> {
        self.0.caller(Right::Logs, &request)?;
        Err(not_yet("StreamLogs will follow the journal from a cursor"))
    }

    async fn health_check(&self, request: Request<()>) -> Result<Response<HealthStatus>, Status> {
        self.0.caller(Right::Viewer, &request)?;
        Ok(Response::new(self.0.health()))
    }
}

fn not_yet(what: &str) -> Status {
    wire::status(Code::Unimplemented, "NOT_YET", &format!("{what}; this version does not serve it yet"), [])
}
