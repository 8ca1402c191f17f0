//! Readings of Raspberry Pis from trees of `/proc` and `/sys`.
//!
//! The trees are **made**, not recorded: each file after its documented format (proc(5), the kernel's
//! `Documentation/ABI` and `Documentation/hwmon`, Raspberry Pi's device trees), with the values that a board of that
//! model plausibly has. What differs between the models is in [`Model`].

#![cfg(feature = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use hal_core::linux::{Identity, ProcfsMetrics};
use hal_core::{Groups, MetricsSource, Reading, Throttled};
use tempfile::TempDir;

/// What differs.
struct Model {
    name: &'static str,
    cores: u16,
    memory_kib: u64,
    /// The folder of the firmware's word; `None`: a kernel that is not Raspberry Pi's.
    firmware: Option<&'static str>,
    throttled: &'static str,
    fan: bool,
    max_khz: u64,
    /// Type and temperature, in the kernel's order.
    trips: &'static [(&'static str, i32)],
    interfaces: &'static [&'static str],
}

const PI_3: Model = Model {
    name: "Raspberry Pi 3 Model B Plus Rev 1.3",
    cores: 4,
    memory_kib: 944_264,
    firmware: Some("soc/soc:firmware"),
    throttled: "50005",
    fan: false,
    max_khz: 1_400_000,
    trips: &[("critical", 110_000)],
    interfaces: &["lo", "eth0", "wlan0"],
};

const PI_4: Model = Model {
    name: "Raspberry Pi 4 Model B Rev 1.4",
    memory_kib: 3_884_360,
    throttled: "80000",
    max_khz: 1_800_000,
    ..PI_3
};

const PI_5: Model = Model {
    name: "Raspberry Pi 5 Model B Rev 1.0",
    memory_kib: 8_256_752,
    firmware: Some("soc@107c000000/soc@107c000000:firmware"),
    throttled: "0",
    fan: true,
    max_khz: 2_400_000,
    trips: &[("active", 50_000), ("active", 60_000), ("active", 67_500), ("active", 75_000), ("critical", 110_000)],
    ..PI_3
};

const ZERO_2: Model = Model {
    name: "Raspberry Pi Zero 2 W Rev 1.0",
    memory_kib: 437_292,
    firmware: None, // a mainline kernel
    max_khz: 1_000_000,
    interfaces: &["lo", "wlan0"],
    ..PI_3
};

