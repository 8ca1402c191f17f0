//! What a node remembers of commands: outcomes for a while, request ids for longer, so that nothing runs twice.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use hal_core::Instant;

use crate::{CommandRefusal, Holder};

/// Outcomes that are kept at most, whatever their age.
const OUTCOMES: usize = 256;
/// Bytes of outcomes that are kept at most.
const BYTES: usize = 4 << 20;
/// Request ids that are remembered at most.
const REQUESTS: usize = 4096;

/// A command of this start of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobNumber(u64);

/// A caller's own name for a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// Whose; two callers may use the same text.
    pub holder: Holder,
    /// 1 to 64 printable characters.
    pub text: String,
}

/// A command that is remembered. `R` is how it ended.
#[derive(Clone, Debug)]
pub struct Job<R> {
    /// Who started it.
    pub holder: Holder,
    /// What runs, for people.
    pub program: String,
    /// When it was started.
    pub started: Instant,
    /// Whether it is shown, and not kept for repeated requests only.
    pub detached: bool,
    /// How it ended; `None`: it runs.
    pub outcome: Option<R>,
    ended: Option<Instant>,
    bytes: usize,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun<R> {
    /// It is new: run it, and tell [`Jobs::end`].
    Run(JobNumber),
    /// It runs already.
    Running(JobNumber),
    /// It has ended, and this is how.
    Ended(JobNumber, R),
    /// It was begun, and nobody knows how it ended, or no longer.
    Lost,
}

/// Commands under way and ended. `epoch` is the number of the agent's start: a job of an earlier one is lost.
#[derive(Clone, Debug)]
pub struct Jobs<R> {
    epoch: u64,
    keep: Duration,
    next: u64,
    jobs: BTreeMap<u64, Job<R>>,
    requests: BTreeMap<RequestId, ([u8; 32], Option<JobNumber>)>,
    /// The oldest first.
    order: VecDeque<RequestId>,
}

impl<R: Clone> Jobs<R> {
    /// None yet; outcomes are kept for `keep`.
    pub fn new(epoch: u64, keep: Duration) -> Self {
        let (jobs, requests, order) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self { epoch, keep, next: 1, jobs, requests, order }
    }

    /// A request that an earlier start of the agent began.
    pub fn remember(&mut self, request: RequestId, digest: [u8; 32]) {
        self.know(request, digest, None);
    }

    /// A command is wanted. With a request id it runs only if the id is new; `digest` is of the request's body.
    ///
    /// # Errors
    ///
    /// `Reused` if the id was used for another body.
    pub fn begin(
        &mut self,
        now: Instant,
        holder: &Holder,
        program: String,
        detached: bool,
        request: Option<(String, [u8; 32])>,
    ) -> Result<Begun<R>, CommandRefusal> {
        self.forget(now);
        let request = request.map(|(text, digest)| (RequestId { holder: holder.clone(), text }, digest));
        if let Some((request, digest)) = &request
            && let Some((known, number)) = self.requests.get(request)
        {
            if known != digest {
                return Err(CommandRefusal::Reused { id: request.text.clone() });
            }
            let job = number.and_then(|number| Some((number, self.jobs.get(&number.0)?)));
            return Ok(match job {
                None => Begun::Lost,
                Some((number, Job { outcome: None, .. })) => Begun::Running(number),
                Some((number, Job { outcome: Some(outcome), .. })) => Begun::Ended(number, outcome.clone()),
            });
        }
        let number = JobNumber(self.next);
        self.next += 1;
        let holder = holder.clone();
        let job = Job { holder, program, started: now, detached, outcome: None, ended: None, bytes: 0 };
        self.jobs.insert(number.0, job);
        if let Some((request, digest)) = request {
            self.know(request, digest, Some(number));
        }
        Ok(Begun::Run(number))
    }

