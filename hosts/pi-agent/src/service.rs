//! `NodeAgent`: each method is decode, one call, encode.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_lib::{Agent, ConditionKind, Event, Health, I2cPart, RateLimited, State, Verdict};
use futures_util::Stream;
use hal_core::{Board, Buses, Groups, Instant, LineId};
use proto::agent::v1::node_agent_server::NodeAgent;
use proto::agent::v1::{
    CancelJobRequest, CommandRequest, CommandResponse, ExecuteStreamRequest, ExecuteStreamResponse, GetJobRequest,
    GpioRecord, GpioRequest, GpioResponse, HealthStatus, Job, ListJobsRequest, ListJobsResponse, LogEntry, LogFilter,
    ScanI2cRequest, ScanI2cResponse, StreamGpioResponse, StreamMetricsRequest, SystemMetrics, TransferI2cRequest,
    TransferI2cResponse, TransferSpiRequest, TransferSpiResponse, WatchGpioRequest,
};
use tokio::sync::{Notify, watch as changes};
use tonic::{Request, Response, Status, Streaming};

use crate::access::{Access, Principal};
use crate::audit::{Asked, Auditor};
use crate::buses::BusWorkers;
use crate::checked::caller;
use crate::clock::Clock;
use crate::exec::Executor;
use crate::limits::Limits;
use crate::logs::Logs;
use crate::sampler::Readings;
use crate::stream::{Answers, Turns};
use crate::{driver, gpio, metering, persist, watch, wire};

/// One node: what its service, its sampler and its uplink share.
pub(crate) struct Node<B: Board> {
    id: String,
    boot_id: String,
    pub(crate) access: Access,
    agent: Mutex<Agent<B>>,
    health: Mutex<Health>,
    /// When the driver is awake next.
    due: Mutex<Option<Instant>>,
    /// The agent is due earlier than that.
    pub(crate) earlier: Notify,
    /// There are records for watchers.
    pub(crate) records: Notify,
    /// A line is free.
    freed: Notify,
    /// Lines that do not take their safe state.
    stuck: Mutex<BTreeSet<LineId>>,
    stopping: changes::Sender<bool>,
    pub(crate) readings: Arc<Readings>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) audit: Arc<Auditor>,
}

impl<B: Board> Node<B> {
    pub(crate) fn new(
        id: String,
        boot_id: String,
        access: Access,
        limits: Limits,
        audit: Arc<Auditor>,
        agent: Agent<B>,
    ) -> Self {
        let clock = Clock::start();
        let node = Self {
            id,
            boot_id,
            access,
            agent: Mutex::new(agent),
            health: Mutex::new(Health::new()),
            due: Mutex::new(None),
            earlier: Notify::new(),
            records: Notify::new(),
            freed: Notify::new(),
            stuck: Mutex::default(),
            stopping: changes::Sender::new(false),
            readings: Readings::none(),
            clock,
            limits,
            audit,
        };
        let backend = node.agent().board().chip();
        let message = format!("{} lines of {} by {}", backend.lines, backend.label, backend.backend);
        node.note(ConditionKind::GpioBackend, State::True, "Opened", message);
        let (state, reason, message) = persist::condition(node.agent().board().caps().outputs_persist);
        node.note(ConditionKind::OutputsPersist, state, reason, message.to_owned());
        node
    }

    /// The agent. A call holds it for one ioctl or a few: microseconds.
    pub(crate) fn agent(&self) -> MutexGuard<'_, Agent<B>> {
        // A panic in a handler leaves the agent's own invariants whole: its methods end before they answer.
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called after each call on the agent: wakes whoever it concerns.
    pub(crate) fn touched(&self, agent: &mut Agent<B>) {
        self.tell(agent);
        let next = agent.poll_timeout();
        let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_some_and(|next| due.is_none_or(|due| next < due)) {
            self.earlier.notify_one();
        }
    }

    /// The driver will be awake again at `next`.
    pub(crate) fn settled(&self, agent: &mut Agent<B>, next: Option<Instant>) {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.tell(agent);
    }

