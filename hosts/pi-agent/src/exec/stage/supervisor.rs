//! The process that a command and all that it leaves behind descend from.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix_process::sys::resource::{UsageWho, getrusage};
use nix_process::sys::time::TimeValLike;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process_group, pidfd_open,
    set_child_subreaper, wait, waitid,
};

use super::message::{Ended, Order, Plan, frame, own_socket, pass_descriptors, read_frame, receive_descriptors};
use super::{LAUNCH, tree};

/// How often orphans that ended are collected while the command runs.
const COLLECT: Duration = Duration::from_millis(500);
/// How often the rest is killed again until nothing is left.
const INSIST: Duration = Duration::from_millis(20);

/// Waits for a plan, has it launched, and lives until nothing of it is left.
pub(super) fn supervise() -> io::Result<()> {
    let mut agent = own_socket()?;
    set_child_subreaper(Some(getpid()))?;
    let (mut launcher, theirs) = UnixStream::pair()?;
    let child = Command::new("/proc/self/exe").arg(LAUNCH).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no process"))?;
    let descriptors = receive_descriptors(&agent)?;
    let Some(plan) = read_frame::<Plan>(&mut agent)?.filter(|_| !descriptors.is_empty()) else {
        return Ok(()); // the agent has ended; the launcher hears of it when our socket closes
    };
    let passed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    pass_descriptors(&launcher, &passed)?;
    launcher.write_all(&frame(&plan))?;
    drop(descriptors); // or the pipes would never end
    let end = Some(pidfd_open(child, PidfdFlags::empty())?);
    let grace = Duration::from_millis(plan.grace_ms);
    let mut watch = Watch { agent: Some(agent), launcher, child, end, grace, cgroup: plan.cgroup, kill_at: None };
    while watch.collect()? {
        watch.turn()?;
    }
    watch.remove_cgroup();
    Ok(())
}

struct Watch {
    /// `None`: it is gone.
    agent: Option<UnixStream>,
    /// Brings why the command did not begin; closed by its exec(3).
    launcher: UnixStream,
    child: Pid,
    /// Readable when the command has ended; `None` after that.
    end: Option<OwnedFd>,
    grace: Duration,
    cgroup: Option<String>,
    /// When SIGTERM was not enough.
    kill_at: Option<Instant>,
}

impl Watch {
    /// Collects what has ended; false if nothing is left.
    fn collect(&mut self) -> io::Result<bool> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.child => self.ended(status.as_raw())?,
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return Ok(true),
                Err(_) => return Ok(false),
            }
        }
    }

    /// The command has ended: the agent is told, what it left behind is ended.
    fn ended(&mut self, status: i32) -> io::Result<()> {
        self.end = None;
        let failed = read_frame::<Ended>(&mut self.launcher).unwrap_or(None);
        let mut ended = failed.unwrap_or(Ended { status: Some(status), ..Ended::default() });
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) {
            let us = |time: nix_process::sys::time::TimeVal| u64::try_from(time.num_microseconds()).unwrap_or(0);
            (ended.user_us, ended.system_us) = (us(usage.user_time()), us(usage.system_time()));
            ended.peak_rss_bytes = u64::try_from(usage.max_rss()).unwrap_or(0) * 1024;
        }
        ended.left = something_is_left();
        if let Some(agent) = &mut self.agent {
            let _ = agent.write_all(&frame(&ended)); // it may be gone: then we hear of it next
        }
        if ended.left {
            self.stop(self.grace);
        }
        Ok(())
    }

    /// Waits for whatever comes first and does what it asks for.
    fn turn(&mut self) -> io::Result<()> {
        let tick = if self.kill_at.is_some() { INSIST } else { COLLECT };
        let mut polled: Vec<PollFd<'_>> = Vec::new();
        polled.extend(self.agent.as_ref().map(|agent| PollFd::new(agent, PollFlags::IN)));
        polled.extend(self.end.as_ref().map(|end| PollFd::new(end, PollFlags::IN)));
        let tick = Timespec::try_from(tick).map_err(io::Error::other)?;
        match poll(&mut polled, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let told = self.agent.is_some() && polled.first().is_some_and(|agent| !agent.revents().is_empty());
        if told {
            self.obey();
        }
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            self.kill();
        }
        Ok(())
    }

    fn obey(&mut self) {
        match self.agent.as_mut().map(read_frame::<Order>) {
            Some(Ok(Some(Order { signal, stop_ms }))) => {
                if let Some(signal) = signal.and_then(Signal::from_named_raw) {
                    let _ = kill_process_group(self.child, signal); // it may have ended
                }
                if let Some(grace) = stop_ms {
                    self.stop(Duration::from_millis(grace));
                }
            }
            // the agent has ended: nothing runs on unnoticed
            _ => {
                self.agent = None;
                self.stop(Duration::ZERO);
            }
        }
    }

    /// SIGTERM now, SIGKILL after `grace`; an earlier end stays.
    fn stop(&mut self, grace: Duration) {
        let at = Instant::now() + grace;
        if self.kill_at.is_none() && !grace.is_zero() {
            tree::signal(Signal::TERM);
            tree::signal(Signal::CONT); // what is stopped would not hear it
        }
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn kill(&self) {
        if let Some(cgroup) = &self.cgroup {
            let _ = std::fs::write(format!("{cgroup}/cgroup.kill"), "1"); // since Linux 5.14
        }
        tree::kill();
    }

    fn remove_cgroup(&self) {
        let Some(cgroup) = &self.cgroup else { return };
        for _ in 0..50 {
            if std::fs::remove_dir(cgroup).is_ok() {
                return;
            }
            std::thread::sleep(INSIST); // what was killed is on its way out
        }
    }
}

/// Whether there are children, without collecting one.
fn something_is_left() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::All, options).is_ok()
}
