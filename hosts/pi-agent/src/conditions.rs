//! What the agent finds out about its surroundings, every 10 s: each look is a system call or two, and no disk is
//! waited for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_lib::{ConditionKind, State, Verdict};
use hal_core::Board;
use mtls::{Clock, OwnCertificate, Validity};
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use rustix::io::Errno;
use tokio::time::Instant;

use crate::renewal::{Progress, Standing};
use crate::service::Node;

/// Less space than this is no space: a state file is written beside the old one.
const LEAST_BYTES: u64 = 1 << 20;

/// Where to look.
pub(crate) struct Conditions {
    /// `/`, but in tests.
    pub(crate) root: PathBuf,
    /// Where the agent stores what has to last.
    pub(crate) state: PathBuf,
    pub(crate) certificate: Arc<OwnCertificate>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) renewals: Arc<Progress>,
}

impl Conditions {
    /// Looks at all of them; `file_systems` is what the readings say.
    pub(crate) fn look<B: Board>(&self, node: &Node<B>, file_systems: Verdict) {
        let storage = if file_systems.state == State::True { storage(&self.state) } else { file_systems };
        node.judge(ConditionKind::Storage, storage);
        let (ahead, standing) = (self.clock.ahead(), self.renewals.standing());
        node.judge(ConditionKind::Clock, clock(&self.root, self.clock.behind(), ahead));
        let certificate = certificate(self.clock.now(), self.certificate.validity(), ahead, &standing);
        node.judge(ConditionKind::Certificate, certificate);
        node.judge(ConditionKind::Journal, journal(&self.root));
        node.judge(ConditionKind::Leases, node.leases());
    }
}

/// Asks whether the folder could be written to; writes nothing, because that would wear the card out.
fn storage(state: &Path) -> Verdict {
    let place = state.display();
    match (statvfs(state), access(state, Access::WRITE_OK)) {
        (Err(error), _) => Verdict::fails("Missing", format!("{place}: {error}")),
        (Ok(told), _) if told.f_flag.contains(StatVfsMountFlags::RDONLY) => read_only(state),
        (_, Err(Errno::ROFS)) => read_only(state),
        (_, Err(error)) => Verdict::fails("NotWritable", format!("{place}: {error}")),
        (Ok(told), Ok(())) if told.f_bavail.saturating_mul(told.f_frsize) < LEAST_BYTES => {
            Verdict::fails("Full", format!("{place} has less than 1 MiB left: make room"))
        }
        (Ok(_), Ok(())) => Verdict::holds("Writable", ""),
    }
}

fn read_only(state: &Path) -> Verdict {
    Verdict::fails(
        "ReadOnly",
        format!("{} is on a read-only file system: look for disk errors in the log", state.display()),
    )
}

/// What the time service says, as it says it to everybody: it touches a file (systemd-timesyncd.service(8)). A clock
/// that the control plane has shown to be wrong is so, whoever says otherwise.
fn clock(root: &Path, behind: Option<Duration>, ahead: Option<Duration>) -> Verdict {
    if let Some(by) = behind {
        let by = rough(by);
        return Verdict::fails(
            "Behind",
            format!(
                "this clock is behind by at least {by}: it was never set; certificates are judged by the time that is known to be over"
            ),
        );
    }
    if let Some(by) = ahead {
        let by = rough(by);
        return Verdict::fails("Ahead", format!("this clock is ahead of the control plane's by at least {by}: set it"));
    }
    let timesync = root.join("run/systemd/timesync");
    match (timesync.join("synchronized").exists(), timesync.exists()) {
        (true, _) => Verdict::holds("Synchronised", ""),
        (false, true) => Verdict::fails("NotSynchronised", "systemd-timesyncd has not heard from a time server yet"),
        (false, false) => Verdict::unknown("NoWitness", "no systemd-timesyncd on this system to ask"),
    }
}

/// Until when the certificate is good, and how its renewal stands. A renewal that fails is something to look at in the
/// last quarter of the certificate's life.
fn certificate(now: SystemTime, validity: Option<Validity>, ahead: Option<Duration>, renewal: &Standing) -> Verdict {
    let Some(validity) = validity else {
        return Verdict::unknown("Unreadable", "");
    };
    let failure = renewal.failure.as_ref().map(|why| format!("; cannot renew it: {why}")).unwrap_or_default();
    let Ok(left) = validity.not_after.duration_since(now) else {
        return match ahead {
            Some(_) => Verdict::unknown("ClockAhead", "by this clock it has expired, but this clock is ahead"),
            None => {
                Verdict::fails("Expired", format!("expired: the control plane renews it for 90 days more{failure}"))
            }
        };
    };
    let expires = format!("expires in {}", rough(left));
    match (renewal.due, failure.is_empty()) {
        (_, false) if left < validity.lifetime() / 4 => Verdict::fails("RenewalFails", expires + &failure),
        (_, false) => Verdict::holds("RenewalFails", expires + &failure),
        (None, _) => Verdict::holds("Valid", expires + ", and there is no control plane to renew it"),
        (Some(due), _) => {
            let due = rough(due.saturating_duration_since(Instant::now()));
            Verdict::holds("Valid", format!("{expires}, renews in {due}"))
        }
    }
}

