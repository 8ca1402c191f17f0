//! The system's state from `/proc`, `/sys` and the file system.

use core::time::Duration;
use std::path::{Path, PathBuf};

use procfs::{Current, CurrentSI, KernelStats, LoadAverage, Meminfo, Uptime};
use rustix::fs::statvfs;

use super::thermal;
use crate::{CpuTime, Disk, Memory, MetricsSource, Sample};

/// Reads `/proc/stat`, `/proc/meminfo`, `/proc/loadavg`, `/proc/uptime`, the root file system's size and the processor's
/// thermal zone: about 0.1 ms for all of them on a PC.
#[derive(Debug, Default)]
pub struct ProcfsMetrics {
    zone: Option<PathBuf>,
}

impl ProcfsMetrics {
    /// Finds the thermal zone; all else is opened at each reading.
    pub fn new() -> Self {
        Self { zone: thermal::processor_zone(Path::new("/sys/class/thermal")) }
    }
}

impl MetricsSource for ProcfsMetrics {
    fn sample(&mut self, out: &mut Sample) {
        *out = Sample {
            cpu: cpu(),
            load: load(),
            memory: memory(),
            disk: disk(),
            temperature_millicelsius: self.zone.as_deref().and_then(thermal::millicelsius),
            uptime: uptime(),
        };
    }
}

fn cpu() -> Option<CpuTime> {
    let time = KernelStats::current().ok()?.total;
    // Guest time is part of user time already (proc_stat(5)). Stolen time counts as busy: nobody here could use it.
    let kernel = [time.irq, time.softirq, time.steal].into_iter().flatten().sum::<u64>();
    let busy_ticks = time.user + time.nice + time.system + kernel;
    Some(CpuTime { busy_ticks, total_ticks: busy_ticks + time.idle + time.iowait.unwrap_or_default() })
}

fn load() -> Option<[f32; 3]> {
    let load = LoadAverage::current().ok()?;
    Some([load.one, load.five, load.fifteen])
}

fn memory() -> Option<Memory> {
    let memory = Meminfo::current().ok()?;
    Some(Memory { total_bytes: memory.mem_total, available_bytes: memory.mem_available? })
}

fn disk() -> Option<Disk> {
    let root = statvfs("/").ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(root.f_frsize);
    Some(Disk { total_bytes: bytes(root.f_blocks), available_bytes: bytes(root.f_bavail) })
}

fn uptime() -> Option<Duration> {
    Uptime::current().ok().map(|uptime| uptime.uptime_duration())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_measured() {
        let mut sample = Sample::default();
        ProcfsMetrics::new().sample(&mut sample);
        let cpu = sample.cpu.unwrap();
        assert!(0 < cpu.busy_ticks && cpu.busy_ticks < cpu.total_ticks);
        let memory = sample.memory.unwrap();
        assert!(0 < memory.available_bytes && memory.available_bytes < memory.total_bytes);
        let disk = sample.disk.unwrap();
        assert!(disk.available_bytes <= disk.total_bytes && disk.total_bytes > 0);
        assert!(sample.load.is_some());
        assert!(sample.uptime.unwrap() > Duration::from_secs(1));
    }

    #[test]
    fn counters_only_grow() {
        let mut source = ProcfsMetrics::new();
        let (mut first, mut second) = (Sample::default(), Sample::default());
        source.sample(&mut first);
        source.sample(&mut second);
        assert!(first.cpu.unwrap().total_ticks <= second.cpu.unwrap().total_ticks);
        assert!(first.uptime <= second.uptime);
    }

    #[test]
    fn a_missing_sensor_is_absent() {
        let mut sample = Sample { temperature_millicelsius: Some(1), ..Sample::default() };
        ProcfsMetrics::default().sample(&mut sample);
        assert_eq!(sample.temperature_millicelsius, None);
    }
}