fn put(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn tree(model: &Model) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    put(root, "proc/device-tree/model", format!("{}\0", model.name));
    proc_files(root, model);
    disks(root);
    for (number, interface) in model.interfaces.iter().enumerate() {
        let state = if *interface == "lo" { "unknown" } else { "up" };
        put(root, &format!("sys/class/net/{interface}/operstate"), format!("{state}\n"));
        if number == 1 && *interface == "eth0" {
            put(root, "sys/class/net/eth0/speed", "1000\n");
        }
    }
    // on a Pi 5 the zone comes after the PMIC's
    let zone = if model.fan { "sys/class/thermal/thermal_zone1" } else { "sys/class/thermal/thermal_zone0" };
    put(root, "sys/class/thermal/thermal_zone0/type", "pmic-thermal\n");
    put(root, "sys/class/thermal/thermal_zone0/temp", "39000\n");
    put(root, &format!("{zone}/type"), "cpu-thermal\n");
    put(root, &format!("{zone}/temp"), "47236\n");
    for (number, (kind, temperature)) in model.trips.iter().enumerate() {
        put(root, &format!("{zone}/trip_point_{number}_type"), format!("{kind}\n"));
        put(root, &format!("{zone}/trip_point_{number}_temp"), format!("{temperature}\n"));
    }
    put(root, "sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
    put(root, "sys/class/hwmon/hwmon1/name", "rpi_volt\n");
    put(root, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n");
    if model.fan {
        put(root, "sys/class/hwmon/hwmon2/name", "pwmfan\n");
        put(root, "sys/class/hwmon/hwmon2/fan1_input", "2983\n");
        put(root, "sys/class/hwmon/hwmon2/pwm1", "75\n");
    }
    if let Some(firmware) = model.firmware {
        put(root, &format!("sys/devices/platform/{firmware}/get_throttled"), format!("{}\n", model.throttled));
    }
    let policy = "sys/devices/system/cpu/cpufreq/policy0";
    put(root, &format!("{policy}/scaling_cur_freq"), "600000\n");
    put(root, &format!("{policy}/cpuinfo_max_freq"), format!("{}\n", model.max_khz));
    folder
}

fn proc_files(root: &Path, model: &Model) {
    let cores: String = (0..model.cores).map(|core| format!("cpu{core} 100 5 50 2000 20 0 1 0 0 0\n")).collect();
    let stat = format!("cpu  400 20 200 8000 80 0 4 0 0 0\n{cores}ctxt 1\nbtime 1\nprocesses 4321\nprocs_running 1\n");
    put(root, "proc/stat", stat + "procs_blocked 0\n");
    put(root, "proc/uptime", "3723.45 14000.00\n");
    put(root, "proc/loadavg", "0.15 0.12 0.10 1/168 4321\n");
    let meminfo = format!(
        "MemTotal: {0} kB\nMemFree: 1024 kB\nMemAvailable: {1} kB\nSwapTotal: 102396 kB\nSwapFree: 102396 kB\n",
        model.memory_kib,
        model.memory_kib / 2
    );
    put(root, "proc/meminfo", meminfo);
    let header = "Inter-| Receive | Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n";
    let line = |name: &&str| format!("{name:>6}: 1000 10 0 1 0 0 0 0 2000 20 0 0 0 0 0 0\n");
    put(root, "proc/net/dev", header.to_owned() + &model.interfaces.iter().map(line).collect::<String>());
    put(root, "proc/self/stat", "7 (pi-agent) S 1 7 7 0 -1 0 0 0 0 0 5 6 0 0 20 0 1 0 100 9000000 1500 0 0\n");
}

fn disks(root: &Path) {
    let mounts = "21 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n\
                  22 21 179:1 / /boot/firmware rw - vfat /dev/mmcblk0p1 rw\n\
                  23 21 0:50 / /mnt/nas rw - nfs4 nas:/export rw\n";
    put(root, "proc/self/mountinfo", mounts);
    fs::create_dir_all(root.join("boot/firmware")).unwrap();
    put(
        root,
        "proc/diskstats",
        " 179 0 mmcblk0 10 1 2000 5 20 2 4000 6 0 70 11\n 179 2 mmcblk0p2 9 1 1900 5 20 2 4000 6 0 70 11\n   7 0 loop0 1 0 8 0 0 0 0 0 0 0 0\n",
    );
    fs::create_dir_all(root.join("sys/block/mmcblk0")).unwrap();
    fs::create_dir_all(root.join("sys/block/loop0")).unwrap();
}

/// One sample, each reading as `Debug` shows it; what statvfs tells of this machine is left out.
fn told(source: &mut ProcfsMetrics, groups: Groups) -> Vec<String> {
    let mut told = Vec::new();
    source.sample(groups, &mut |reading| match reading {
        Reading::FileSystem { mount, mut file_system } => {
            file_system.usage = None;
            told.push(format!("{:?}", Reading::FileSystem { mount, file_system }));
        }
        other => told.push(format!("{other:?}")),
    });
    told
}

fn failures(told: &[String]) -> Vec<&String> {
    told.iter().filter(|reading| reading.starts_with("Failed")).collect()
}

fn has(told: &[String], part: &str) -> bool {
    told.iter().any(|reading| reading.contains(part))
}

#[test]
fn each_model_is_read_without_a_failure() {
    for model in [&PI_3, &PI_4, &PI_5, &ZERO_2] {
        let tree = tree(model);
        let told = told(&mut ProcfsMetrics::below(tree.path()), Groups::ALL);
        assert!(failures(&told).is_empty(), "{}: {:?}", model.name, failures(&told));
        assert_eq!(Identity::read(tree.path()).model.as_deref(), Some(model.name));
        let cores = told.iter().filter(|reading| reading.starts_with("Core(")).count();
        assert_eq!(cores, model.cores.into(), "{}", model.name);
        assert!(has(&told, "kind: \"cpu-thermal\", processor: true, millicelsius: Some(47236)"), "{told:#?}");
        assert!(has(&told, &format!("max_khz: Some({})", model.max_khz)));
        assert_eq!(has(&told, "Throttled("), model.firmware.is_some(), "{}", model.name);
        assert!(has(&told, "Voltage { name: \"rpi_volt in0\", millivolts: None, low: Some(false) }"));
        assert_eq!(has(&told, "Fan { name: \"pwmfan\", rpm: Some(2983), drive: Some(75) }"), model.fan);
        assert_eq!(
            has(&told, "Interface { name: \"eth0\", up: Some(true), speed_mbit: Some(1000)"),
            model.interfaces.contains(&"eth0")
        );
        assert!(has(&told, "BlockDevice { name: \"mmcblk0\", read_bytes: 1024000, written_bytes: 2048000"));
        assert!(!has(&told, "mmcblk0p2\", read") && !has(&told, "loop0") && !has(&told, "/mnt/nas"));
    }
}

#[test]
fn the_firmware_s_word_is_found_below_whatever_the_soc_is_called() {
    for (model, word) in [(&PI_3, 0x5_0005), (&PI_4, 0x8_0000), (&PI_5, 0)] {
        let tree = tree(model);
        let told = told(&mut ProcfsMetrics::below(tree.path()), Groups::POWER);
        assert!(told.contains(&format!("{:?}", Reading::Throttled(Throttled(word)))), "{told:?}");
    }
}

#[test]
fn a_sensor_that_dies_fails_alone_and_may_come_back() {
    let tree = tree(&PI_5);
    let mut source = ProcfsMetrics::below(tree.path());
    told(&mut source, Groups::ALL);
    let temperature = tree.path().join("sys/class/thermal/thermal_zone1/temp");
    fs::write(&temperature, "").unwrap(); // what the driver has left to say; the descriptor stays
    let dead = told(&mut source, Groups::ALL);
    assert_eq!(failures(&dead).len(), 1, "{:?}", failures(&dead));
    assert!(
        failures(&dead)[0].contains("collector: \"thermal\"")
            && has(&dead, "kind: \"pmic-thermal\", processor: false, millicelsius: Some(39000)")
    );
    assert!(has(&dead, "kind: \"cpu-thermal\", processor: true, millicelsius: None"));
    fs::write(&temperature, "48000\n").unwrap();
    assert!(has(&told(&mut source, Groups::ALL), "millicelsius: Some(48000)"));
}

#[test]
fn a_driver_that_comes_after_the_agent_is_found() {
    let tree = tree(&ZERO_2);
    let mut source = ProcfsMetrics::below(tree.path());
    assert!(!has(&told(&mut source, Groups::ALL), "Fan"));
    put(tree.path(), "sys/class/hwmon/hwmon7/name", "pwmfan\n");
    put(tree.path(), "sys/class/hwmon/hwmon7/fan1_input", "1\n");
    (0..60).for_each(|_| drop(told(&mut source, Groups::NONE)));
    assert!(has(&told(&mut source, Groups::ALL), "Fan { name: \"pwmfan\", rpm: Some(1), drive: None }"));
}

#[test]
fn a_file_system_that_was_remounted_read_only_says_so() {
    let tree = tree(&PI_4);
    let mounts = fs::read_to_string(tree.path().join("proc/self/mountinfo")).unwrap();
    let mut source = ProcfsMetrics::below(tree.path());
    assert!(has(&told(&mut source, Groups::DISK), "kind: \"ext4\", read_only: false"));
    fs::write(tree.path().join("proc/self/mountinfo"), mounts.replace("mmcblk0p2 rw", "mmcblk0p2 ro")).unwrap();
    assert!(has(&told(&mut source, Groups::DISK), "kind: \"ext4\", read_only: true"));
}

#[test]
fn an_empty_tree_tells_nothing_but_what_has_to_be_there() {
    let tree = tempfile::tempdir().unwrap();
    let told = told(&mut ProcfsMetrics::below(tree.path()), Groups::ALL);
    let collectors: Vec<_> = ["cpu", "uptime", "load", "memory", "own", "filesystem", "network"].into();
    assert_eq!(failures(&told).len(), collectors.len(), "{told:#?}");
    for collector in collectors {
        assert!(has(&told, &format!("collector: \"{collector}\"")), "{collector}");
    }
    let rest: Vec<_> = told.iter().filter(|reading| !reading.starts_with("Failed")).collect();
    assert!(rest.iter().all(|reading| reading.contains("None") && !reading.contains("Some")), "{rest:?}");
}

#[test]
fn a_group_that_is_not_asked_for_is_not_read() {
    let tree = tree(&PI_5);
    let told = told(&mut ProcfsMetrics::below(tree.path()), Groups::LOAD);
    assert_eq!(told, ["Load([0.15, 0.12, 0.1])"]);
}

#[test]
fn this_machine_can_be_measured() {
    let mut source = ProcfsMetrics::new();
    let (first, second) = (told(&mut source, Groups::ALL), told(&mut source, Groups::ALL));
    for told in [first, second] {
        for kind in
            ["Cpu(", "Core(0", "Uptime(", "Load(", "Memory(", "FileSystem { mount: \"/\"", "Own(Own { rss_bytes: Some("]
        {
            assert!(has(&told, kind), "{kind}: {told:#?}");
        }
    }
}
