//! What callers ask about their jobs.

use proto::agent::v1::Job;
use tonic::Status;

use super::Executor;
use crate::access::Principal;
use crate::audit::Auditor;
use crate::wire;

impl Executor {
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
            self.audit.record(Auditor::entry(who, "job.cancel", name.to_owned(), "asked".to_owned(), String::new()));
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
}
