//! File systems from `/proc/self/mountinfo` and statvfs(3), block devices from `/proc/diskstats`.

use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

use procfs::DiskStat;
use rustix::fs::statvfs;

use super::kept::{Buffer, Kept};
use super::{Tell, failed};
use crate::{BlockDevice, FileSystem, Groups, Label, Reading, Usage};

/// More are not told: containers mount hundreds.
const FILE_SYSTEMS: usize = 32;

/// The kernel's unit in `/proc/diskstats`, whatever the device's own is.
const SECTOR: u64 = 512;

#[derive(Debug)]
pub(super) struct Disks {
    root: PathBuf,
    mounts: Kept,
    devices: Kept,
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq)]
struct Mount<'a> {
    /// `major:minor`: the same for every mount of one file system.
    device_number: &'a str,
    /// What of the file system is mounted: `/` unless it is a bind mount.
    part: &'a str,
    mount: String,
    kind: &'a str,
    source: String,
    read_only: bool,
}

impl Disks {
    pub(super) fn new(root: &Path) -> Self {
        let proc = root.join("proc");
        Self {
            root: root.into(),
            mounts: Kept::new(proc.join("self/mountinfo")),
            devices: Kept::new(proc.join("diskstats")),
        }
    }

    pub(super) fn sample(&mut self, buffer: &mut Buffer, tell: Tell<'_>) {
        match self.mounts.read(buffer).map_err(|error| self.mounts.told(&error)) {
            Ok(text) => tell_file_systems(&self.root, text, tell),
            Err(why) => failed(tell, Groups::DISK, "filesystem", &why),
        }
        match self.devices.read(buffer) {
            Ok(text) => {
                for device in text.lines().filter_map(|line| DiskStat::from_line(line).ok()) {
                    if is_whole(&self.root, &device.name) {
                        tell(Reading::BlockDevice(block_device(&device)));
                    }
                }
            }
            Err(error) => {
                if let Some(why) = self.devices.failure(&error) {
                    failed(tell, Groups::DISK, "diskstats", &why);
                }
            }
        }
    }
}

fn tell_file_systems(root: &Path, mountinfo: &str, tell: Tell<'_>) {
    for mount in local(mountinfo) {
        let below = root.join(mount.mount.trim_start_matches('/'));
        let usage = match statvfs(&below) {
            Ok(told) => {
                let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
                Some(Usage {
                    total_bytes: bytes(told.f_blocks),
                    free_bytes: bytes(told.f_bfree),
                    available_bytes: bytes(told.f_bavail),
                    total_inodes: told.f_files,
                    free_inodes: told.f_ffree,
                })
            }
            Err(error) => {
                failed(tell, Groups::DISK, "filesystem", &std::format!("{}: {error}", mount.mount));
                None
            }
        };
        let Mount { mount, kind, source, read_only, .. } = mount;
        let file_system = FileSystem { device: Label::new(&source), kind: Label::new(kind), read_only, usage };
        tell(Reading::FileSystem { mount: &mount, file_system });
    }
}

/// The local file systems, each once, where the whole of it is mounted. Never one of a network: asking it how full it is
/// waits for a server that may be gone.
fn local(mountinfo: &str) -> Vec<Mount<'_>> {
    let mut mounts: Vec<Mount<'_>> = Vec::new();
    for mount in mountinfo.lines().filter_map(parse) {
        if !is_local(&mount) || is_plumbing(&mount.mount) {
            continue;
        }
        // what is mounted last at a place hides what was there
        mounts.retain(|other| other.mount != mount.mount);
        match mounts.iter_mut().find(|other| other.device_number == mount.device_number) {
            None => mounts.push(mount),
            Some(other) if other.part != "/" && mount.part == "/" => *other = mount,
            Some(_) => {}
        }
    }
    mounts.truncate(FILE_SYSTEMS);
    mounts
}

/// On a block device (whose major number is not 0), or of a kind that is local in spite of a number of its own. FUSE is
/// a program, and may hang like a server.
fn is_local(mount: &Mount<'_>) -> bool {
    let on_device = !mount.device_number.starts_with("0:") && !mount.kind.starts_with("fuse");
    on_device || ["bcachefs", "btrfs", "overlay", "tmpfs", "zfs"].contains(&mount.kind)
}