/// In the largest unit that is not 0.
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(seconds / 86400, "days"), (seconds / 3600, "hours"), (seconds / 60, "minutes"), (seconds, "s")];
    let (count, unit) = units.into_iter().find(|(count, _)| *count > 0).unwrap_or((0, "s"));
    format!("{count} {unit}")
}

/// Where systemd-journald keeps its journal, if anywhere (systemd-journald.service(8)).
fn journal(root: &Path) -> Verdict {
    if root.join("var/log/journal").is_dir() {
        return Verdict::holds("Persistent", "");
    }
    match root.join("run/log/journal").is_dir() {
        true => Verdict::holds("Volatile", "log entries are lost at reboot: create /var/log/journal to keep them"),
        false => Verdict::fails("NoJournal", "no systemd journal on this system"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(verdict: &Verdict) -> (State, &'static str) {
        (verdict.state, verdict.reason)
    }

    #[test]
    fn the_clock_is_what_the_time_service_says_unless_the_control_plane_has_shown_it_to_be_wrong() {
        let root = tempfile::tempdir().unwrap();
        let said = || clock(root.path(), None, None);
        assert_eq!(reason(&said()), (State::Unknown, "NoWitness"));
        std::fs::create_dir_all(root.path().join("run/systemd/timesync")).unwrap();
        assert_eq!(reason(&said()), (State::False, "NotSynchronised"));
        std::fs::write(root.path().join("run/systemd/timesync/synchronized"), "").unwrap();
        assert_eq!(reason(&said()), (State::True, "Synchronised"));
        let day = Some(Duration::from_secs(86400));
        assert_eq!(reason(&clock(root.path(), day, None)), (State::False, "Behind"));
        let ahead = clock(root.path(), None, day);
        assert_eq!(reason(&ahead), (State::False, "Ahead"));
        assert_eq!(ahead.message, "this clock is ahead of the control plane's by at least 1 days: set it");
    }

    #[test]
    fn a_certificate_is_valid_and_renewed_or_it_is_said_why_not() {
        let hour = Duration::from_secs(3600);
        let not_before = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let validity = Some(Validity { not_before, not_after: not_before + hour * (1 + 24 * 8) });
        let at = |days: u32, ahead, standing: &Standing| {
            certificate(not_before + hour * (1 + 24 * days), validity, ahead, standing)
        };
        let due = Some(Instant::now() + hour * 24 * 3 + hour / 2);
        let due = Standing { due, ..Standing::default() };
        assert_eq!(at(1, None, &due).message, "expires in 7 days, renews in 3 days");
        let alone = at(1, None, &Standing::default());
        assert_eq!(alone.message, "expires in 7 days, and there is no control plane to renew it");
        let failing = Standing { failure: Some("no answer".to_owned()), ..due };
        let early = at(5, None, &failing);
        assert_eq!(reason(&early), (State::True, "RenewalFails"));
        assert_eq!(early.message, "expires in 3 days; cannot renew it: no answer");
        assert_eq!(reason(&at(7, None, &failing)), (State::False, "RenewalFails"));
        assert_eq!(reason(&at(9, None, &failing)), (State::False, "Expired"));
        assert_eq!(reason(&at(9, Some(hour), &failing)), (State::Unknown, "ClockAhead"));
    }

    #[test]
    fn a_journal_lasts_or_does_not_or_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(reason(&journal(root.path())), (State::False, "NoJournal"));
        std::fs::create_dir_all(root.path().join("run/log/journal")).unwrap();
        assert_eq!(reason(&journal(root.path())), (State::True, "Volatile"));
        std::fs::create_dir_all(root.path().join("var/log/journal")).unwrap();
        assert_eq!(reason(&journal(root.path())), (State::True, "Persistent"));
    }

    #[test]
    fn a_state_folder_can_be_written_to_or_it_is_said_why_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(reason(&storage(folder.path())), (State::True, "Writable"));
        assert_eq!(reason(&storage(&folder.path().join("gone"))), (State::False, "Missing"));
        // always mounted read-only or, without privileges, not ours to write: /proc/sys
        assert_eq!(storage(Path::new("/proc/self")).state, State::False);
    }
}