    /// It was refused after all, before anything was started: as if it had never been asked for.
    pub fn undo(&mut self, number: JobNumber) {
        self.jobs.remove(&number.0);
        self.requests.retain(|_, (_, known)| *known != Some(number));
        self.order.retain(|request| self.requests.contains_key(request));
    }

    /// A command has ended; its outcome takes `bytes`.
    pub fn end(&mut self, now: Instant, number: JobNumber, outcome: R, bytes: usize) {
        let wanted = self.requests.values().any(|(_, known)| *known == Some(number));
        match self.jobs.get_mut(&number.0) {
            Some(job) if job.detached || wanted => {
                (job.outcome, job.ended, job.bytes) = (Some(outcome), Some(now), bytes);
            }
            _ => drop(self.jobs.remove(&number.0)),
        }
        self.forget(now);
    }

    /// A job by its name, for its holder or somebody who sees `all`. `None`: of an earlier start of the agent, lost.
    ///
    /// # Errors
    ///
    /// `UnknownJob`.
    pub fn find(
        &mut self,
        now: Instant,
        name: &str,
        who: &Holder,
        all: bool,
    ) -> Result<Option<(JobNumber, &Job<R>)>, CommandRefusal> {
        self.forget(now);
        let unknown = || CommandRefusal::UnknownJob { name: name.into(), keep: self.keep };
        let (epoch, number) = parse(name).ok_or_else(unknown)?;
        if epoch < self.epoch {
            return Ok(None);
        }
        let job = self.jobs.get(&number).filter(|job| epoch == self.epoch && (all || job.holder == *who));
        job.map(|job| Some((JobNumber(number), job))).ok_or_else(unknown)
    }

    /// The detached jobs of `who`, or all; the oldest first.
    pub fn list(&self, now: Instant, who: &Holder, all: bool) -> Vec<(JobNumber, &Job<R>)> {
        let fresh = |job: &Job<R>| job.ended.is_none_or(|ended| now.saturating_since(ended) < self.keep);
        let seen = |job: &Job<R>| job.detached && fresh(job) && (all || job.holder == *who);
        self.jobs.iter().filter(|(_, job)| seen(job)).map(|(number, job)| (JobNumber(*number), job)).collect()
    }

    /// A job's name; no other start of the agent gives it.
    pub fn name(&self, number: JobNumber) -> String {
        format!("{}-{}", self.epoch, number.0)
    }

    fn know(&mut self, request: RequestId, digest: [u8; 32], number: Option<JobNumber>) {
        if self.requests.insert(request.clone(), (digest, number)).is_none() {
            self.order.push_back(request);
        }
        while self.order.len() > REQUESTS {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.requests.remove(&oldest));
        }
    }

    /// Outcomes that are too old or too many.
    fn forget(&mut self, now: Instant) {
        let keep = self.keep;
        self.jobs.retain(|_, job| job.ended.is_none_or(|ended| now.saturating_since(ended) < keep));
        let ended = self.jobs.iter().filter(|(_, job)| job.ended.is_some());
        let (mut count, mut bytes) = ended.fold((0, 0), |(count, bytes), (_, job)| (count + 1, bytes + job.bytes));
        while count > OUTCOMES || bytes > BYTES {
            let ended = self.jobs.iter().filter_map(|(number, job)| Some((job.ended?, *number)));
            let Some((_, oldest)) = ended.min() else { return };
            bytes -= self.jobs.remove(&oldest).map_or(0, |job| job.bytes);
            count -= 1;
        }
    }
}