/// Mounts that nobody stores anything in on purpose: node_exporter leaves out the same.
fn is_plumbing(mount: &str) -> bool {
    let below = |folder: &str| mount.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ["/dev", "/proc", "/run/credentials", "/run/user", "/sys", "/var/lib/containers/storage", "/var/lib/docker"]
        .into_iter()
        .any(below)
}

fn parse(line: &str) -> Option<Mount<'_>> {
    let (of_mount, of_file_system) = line.split_once(" - ")?;
    let mut fields = of_mount.split(' ').skip(2);
    let (device_number, part, mount) = (fields.next()?, fields.next()?, unescaped(fields.next()?));
    let mut fields = of_file_system.split(' ');
    let (kind, source) = (fields.next()?, unescaped(fields.next()?));
    // The options of the file system, not of the mount: a service manager that protects the system from us gives us a
    // read-only mount of a file system that is well.
    let read_only = fields.next()?.split(',').any(|option| option == "ro");
    Some(Mount { device_number, part, mount, kind, source, read_only })
}

/// Space, tab, newline and backslash stand as `\` and three octal digits.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                plain.push(code.into());
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// Partitions are parts of what is told already; loop and RAM devices wear nothing out.
fn is_whole(root: &Path, name: &str) -> bool {
    let plumbing = ["loop", "ram", "zram"].into_iter().any(|kind| name.starts_with(kind));
    !plumbing && root.join("sys/block").join(name).exists()
}

fn block_device(device: &DiskStat) -> BlockDevice {
    BlockDevice {
        name: Label::new(&device.name),
        read_bytes: device.sectors_read.saturating_mul(SECTOR),
        written_bytes: device.sectors_written.saturating_mul(SECTOR),
        reads: device.reads,
        writes: device.writes,
        busy_ms: device.time_in_progress,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOUNTS: &str = "\
21 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 ro
22 21 0:5 / /dev rw - devtmpfs udev rw
23 21 179:1 / /boot/firmware rw shared:2 - vfat /dev/mmcblk0p1 rw,fmask=0022
24 21 0:50 / /mnt/nas rw - nfs4 nas:/export rw,hard
25 21 179:2 /srv /srv\\040files ro - ext4 /dev/mmcblk0p2 ro
26 21 0:51 / /mnt/stick rw - fuse.sshfs pi@host: rw
27 21 0:60 / /tmp ro,nosuid - tmpfs tmpfs rw,size=1k
28 21 8:1 / /mnt/fuse rw - fuseblk /dev/sda1 rw
29 21 0:70 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
";

    #[test]
    fn a_network_mount_is_never_asked() {
        let mounts: Vec<_> = local(MOUNTS).into_iter().map(|mount| mount.mount).collect();
        assert_eq!(mounts, ["/", "/boot/firmware", "/tmp"]);
    }

    #[test]
    fn read_only_is_the_file_system_s_own_word() {
        let read_only: Vec<_> = local(MOUNTS).iter().map(|mount| mount.read_only).collect();
        assert_eq!(read_only, [true, false, false]); // /tmp is only mounted read-only for us
    }

    #[test]
    fn the_last_mount_at_a_place_counts() {
        let mounts = local("1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / / rw - overlay overlay rw\n");
        assert_eq!(mounts.iter().map(|mount| mount.kind).collect::<Vec<_>>(), ["overlay"]);
    }

    #[test]
    fn odd_names_are_written_out() {
        assert_eq!(unescaped("/a\\040b\\134c"), "/a b\\c");
        assert_eq!(unescaped("\\"), "\\");
        assert_eq!(unescaped("\\99é"), "\\99é");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", line in "([a-z0-9:/\\\\é]{0,5} ){0,8}- ([a-z,\\\\0-9]{0,5} ?){0,4}") {
            local(&text);
            local(&line);
            unescaped(&text);
        }
    }
}
