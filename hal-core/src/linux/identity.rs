//! Who this machine is, from the device tree and the system's files.

use std::fs;
use std::path::Path;
use std::string::{String, ToString};

use procfs::{FromRead, Meminfo};

/// What tells one machine from another. What could not be read is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The model, such as `Raspberry Pi 5 Model B Rev 1.0` (device tree).
    pub model: Option<String>,
    /// The board's serial number, 16 hexadecimal digits on a Raspberry Pi (device tree).
    pub serial: Option<String>,
    /// The Raspberry Pi's revision code (device tree `system/linux,revision`): bits 4 to 11 are the type, 0x11 a Pi 4B,
    /// 0x17 a Pi 5 (Raspberry Pi documentation, "Raspberry Pi revision codes").
    pub revision: Option<u32>,
    /// The installation's id (machine-id(5)). A copied card carries the same one.
    pub machine_id: Option<String>,
    /// Another one at every boot.
    pub boot_id: Option<String>,
    /// The kernel's release, such as `6.12.25+rpt-rpi-2712`.
    pub kernel: Option<String>,
    /// The operating system's name for people (os-release(5) `PRETTY_NAME`).
    pub os: Option<String>,
    /// The kernel's architecture, such as `aarch64`; before Linux 6.1, which does not tell by file, the agent's own.
    pub architecture: Option<String>,
    /// Main memory in bytes, less what firmware and kernel keep for themselves.
    pub ram_bytes: Option<u64>,
}

impl Identity {
    /// Reads the identity below `root`, which is `/` but in tests.
    pub fn read(root: &Path) -> Self {
        let tree = root.join("proc/device-tree");
        let kernel = root.join("proc/sys/kernel");
        Self {
            model: text(&tree.join("model")),
            serial: text(&tree.join("serial-number")),
            revision: big_endian(&tree.join("system/linux,revision")),
            machine_id: text(&root.join("etc/machine-id")),
            boot_id: text(&kernel.join("random/boot_id")),
            kernel: text(&kernel.join("osrelease")),
            os: text(&root.join("etc/os-release")).as_deref().and_then(pretty_name),
            architecture: text(&kernel.join("arch")).or_else(|| Some(std::env::consts::ARCH.to_string())),
            ram_bytes: Meminfo::from_file(root.join("proc/meminfo")).ok().map(|memory| memory.mem_total),
        }
    }
}

/// A file's text without the newline at its end, or the NUL that ends a string of the device tree. Empty is absent.
fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!text.is_empty()).then(|| text.to_string())
}

/// A number of the device tree: one big-endian cell of 32 bits.
fn big_endian(path: &Path) -> Option<u32> {
    let bytes = fs::read(path).ok()?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pi_5() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put("proc/device-tree/model", b"Raspberry Pi 5 Model B Rev 1.0\0");
        put("proc/device-tree/serial-number", b"10000000abcdef01\0");
        put("proc/device-tree/system/linux,revision", &[0x00, 0xc0, 0x41, 0x70]);
        put("proc/sys/kernel/osrelease", b"6.12.25+rpt-rpi-2712\n");
        put("proc/sys/kernel/arch", b"aarch64\n");
        put("proc/sys/kernel/random/boot_id", b"5e0d4b2e-8f3c-4f57-9a52-0f8b0a6b9c11\n");
        put("proc/meminfo", MEMINFO.as_bytes());
        put("etc/machine-id", b"0123456789abcdef0123456789abcdef\n");
        put("etc/os-release", b"ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
        root
    }

    /// The fields that every kernel has had.
    const MEMINFO: &str = "MemTotal: 8256752 kB\nMemFree: 1 kB\nBuffers: 1 kB\nCached: 1 kB\nSwapCached: 0 kB\n\
        Active: 1 kB\nInactive: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 1 kB\n\
        Slab: 1 kB\nCommitted_AS: 1 kB\nVmallocTotal: 1 kB\nVmallocUsed: 1 kB\nVmallocChunk: 0 kB\n";

    #[test]
    fn a_pi_5_is_known() {
        let root = pi_5();
        let pi = Identity::read(root.path());
        assert_eq!(pi.model.as_deref(), Some("Raspberry Pi 5 Model B Rev 1.0"));
        assert_eq!(pi.serial.as_deref(), Some("10000000abcdef01"));
        assert_eq!(pi.revision.map(|code| code >> 4 & 0xff), Some(0x17));
        assert_eq!(pi.kernel.as_deref(), Some("6.12.25+rpt-rpi-2712"));
        assert_eq!(pi.os.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(pi.architecture.as_deref(), Some("aarch64"));
        assert_eq!(pi.ram_bytes, Some(8_256_752 * 1024));
        assert_eq!(pi.machine_id.map(|id| id.len()), Some(32));
        assert_eq!(pi.boot_id.map(|id| id.len()), Some(36));
    }

    #[test]
    fn an_empty_tree_is_nobody() {
        let root = tempfile::tempdir().unwrap();
        let architecture = Some(std::env::consts::ARCH.to_string());
        assert_eq!(Identity::read(root.path()), Identity { architecture, ..Identity::default() });
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_boot() {
        let here = Identity::read(Path::new("/"));
        assert!(here.kernel.is_some() && here.boot_id.is_some() && here.ram_bytes.is_some());
    }
}
