//! A control group (cgroup v2) for each command: nothing leaves it, and one write ends all that is in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = "command-";

/// One command's group. It goes with its value, and what is in it too.
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// A new one below `parent`, with at most so many processes if the parent has the pids controller.
    pub(super) fn create(parent: &Path, processes: Option<u64>) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        let told = |error: io::Error| io::Error::new(error.kind(), format!("cgroup {}: {error}", folder.display()));
        fs::create_dir(&folder).map_err(told)?;
        let cgroup = Self(folder.clone());
        let limit = folder.join("pids.max");
        // without the controller there is no such file, and the limit of the user's processes stands
        if let Some(processes) = processes.filter(|_| limit.exists()) {
            fs::write(limit, processes.to_string()).map_err(told)?;
        }
        Ok(cgroup)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// Prepares `parent`: gives the pids controller to the groups below, if it can, and ends what an earlier agent, whose
    /// supervisors were killed with it, left there.
    ///
    /// # Errors
    ///
    /// If it is no cgroup v2, or not this user's.
    pub(super) fn prepare(parent: &Path) -> io::Result<()> {
        if !parent.join("cgroup.procs").exists() {
            return Err(io::Error::other("is no cgroup v2"));
        }
        if let Err(error) = fs::write(parent.join("cgroup.subtree_control"), "+pids") {
            tracing::warn!(cgroup = %parent.display(), %error, "processes of a command are limited by user only");
        }
        for entry in fs::read_dir(parent)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                drop(Self(entry.path()));
            }
        }
        Ok(())
    }
}

impl Drop for Cgroup {
    /// The supervisor has done so already, unless it was killed.
    fn drop(&mut self) {
        if self.0.exists() {
            let _ = fs::write(self.0.join("cgroup.kill"), "1");
            for _ in 0..10 {
                if fs::remove_dir(&self.0).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(2)); // what was killed is on its way out
            }
        }
    }
}
