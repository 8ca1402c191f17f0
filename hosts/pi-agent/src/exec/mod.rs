//! Commands: what the configuration allows is started, watched over, and remembered.

mod audit;
mod cgroup;
mod config;
mod linux;
mod live;
mod plan;
mod requests;
mod run;
mod runner;
mod stage;
mod terminal;
mod user;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_lib::{Begun, CommandMode, CommandRefusal, JobNumber, Jobs, RequestId};
use proto::agent::v1::execute_stream_request::Input as Told;
use proto::agent::v1::{CommandRequest, CommandResponse, ExecuteStreamRequest, ExecuteStreamResponse, Job};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

pub use config::ExecConfig;
pub(crate) use config::File;
pub use linux::LinuxRunner;
pub use runner::{Input, Order, Output, Process, Runner, WindowSize};
pub use stage::{Ended, Identity, Plan, run_as_stage};

pub(crate) use run::{How, Kept, Outcome};

use crate::access::Principal;
use crate::clock::Clock;
use crate::wire;
use audit::Audit;
use cgroup::Cgroup;
use plan::{Planner, Ready, Way};
use requests::Requests;

/// Answers under way to a caller of `ExecuteStream`.
const ANSWERS: usize = 2;

/// Commands are on, and cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Without it a command could run twice.
    #[error("cannot remember request ids in {}", state.display())]
    Requests {
        /// The state folder.
        state: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configured group cannot be used.
    #[error("cannot use the cgroup {}: delegate it to the agent, or leave it out", folder.display())]
    Cgroup {
        /// As configured.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no such user.
    #[error("this machine has no user {0:?} for commands")]
    User(String),
}

/// Everything that concerns commands.
pub(crate) struct Executor {
    planner: Planner,
    runner: Arc<dyn Runner>,
    running: Arc<Semaphore>,
    maximum: usize,
    jobs: Mutex<Jobs<CommandResponse>>,
    live: Mutex<HashMap<JobNumber, Live>>,
    /// `None`: commands are off.
    requests: Option<Arc<Mutex<Requests>>>,
    closing: watch::Sender<bool>,
    clock: Clock,
}

/// A command under way.
#[derive(Clone)]
struct Live {
    /// Its outcome, when it has one. The sender gone without one: it was refused.
    outcome: watch::Receiver<Option<CommandResponse>>,
    unwanted: watch::Sender<bool>,
}

/// A caller that waits. Dropped, the command is not wanted any more.
struct Waiting(watch::Sender<bool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Executor {
    /// `start` is the number of the agent's start.
    pub(crate) fn new(
        config: ExecConfig,
        runner: Arc<dyn Runner>,
        state: &Path,
        start: u64,
    ) -> Result<Self, ExecError> {
        let mut jobs = Jobs::new(start, config.keep);
        let mut requests = None;
        if config.policy.mode != CommandMode::Off {
            let told = |source| ExecError::Requests { state: state.to_owned(), source };
            let (file, known) = Requests::open(state).map_err(told)?;
            known.into_iter().for_each(|(request, digest)| jobs.remember(request, digest));
            requests = Some(Arc::new(Mutex::new(file)));
            if let Some(folder) = &config.cgroup {
                Cgroup::prepare(folder).map_err(|source| ExecError::Cgroup { folder: folder.clone(), source })?;
            }
            runner.prepare();
        }
        let maximum = config.maximum_running;
        Ok(Self {
            planner: Planner::new(config)?,
            runner,
            running: Arc::new(Semaphore::new(maximum)),
            maximum,
            jobs: Mutex::new(jobs),
            live: Mutex::default(),
            requests,
            closing: watch::Sender::new(false),
            clock: Clock::start(),
        })
    }

    /// `ExecuteCommand`.
    pub(crate) async fn execute(
        self: Arc<Self>,
        who: &Principal,
        request: CommandRequest,
    ) -> Result<CommandResponse, Status> {
        let id = wire::request_id(&request)?;
        let detach = request.detach;
        let ready = self.planner.plan(who, request, Way::Unary)?;
        let (mut live, waiting) = match self.begin(who, ready, detach, id)? {
            Answer::Now(response) => return Ok(*response),
            Answer::Later(live, waiting) => (live, waiting),
        };
        let outcome = live.outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        drop(waiting); // not before: its going ends the command
        outcome.ok_or_else(|| Status::unavailable("the command was not started: try again"))
    }

    /// One step under one lock, so that of two equal requests one runs.
    fn begin(
        self: &Arc<Self>,
        who: &Principal,
        ready: Ready,
        detach: bool,
        id: Option<(String, [u8; 32])>,
    ) -> Result<Answer, Status> {
        let mut jobs = self.jobs();
        let begun = jobs.begin(self.clock.now(), who.holder(), ready.program.clone(), detach, id.clone());
        let number = match begun.map_err(wire::command_refusal)? {
            Begun::Ended(number, response) => {
                return Ok(Answer::Now(CommandResponse { job: shown(&jobs, number, detach), ..response }.into()));
            }
            Begun::Lost => {
                return Ok(Answer::Now(wire::lost("the agent restarted since, or it is too long ago").into()));
            }
            Begun::Running(number) => match self.live().get(&number).filter(|_| !detach) {
                // its going ends nothing: the command is the first caller's
                Some(live) => return Ok(Answer::Later(live.clone(), None)),
                None => return Ok(Answer::Now(wire::running(jobs.name(number)).into())),
            },
            Begun::Run(number) => number,
        };
        let permit = self.permit().inspect_err(|_| jobs.undo(number))?;
        let (outcome, receiver) = watch::channel(None);
        let live = Live { outcome: receiver, unwanted: watch::Sender::new(false) };
        self.live().insert(number, live.clone());
        let request = id.map(|(text, digest)| (RequestId { holder: who.holder().clone(), text }, digest));
        let (executor, unwanted) = (self.clone(), live.unwanted.subscribe());
        let who = who.holder().to_string();
        tokio::spawn(async move {
            let response = executor.carry_out(&who, ready, request, permit, unwanted).await;
            let mut jobs = executor.jobs();
            let response = CommandResponse { job: shown(&jobs, number, detach), ..response };
            jobs.end(executor.clock.now(), number, response.clone(), wire::kept_bytes(&response));
            executor.live().remove(&number);
            outcome.send_replace(Some(response));
        });
        if detach {
            return Ok(Answer::Now(wire::running(jobs.name(number)).into()));
        }
        let waiting = Waiting(live.unwanted.clone());
        Ok(Answer::Later(live, Some(waiting)))
    }

    async fn carry_out(
        &self,
        who: &str,
        ready: Ready,
        request: Option<(RequestId, [u8; 32])>,
        permit: OwnedSemaphorePermit,
        mut unwanted: watch::Receiver<bool>,
    ) -> CommandResponse {
        if let Some((request, digest)) = request
            && let Err(error) = self.remember(request, digest).await
        {
            return wire::not_started(&std::io::Error::other(format!("its request id cannot be remembered: {error}")));
        }
        let audit = Audit::begin(who, &ready);
        let response = match self.runner.start(ready.plan, None) {
            Err(error) => wire::not_started(&error),
            Ok(process) => {
                let mut closing = self.closing.subscribe();
                let unwanted = async {
                    tokio::select! {
                        _ = unwanted.wait_for(|unwanted| *unwanted) => {}
                        _ = closing.wait_for(|closing| *closing) => {}
                    }
                };
                wire::command_response(run::collect(process, permit, ready.stdin, ready.limits, unwanted).await)
            }
        };
        audit.end(&response);
        response
    }

    /// `ExecuteStream`.
    pub(crate) async fn execute_live<S>(
        self: Arc<Self>,
        who: &Principal,
        mut told: S,
    ) -> Result<impl Stream<Item = Result<ExecuteStreamResponse, Status>> + use<S>, Status>
    where
        S: Stream<Item = Result<ExecuteStreamRequest, Status>> + Send + Unpin + 'static,
    {
        let first = told.next().await.transpose()?.and_then(|request| request.input);
        let Some(Told::Start(request)) = first else {
            return Err(wire::invalid("start", "must come first"));
        };
        let ready = self.planner.plan(who, request, Way::Live)?;
        let permit = self.permit()?;
        let (answers, stream) = mpsc::channel(ANSWERS);
        let who = who.holder().to_string();
        tokio::spawn(async move {
            let audit = Audit::begin(&who, &ready);
            let mut closing = self.closing.subscribe();
            let response = match self.runner.start(ready.plan, ready.terminal) {
                Err(error) => wire::not_started(&error),
                Ok(process) => {
                    let unwanted = async { drop(closing.wait_for(|closing| *closing).await) };
                    let ran = live::live((process, permit), ready.stdin, told, &answers, ready.limits, unwanted);
                    wire::command_response(ran.await)
                }
            };
            audit.end(&response);
            live::tell_end(&answers, response).await;
        });
        Ok(ReceiverStream::new(stream))
    }

    /// `GetJob`.
    pub(crate) fn job(&self, who: &Principal, name: &str) -> Result<Job, Status> {
        let (mut jobs, now) = (self.jobs(), self.clock.now());
        let found = jobs.find(now, name, who.holder(), who.is_admin()).map_err(wire::command_refusal)?;
        Ok(match found {
            None => wire::lost_job(name, who.holder()),
            Some((_, job)) => wire::job(name, job, now),
        })
    }

    /// `CancelJob`; answers when it has ended.
    pub(crate) async fn cancel(&self, who: &Principal, name: &str) -> Result<Job, Status> {
        let live = {
            let mut jobs = self.jobs();
            let found = jobs.find(self.clock.now(), name, who.holder(), who.is_admin());
            let number = found.map_err(wire::command_refusal)?.map(|(number, _)| number);
            number.and_then(|number| self.live().get(&number).cloned())
        };
        if let Some(mut live) = live {
            live.unwanted.send_replace(true);
            let _ = live.outcome.wait_for(Option::is_some).await; // it is looked up below
        }
        self.job(who, name)
    }

    /// `ListJobs`.
    pub(crate) fn list(&self, who: &Principal) -> Vec<Job> {
        let (jobs, now) = (self.jobs(), self.clock.now());
        let seen = jobs.list(now, who.holder(), who.is_admin());
        let row = |(number, job)| wire::without_outputs(wire::job(&jobs.name(number), job, now));
        seen.into_iter().map(row).collect()
    }

    /// Ends all commands, and comes back when nothing of them is left.
    pub(crate) async fn close(&self) {
        self.closing.send_replace(true);
        let all = u32::try_from(self.maximum).unwrap_or(u32::MAX);
        let longest = self.planner.longest_grace() + std::time::Duration::from_secs(2);
        if tokio::time::timeout(longest, self.running.acquire_many(all)).await.is_err() {
            tracing::warn!("commands still run; their supervisors kill them");
        }
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        let busy = |_| wire::command_refusal(CommandRefusal::Busy { limit: self.maximum });
        self.running.clone().try_acquire_owned().map_err(busy)
    }

    async fn remember(&self, request: RequestId, digest: [u8; 32]) -> std::io::Result<()> {
        let Some(requests) = self.requests.clone() else { return Ok(()) };
        // the disk can take long, and lines are not to wait for it
        let written = tokio::task::spawn_blocking(move || {
            requests.lock().unwrap_or_else(PoisonError::into_inner).add(&request, &digest)
        });
        written.await.map_err(std::io::Error::other)?
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs<CommandResponse>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> MutexGuard<'_, HashMap<JobNumber, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Answer {
    Now(Box<CommandResponse>),
    Later(Live, Option<Waiting>),
}

fn shown(jobs: &Jobs<CommandResponse>, number: JobNumber, detached: bool) -> String {
    if detached { jobs.name(number) } else { String::new() }
}
