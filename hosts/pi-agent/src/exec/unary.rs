//! `ExecuteCommand`: one answer at the end, or a job that the caller asks for later.

use std::io;
use std::sync::{Arc, PoisonError};

use agent_lib::{Begun, JobNumber, Jobs, RequestId};
use proto::agent::v1::{CommandRequest, CommandResponse};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::Status;

use super::audit::Audit;
use super::plan::{Ready, Way};
use super::{Executor, Live, run};
use crate::access::Principal;
use crate::wire;

/// A caller that waits. Dropped, the command is not wanted any more.
struct Waiting(watch::Sender<bool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

enum Answer {
    Now(Box<CommandResponse>),
    Later(Live, Option<Waiting>),
}

impl Executor {
    /// `ExecuteCommand`.
    pub(crate) async fn execute(
        self: Arc<Self>,
        who: &Principal,
        request: CommandRequest,
    ) -> Result<CommandResponse, Status> {
        let id = wire::request_id(&request)?;
        let detach = request.detach;
        let ready = self.planner.plan(who, request, Way::Unary)?;
        self.audit.ready().await?;
        let (mut live, waiting) = match self.begin(who, ready, detach, id)? {
            Answer::Now(response) => return Ok(*response),
            Answer::Later(live, waiting) => (live, waiting),
        };
        let outcome = live.outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        drop(waiting); // not before: its going ends the command
        outcome.unwrap_or_else(|| Err(Status::unavailable("the command was not started: try again")))
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
        let who = who.clone();
        tokio::spawn(async move {
            let carried_out = executor.carry_out(who, ready, request, permit, unwanted).await;
            let mut jobs = executor.jobs();
            let response = match carried_out {
                Ok(response) => response,
                // its caller has been told that it runs
                Err(refused) if detach => wire::not_started(&io::Error::other(refused.message())),
                Err(refused) => {
                    jobs.undo(number);
                    executor.live().remove(&number);
                    outcome.send_replace(Some(Err(refused)));
                    return;
                }
            };
            let response = CommandResponse { job: shown(&jobs, number, detach), ..response };
            jobs.end(executor.clock.now(), number, response.clone(), wire::kept_bytes(&response));
            executor.live().remove(&number);
            outcome.send_replace(Some(Ok(response)));
        });
        if detach {
            return Ok(Answer::Now(wire::running(jobs.name(number)).into()));
        }
        let waiting = Waiting(live.unwanted.clone());
        Ok(Answer::Later(live, Some(waiting)))
    }

    async fn carry_out(
        &self,
        who: Principal,
        ready: Ready,
        request: Option<(RequestId, [u8; 32])>,
        permit: OwnedSemaphorePermit,
        mut unwanted: watch::Receiver<bool>,
    ) -> Result<CommandResponse, Status> {
        let audit = Audit::begin(&self.audit, who, &ready).await?;
        if let Some((request, digest)) = request
            && let Err(error) = self.remember(request, digest).await
        {
            let why = io::Error::other(format!("its request id cannot be remembered: {error}"));
            let response = wire::not_started(&why);
            audit.end(&response);
            return Ok(response);
        }
        let response = match self.start(ready.plan, None) {
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
        Ok(response)
    }

    async fn remember(&self, request: RequestId, digest: [u8; 32]) -> io::Result<()> {
        let Some(requests) = self.requests.clone() else { return Ok(()) };
        // the disk can take long, and lines are not to wait for it
        let written = tokio::task::spawn_blocking(move || {
            requests.lock().unwrap_or_else(PoisonError::into_inner).add(&request, &digest)
        });
        written.await.map_err(io::Error::other)?
    }
}

fn shown(jobs: &Jobs<CommandResponse>, number: JobNumber, detached: bool) -> String {
    if detached { jobs.name(number) } else { String::new() }
}