    fn tell(&self, agent: &mut Agent<B>) {
        while let Some(event) = agent.poll_event() {
            self.heed(&event);
            if driver::tell(event) {
                self.freed.notify_waiters();
            }
        }
        if agent.is_watched() {
            self.records.notify_waiters();
        }
    }

    fn heed(&self, event: &Event) {
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::SafeFailed { line, .. } => drop(stuck.insert(*line)),
            Event::Expired { line, .. } | Event::Freed { line } => drop(stuck.remove(line)),
            _ => {}
        }
    }

    /// Whether held lines go where they should.
    pub(crate) fn leases(&self) -> Verdict {
        let stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let names: Vec<String> = stuck.iter().map(ToString::to_string).collect();
        match names.is_empty() {
            true => Verdict::holds("Kept", format!("{} lines are held", self.agent().held_count())),
            false => Verdict::fails("NotSafe", format!("{}: the board does not take the safe state", names.join(", "))),
        }
    }

    /// Charges a caller for so many operations on lines.
    pub(crate) fn charge(&self, principal: &Principal, operations: u32) -> Result<(), RateLimited> {
        let now = self.agent().board().now();
        self.limits.charge(now, principal.caller().holder, operations)
    }

    fn operate(&self, principal: &Principal, request: GpioRequest) -> Result<GpioResponse, Status> {
        let mut agent = self.agent();
        let now = agent.board().now();
        self.operate_at(&mut agent, now, principal, request)
    }

    /// Charges and does the operation, with one look at the clock for both: what a stream of them is made of.
    pub(crate) fn charge_and_operate(
        &self,
        principal: &Principal,
        request: GpioRequest,
    ) -> Result<Result<GpioResponse, Status>, RateLimited> {
        let mut agent = self.agent();
        let now = agent.board().now();
        self.limits.charge(now, principal.caller().holder, gpio::cost(&request))?;
        let Some(asked) = Asked::of(&request) else { return Ok(self.operate_at(&mut agent, now, principal, request)) };
        if !asked.makes_safe()
            && let Err(cannot) = self.audit.admit()
        {
            return Ok(Err(cannot));
        }
        let outcome = self.operate_at(&mut agent, now, principal, request);
        drop(agent);
        self.audit.note(principal, asked, &outcome);
        Ok(outcome)
    }

    /// Does it, and takes note if it changes something. A claim that is to wait does so; the call's deadline ends it.
    async fn operate_audited(&self, principal: &Principal, request: GpioRequest) -> Result<GpioResponse, Status> {
        let Some(asked) = Asked::of(&request) else { return self.operate(principal, request) };
        if !asked.makes_safe() {
            self.audit.ready().await?;
        }
        let outcome = self.operate_or_wait(principal, request).await;
        self.audit.note(principal, asked, &outcome);
        outcome
    }

    fn operate_at(
        &self,
        agent: &mut Agent<B>,
        now: Instant,
        principal: &Principal,
        request: GpioRequest,
    ) -> Result<GpioResponse, Status> {
        let outcome = gpio::operate(agent, now, principal, request);
        self.touched(agent);
        outcome
    }

    /// The same, but a claim that is to wait does so.
    async fn operate_or_wait(&self, principal: &Principal, request: GpioRequest) -> Result<GpioResponse, Status> {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable(); // before the try, so that no release slips in between
            let outcome = self.operate(principal, request.clone());
            if !gpio::is_to_wait(&request, &outcome) {
                return outcome;
            }
            freed.await;
        }
    }

    pub(crate) fn note(&self, kind: ConditionKind, state: State, reason: &'static str, message: String) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.set(self.clock.now(), kind, state, reason, message);
    }

    pub(crate) fn judge(&self, kind: ConditionKind, verdict: Verdict) {
        let Verdict { state, reason, message } = verdict;
        self.note(kind, state, reason, message);
    }

    /// The latest readings of these groups.
    pub(crate) fn metrics(&self, groups: Groups) -> SystemMetrics {
        let (metrics, at) = self.readings.latest();
        match groups == Groups::ALL {
            true => wire::metrics(&metrics, at, &self.id, &self.boot_id),
            false => wire::metrics(&metrics.only(groups), at, &self.id, &self.boot_id),
        }
    }

    #[cfg(feature = "prometheus")]
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// From now on, the node is not well while its control plane is not.
    pub(crate) fn need_control_plane(&self) {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).need(ConditionKind::ControlPlane);
    }

    /// From now on, calls are not answered any more.
    pub(crate) fn stop(&self) {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).set_serving(false);
        self.stopping.send_replace(true);
    }

    /// Until [`Node::stop`].
    pub(crate) async fn stopping(&self) {
        drop(self.stopping.subscribe().wait_for(|stopping| *stopping).await);
    }

    pub(crate) fn health(&self) -> HealthStatus {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        wire::health(&health, self.clock.now(), &self.id, &self.boot_id)
    }

    /// Every held line to its safe state: the agent ends.
    pub(crate) fn let_go(&self) {
        let mut agent = self.agent();
        let now = agent.board().now();
        let released = agent.release_all(now);
        for (line, refusal) in &released.failed {
            tracing::error!(%line, why = %startup::one_line(refusal), "could not be left in its safe state");
        }
        tracing::info!(lines = released.released.len(), "left in their safe states");
    }
}