fn parse(name: &str) -> Option<(u64, u64)> {
    let (epoch, number) = name.split_once('-')?;
    Some((epoch.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    const KEEP: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.saturating_add(Duration::from_secs(seconds))
    }

    fn anna() -> Holder {
        Holder::new("operator/anna").unwrap()
    }

    fn begin(jobs: &mut Jobs<u8>, id: &str, digest: u8) -> Result<Begun<u8>, CommandRefusal> {
        jobs.begin(at(0), &anna(), String::new(), false, Some((id.to_string(), [digest; 32])))
    }

    fn run(begun: Result<Begun<u8>, CommandRefusal>) -> JobNumber {
        match begun {
            Ok(Begun::Run(number)) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_request_runs_once() {
        let mut jobs = Jobs::new(1, KEEP);
        let number = run(begin(&mut jobs, "a", 1));
        assert_eq!(begin(&mut jobs, "a", 1), Ok(Begun::Running(number)));
        assert_eq!(begin(&mut jobs, "a", 2), Err(CommandRefusal::Reused { id: "a".to_string() }));
        jobs.end(at(1), number, 7, 0);
        assert_eq!(begin(&mut jobs, "a", 1), Ok(Begun::Ended(number, 7)));
        // its outcome is forgotten, the request is not
        let late = jobs.begin(at(100), &anna(), String::new(), false, Some(("a".to_string(), [1; 32])));
        assert_eq!(late, Ok(Begun::Lost));
        // another caller's ids are another's
        let bob = Holder::new("operator/bob").unwrap();
        run(jobs.begin(at(0), &bob, String::new(), false, Some(("a".to_string(), [9; 32]))));
    }

    #[test]
    fn a_request_of_an_earlier_start_is_lost_and_not_run() {
        let mut jobs = Jobs::<u8>::new(2, KEEP);
        jobs.remember(RequestId { holder: anna(), text: "a".to_string() }, [1; 32]);
        assert_eq!(begin(&mut jobs, "a", 1), Ok(Begun::Lost));
        assert!(begin(&mut jobs, "a", 2).is_err());
    }

    #[test]
    fn what_was_refused_can_be_asked_again() {
        let mut jobs = Jobs::new(1, KEEP);
        let number = run(begin(&mut jobs, "a", 1));
        jobs.undo(number);
        run(begin(&mut jobs, "a", 2));
    }

    #[test]
    fn jobs_are_found_by_their_holder_and_forgotten_in_time() {
        let mut jobs = Jobs::new(3, KEEP);
        let number = run(jobs.begin(at(0), &anna(), "sleep".to_string(), true, None));
        let name = jobs.name(number);
        assert_eq!(name, "3-1");
        let bob = Holder::new("operator/bob").unwrap();
        assert!(jobs.find(at(1), &name, &bob, false).is_err());
        assert!(jobs.find(at(1), &name, &bob, true).unwrap().is_some());
        assert_eq!((jobs.list(at(1), &bob, false).len(), jobs.list(at(1), &anna(), false).len()), (0, 1));
        jobs.end(at(1000), number, 1, 0);
        assert_eq!(jobs.find(at(1059), &name, &anna(), false).unwrap().unwrap().1.outcome, Some(1));
        assert!(jobs.find(at(1060), &name, &anna(), false).is_err());
        assert!(jobs.find(at(1), "2-1", &anna(), false).unwrap().is_none(), "of an earlier start");
        for unknown in ["4-1", "3-2", "", "x", "3-", "-1"] {
            assert!(jobs.find(at(1), unknown, &anna(), true).is_err(), "{unknown}");
        }
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_nothing_runs_twice(ids in prop::collection::vec(0_u16..600, 1..1500)) {
            let mut jobs = Jobs::new(1, KEEP);
            let mut runs = alloc::collections::BTreeSet::new();
            for id in ids {
                if let Begun::Run(number) = begin(&mut jobs, &id.to_string(), 1).unwrap() {
                    prop_assert!(runs.insert(id), "{id} ran twice");
                    jobs.end(at(0), number, 0, 100_000);
                }
                let bytes: usize = jobs.jobs.values().map(|job| job.bytes).sum();
                prop_assert!(bytes <= BYTES && jobs.jobs.len() <= OUTCOMES && jobs.order.len() <= REQUESTS);
            }
        }
    }
}
