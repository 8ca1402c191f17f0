//! What the agent finds out about its surroundings, every 10 s: each look is a system call or two, and no disk is
//! waited for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_lib::{ConditionKind, State, Verdict};
use hal_core::Board;
use mtls::OwnCertificate;
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use rustix::io::Errno;

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
}

impl Conditions {
    /// Looks at all of them; `file_systems` is what the readings say.
    pub(crate) fn look<B: Board>(&self, node: &Node<B>, file_systems: Verdict) {
        let storage = if file_systems.state == State::True { storage(&self.state) } else { file_systems };
        node.judge(ConditionKind::Storage, storage);
        let validity = self.certificate.validity();
        let now = SystemTime::now();
        node.judge(ConditionKind::Clock, clock(&self.root, now, validity.map(|(from, _)| from)));
        node.judge(ConditionKind::Certificate, certificate(now, validity));
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
/// from before our certificate is wrong, whoever says otherwise.
fn clock(root: &Path, now: SystemTime, valid_from: Option<SystemTime>) -> Verdict {
    if valid_from.is_some_and(|from| now < from) {
        return Verdict::fails("Behind", "the clock stands before the certificate's beginning: it was never set");
    }
    let timesync = root.join("run/systemd/timesync");
    match (timesync.join("synchronized").exists(), timesync.exists()) {
        (true, _) => Verdict::holds("Synchronised", ""),
        (false, true) => Verdict::fails("NotSynchronised", "systemd-timesyncd has not heard from a time server yet"),
        (false, false) => Verdict::unknown("NoWitness", "no systemd-timesyncd on this system to ask"),
    }
}

/// Until when the certificate is good. At two thirds of its life it should have been renewed.
fn certificate(now: SystemTime, validity: Option<(SystemTime, SystemTime)>) -> Verdict {
    let Some((from, until)) = validity else {
        return Verdict::unknown("Unreadable", "");
    };
    let life = until.duration_since(from).unwrap_or_default();
    match (now.duration_since(from), until.duration_since(now)) {
        (Err(_), _) => Verdict::unknown("ClockBehind", "by this clock the certificate is not valid yet"),
        (_, Err(_)) => Verdict::fails("Expired", "join again, or let the control plane renew it"),
        (Ok(age), Ok(left)) if age > life * 2 / 3 => {
            Verdict::holds("DueForRenewal", format!("expires in {}", rough(left)))
        }
        (Ok(age), Ok(left)) => {
            let renewal = (life * 2 / 3).saturating_sub(age);
            Verdict::holds("Valid", format!("expires in {}, due for renewal in {}", rough(left), rough(renewal)))
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
    fn the_clock_is_what_the_time_service_says() {
        let root = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        assert_eq!(reason(&clock(root.path(), now, None)), (State::Unknown, "NoWitness"));
        std::fs::create_dir_all(root.path().join("run/systemd/timesync")).unwrap();
        assert_eq!(reason(&clock(root.path(), now, None)), (State::False, "NotSynchronised"));
        std::fs::write(root.path().join("run/systemd/timesync/synchronized"), "").unwrap();
        assert_eq!(reason(&clock(root.path(), now, None)), (State::True, "Synchronised"));
        let later = now + Duration::from_secs(1);
        assert_eq!(reason(&clock(root.path(), now, Some(later))), (State::False, "Behind"));
    }

    #[test]
    fn a_certificate_is_valid_then_due_then_expired() {
        let from = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let validity = Some((from, from + Duration::from_secs(9 * 86400)));
        let at = |days: u64| certificate(from + Duration::from_secs(days * 86400), validity);
        assert_eq!(at(1).message, "expires in 8 days, due for renewal in 5 days");
        assert_eq!(reason(&at(7)), (State::True, "DueForRenewal"));
        assert_eq!(reason(&at(10)), (State::False, "Expired"));
        let before = certificate(SystemTime::UNIX_EPOCH, validity);
        assert_eq!(reason(&before), (State::Unknown, "ClockBehind"));
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
