//! I6: the audits verify. To be called at the end of every test that does harm.

use std::path::{Path, PathBuf};
use std::process::Command;

use audit::{Row, Verifier};
use pi_controller::store::{AuditPage, AuditQuery, AuditReader};

use crate::Cluster;

/// Every row of a controller's audit, from its store: no controller has to run.
///
/// # Panics
///
/// If the store cannot be read.
pub fn audit_rows(cluster: &Cluster) -> Vec<Row> {
    page(cluster).rows
}

/// The controller's audit is whole and as it was written; answers how many rows it has.
///
/// # Panics
///
/// If it is not.
pub fn audit_verifies(cluster: &Cluster) -> u64 {
    let AuditPage { chain, rows, last } = page(cluster);
    let mut verifier = Verifier::new(&chain);
    rows.iter().for_each(|row| verifier.check(row));
    verifier.end_at(last);
    let report = verifier.finish();
    assert!(report.is_good(), "I6: {:?}", report.damages);
    report.rows
}

fn page(cluster: &Cluster) -> AuditPage {
    let reader = AuditReader::new(&cluster.controller_state().join("state.db"));
    reader.page(&AuditQuery { limit: u32::MAX, ..AuditQuery::default() }).expect("the audit")
}

/// Every row of the audit that a node keeps in its state folder.
///
/// # Panics
///
/// If a file cannot be read.
pub fn node_audit_rows(state: &Path) -> Vec<Row> {
    let files = audit::journal_files(&state.join("audit")).expect("a folder");
    let lines =
        files.iter().flat_map(|path| audit::Lines::open(std::fs::File::open(path).expect("a file")).expect("rows"));
    lines.map(|row| row.expect("a file").expect("a row")).collect()
}

/// The same of a node: it is whole and as it was written; answers how many rows it has.
///
/// # Panics
///
/// If it is not.
pub fn node_audit_verifies(state: &Path) -> u64 {
    let found = audit::verify_folder(&state.join("audit"), &[]).expect("readable files");
    let Some((_, report)) = found else { return 0 };
    assert!(report.is_good(), "I6: {:?}", report.damages);
    report.rows
}

/// A folder on a disk of its own, so small that it can be filled. Gone with the value.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `kib` KiB. `None`: only root can.
    ///
    /// # Panics
    ///
    /// In CI, where this must be possible.
    pub fn mount(folder: &Path, kib: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k,mode=0700"), "tmpfs"]).arg(folder).output();
        if mount.is_ok_and(|mount| mount.status.success()) {
            return Some(Self { folder: folder.to_owned() });
        }
        assert!(std::env::var_os("CI").is_none(), "only root can mount");
        println!("skipped: only root can mount");
        None
    }

    /// Leaves no room.
    ///
    /// # Panics
    ///
    /// If that is not so afterwards.
    pub fn fill(&self) {
        let mut filled = 0;
        for block in [1 << 16, 1 << 12, 1] {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(self.ballast()).expect("a file");
            while std::io::Write::write(&mut &file, &vec![0; block]).is_ok_and(|written| written > 0) {
                filled += block;
            }
        }
        assert!(filled > 0, "there was room");
    }

    /// Makes room again.
    ///
    /// # Panics
    ///
    /// If it was not filled.
    pub fn clear(&self) {
        std::fs::remove_file(self.ballast()).expect("ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazily: an agent or controller may still have files open
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}