/// The service itself.
pub(crate) struct Service<B: Board, U: Buses> {
    pub(crate) node: Arc<Node<B>>,
    pub(crate) buses: BusWorkers<B, U>,
    pub(crate) logs: Logs,
    pub(crate) executor: Arc<Executor>,
}

#[tonic::async_trait]
impl<B, U> NodeAgent for Service<B, U>
where
    B: Board<Line: Send> + Send + 'static,
    U: Buses<I2c: Send> + Send + 'static,
{
    async fn get_system_metrics(&self, _: Request<()>) -> Result<Response<SystemMetrics>, Status> {
        Ok(Response::new(self.node.metrics(Groups::ALL)))
    }

    type StreamMetricsStream = Pin<Box<dyn Stream<Item = Result<SystemMetrics, Status>> + Send>>;

    async fn stream_metrics(
        &self,
        request: Request<StreamMetricsRequest>,
    ) -> Result<Response<Self::StreamMetricsStream>, Status> {
        let (groups, interval) = wire::stream(request.into_inner())?;
        Ok(Response::new(Box::pin(metering::metering(self.node.clone(), groups, interval))))
    }

    async fn control_gpio(&self, request: Request<GpioRequest>) -> Result<Response<GpioResponse>, Status> {
        let principal = caller(&request)?;
        let request = request.into_inner();
        self.node.charge(&principal, gpio::cost(&request)).map_err(wire::rate_limited)?;
        self.node.operate_audited(&principal, request).await.map(Response::new)
    }

    type WatchGPIOStream = Pin<Box<dyn Stream<Item = Result<GpioRecord, Status>> + Send>>;

    async fn watch_gpio(&self, request: Request<WatchGpioRequest>) -> Result<Response<Self::WatchGPIOStream>, Status> {
        let principal = caller(&request)?;
        let records = watch::watch(self.node.clone(), &principal, request.into_inner())?;
        Ok(Response::new(Box::pin(records)))
    }

    type StreamGPIOStream = Pin<Box<dyn Stream<Item = Result<StreamGpioResponse, Status>> + Send>>;

    async fn stream_gpio(
        &self,
        request: Request<Streaming<GpioRequest>>,
    ) -> Result<Response<Self::StreamGPIOStream>, Status> {
        let principal = caller(&request)?;
        self.node.audit.opened().await;
        let place = self.node.limits.stream()?;
        let answers =
            Answers { node: self.node.clone(), principal, requests: Turns(request.into_inner()), _place: place };
        Ok(Response::new(Box::pin(answers)))
    }

    async fn scan_i2c(&self, request: Request<ScanI2cRequest>) -> Result<Response<ScanI2cResponse>, Status> {
        let principal = caller(&request)?;
        principal.check_bus()?;
        let ScanI2cRequest { bus } = request.into_inner();
        let bus = wire::byte("bus", bus)?;
        let work = async { self.buses.scan(bus).await.map_err(wire::bus_refusal) };
        let addresses = self.node.audit.noting(&principal, Asked::I2cScan { bus }, work).await?;
        Ok(Response::new(ScanI2cResponse { addresses: addresses.into_iter().map(u32::from).collect() }))
    }

    async fn transfer_i2c(
        &self,
        request: Request<TransferI2cRequest>,
    ) -> Result<Response<TransferI2cResponse>, Status> {
        let principal = caller(&request)?;
        principal.check_bus()?;
        let TransferI2cRequest { bus, address, operations } = request.into_inner();
        let (bus, address) = (wire::byte("bus", bus)?, wire::byte("address", address)?);
        let parts = wire::i2c_parts(operations)?;
        let writes = parts.iter().any(|part| matches!(part, I2cPart::Write(_)));
        let work = async { self.buses.transfer_i2c(bus, address, parts).await.map_err(wire::bus_refusal) };
        let reads = match writes {
            true => self.node.audit.noting(&principal, Asked::I2c { bus, address }, work).await?,
            false => work.await?,
        };
        Ok(Response::new(TransferI2cResponse { reads }))
    }

    async fn transfer_spi(
        &self,
        request: Request<TransferSpiRequest>,
    ) -> Result<Response<TransferSpiResponse>, Status> {
        let principal = caller(&request)?;
        principal.check_bus()?;
        let (device, config, bytes) = wire::spi_transfer(request.into_inner())?;
        let work = async { self.buses.transfer_spi(device, config, bytes).await.map_err(wire::bus_refusal) };
        let read = self.node.audit.noting(&principal, Asked::Spi(device), work).await?;
        Ok(Response::new(TransferSpiResponse { read }))
    }

    async fn execute_command(&self, request: Request<CommandRequest>) -> Result<Response<CommandResponse>, Status> {
        let principal = caller(&request)?;
        self.executor.clone().execute(&principal, request.into_inner()).await.map(Response::new)
    }

    type ExecuteStreamStream = Pin<Box<dyn Stream<Item = Result<ExecuteStreamResponse, Status>> + Send>>;

    async fn execute_stream(
        &self,
        request: Request<Streaming<ExecuteStreamRequest>>,
    ) -> Result<Response<Self::ExecuteStreamStream>, Status> {
        let principal = caller(&request)?;
        let output = self.executor.clone().execute_live(&principal, request.into_inner()).await?;
        Ok(Response::new(Box::pin(output)))
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<Job>, Status> {
        let principal = caller(&request)?;
        let GetJobRequest { job } = request.into_inner();
        self.executor.job(&principal, &job).map(Response::new)
    }

    async fn cancel_job(&self, request: Request<CancelJobRequest>) -> Result<Response<Job>, Status> {
        let principal = caller(&request)?;
        let CancelJobRequest { job } = request.into_inner();
        self.executor.cancel(&principal, &job).await.map(Response::new)
    }

    async fn list_jobs(&self, request: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        let principal = caller(&request)?;
        Ok(Response::new(ListJobsResponse { jobs: self.executor.list(&principal) }))
    }

    type StreamLogsStream = Pin<Box<dyn Stream<Item = Result<LogEntry, Status>> + Send>>;

    async fn stream_logs(&self, request: Request<LogFilter>) -> Result<Response<Self::StreamLogsStream>, Status> {
        let principal = caller(&request)?;
        let filter = principal.narrow(wire::log_filter(request.into_inner())?)?;
        Ok(Response::new(Box::pin(self.logs.stream(filter)?)))
    }

    async fn health_check(&self, _: Request<()>) -> Result<Response<HealthStatus>, Status> {
        Ok(Response::new(self.node.health()))
    }
}
