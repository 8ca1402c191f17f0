//! Commands: what the configuration allows is started, watched over, and remembered.

mod audit;
mod cgroup;
mod config;
mod jobs;
mod linux;
mod live;
mod plan;
mod requests;
mod run;
mod runner;
mod stage;
mod terminal;
mod unary;
mod user;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_lib::{CommandMode, CommandRefusal, JobNumber, Jobs};
use proto::agent::v1::CommandResponse;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tonic::Status;

pub use config::ExecConfig;
pub(crate) use config::File;
pub use linux::LinuxRunner;
pub use runner::{Input, Order, Output, Process, Runner, WindowSize};
pub use stage::{Ended, Identity, Plan, run_as_stage};

pub(crate) use run::{How, Kept, Outcome};

use crate::audit::Auditor;
use crate::clock::Clock;
use crate::wire;
use cgroup::Cgroup;
use plan::Planner;
use requests::Requests;

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
    audit: Arc<Auditor>,
    running: Arc<Semaphore>,
    maximum: usize,
    jobs: Mutex<Jobs<CommandResponse>>,
    live: Mutex<HashMap<JobNumber, Live>>,
    /// `None`: commands are off.
    requests: Option<Arc<Mutex<Requests>>>,
    closing: watch::Sender<bool>,
    /// To what runs. Those that have ended are gone from it at the next start.
    orders: Mutex<Vec<mpsc::WeakUnboundedSender<Order>>>,
    clock: Clock,
}

/// A command under way.
#[derive(Clone)]
struct Live {
    /// Its outcome, when it has one, or why it was not started.
    outcome: watch::Receiver<Option<Result<CommandResponse, Status>>>,
    unwanted: watch::Sender<bool>,
}

impl Executor {
    /// `start` is the number of the agent's start.
    pub(crate) fn new(
        config: ExecConfig,
        runner: Arc<dyn Runner>,
        audit: Arc<Auditor>,
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
            audit,
            running: Arc::new(Semaphore::new(maximum)),
            maximum,
            jobs: Mutex::new(jobs),
            live: Mutex::default(),
            requests,
            closing: watch::Sender::new(false),
            orders: Mutex::default(),
            clock: Clock::start(),
        })
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

    /// Starts a command, so that [`Executor::kill_all`] reaches it.
    fn start(&self, plan: Plan, terminal: Option<WindowSize>) -> std::io::Result<Process> {
        let process = self.runner.start(plan, terminal)?;
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.retain(|command| command.strong_count() > 0);
        orders.push(process.orders.downgrade());
        Ok(process)
    }

    /// Kills all commands at once, without the time to end that they have otherwise.
    pub(crate) fn kill_all(&self) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        for command in orders.iter().filter_map(mpsc::WeakUnboundedSender::upgrade) {
            let _ = command.send(Order::Stop(std::time::Duration::ZERO)); // who does not listen has ended
        }
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        let busy = |_| wire::command_refusal(CommandRefusal::Busy { limit: self.maximum });
        self.running.clone().try_acquire_owned().map_err(busy)
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs<CommandResponse>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> MutexGuard<'_, HashMap<JobNumber, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
