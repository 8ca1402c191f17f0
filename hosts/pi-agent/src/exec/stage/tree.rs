//! All processes that descend from this one, whatever sessions and groups they have made for themselves.

use std::collections::{BTreeMap, HashSet};
use std::fs;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// How often a pass looks for processes that came up since the last one. Each pass stops all that it finds, so that a
/// fork bomb has nobody left to fork.
const PASSES: usize = 100;

/// Sends a signal to each.
pub(super) fn signal(signal: Signal) {
    for pid in descendants() {
        let _ = kill_process(pid, signal); // it may have ended by itself
    }
}

/// Stops all, until there are no new ones, and then kills all.
pub(super) fn kill() {
    let mut stopped = HashSet::new();
    for _ in 0..PASSES {
        let new: Vec<Pid> = descendants().into_iter().filter(|pid| stopped.insert(*pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            let _ = kill_process(pid, Signal::STOP);
        }
    }
    for pid in stopped {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn descendants() -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent) in processes() {
        children.entry(parent).or_default().push(pid);
    }
    let (mut found, mut open) = (Vec::new(), vec![getpid().as_raw_nonzero().get()]);
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.extend(Pid::from_raw(child));
            open.push(child);
        }
    }
    found
}

/// Each living process with its parent.
fn processes() -> impl Iterator<Item = (i32, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read(entry.path().join("stat")).ok()?;
        parent(&stat).map(|parent| (pid, parent))
    })
}

/// `pid (name) state parent …`; the name can hold anything. A zombie is dead already.
fn parent(stat: &[u8]) -> Option<i32> {
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(after + 1..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    (state != "Z").then_some(())?;
    fields.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent(b"12 (a) R 3 12 12"), Some(3));
        assert_eq!(parent(b"12 (a) S 9 (b) c) S 7 1"), Some(7));
        assert_eq!(parent(b"12 (a) Z 3 12"), None);
        assert_eq!(parent(b""), None);
    }
}
