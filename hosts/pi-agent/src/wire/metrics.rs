//! Readings.

use std::time::{Duration, SystemTime};

use agent_lib::{Failure, Metrics, Sample, Shares};
use hal_core::{
    BlockDevice, Clock, Fan, FileSystem, Groups, Interface, Own, Pressure, Processes, Resource, Stall, Throttled,
    Traffic, Trip, Voltage, Zone, Zram,
};
use proto::agent::v1 as pb;
use tonic::Status;

use super::{duration, invalid};

/// A client's interval: readings are taken once a second.
const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// Readings; what is absent stays absent.
pub(crate) fn metrics(metrics: &Metrics, at: SystemTime, node_id: &str, boot_id: &str) -> pb::SystemMetrics {
    let Metrics { sample, .. } = metrics;
    let usage = sample.root().and_then(|root| root.usage);
    let memory = sample.memory;
    pb::SystemMetrics {
        cpu_usage: metrics.cpu_usage_percent,
        memory_usage: metrics.memory_usage_percent,
        disk_usage: metrics.disk_usage_percent,
        temperature: metrics.temperature_celsius,
        cpu_window: metrics.cpu_window.map(duration),
        load_average: sample.load.map(|load| load.map(f64::from).to_vec()).unwrap_or_default(),
        memory_total_bytes: memory.map(|memory| memory.total_bytes),
        memory_available_bytes: memory.map(|memory| memory.available_bytes),
        disk_total_bytes: usage.map(|usage| usage.total_bytes),
        disk_available_bytes: usage.map(|usage| usage.available_bytes),
        uptime: sample.uptime.map(duration),
        node_id: node_id.to_owned(),
        boot_id: boot_id.to_owned(),
        sampled_at: Some(at.into()),
        cpu: metrics.cpu.map(|all| shares(None, all)),
        cores: metrics.cores.iter().map(|(core, of)| shares(Some(*core), *of)).collect(),
        pressure: sample.pressure.iter().map(pressure).collect(),
        memory_free_bytes: memory.and_then(|memory| memory.free_bytes),
        swap_total_bytes: memory.and_then(|memory| memory.swap_total_bytes),
        swap_free_bytes: memory.and_then(|memory| memory.swap_free_bytes),
        throttling: throttling(sample, metrics.throttled_since_boot),
        ..lists(sample)
    }
}

/// The fields that have as many values as the node has parts.
fn lists(sample: &Sample) -> pb::SystemMetrics {
    pb::SystemMetrics {
        zram: sample.zram.iter().map(zram).collect(),
        file_systems: sample.file_systems.iter().map(file_system).collect(),
        block_devices: sample.block_devices.iter().map(block_device).collect(),
        interfaces: sample.interfaces.iter().map(interface).collect(),
        thermal_zones: sample.zones.iter().map(zone).collect(),
        fans: sample.fans.iter().map(fan).collect(),
        voltages: sample.voltages.iter().map(voltage).collect(),
        clocks: sample.clocks.iter().map(clock).collect(),
        processes: sample.processes.map(processes),
        agent: sample.own.map(own),
        errors: sample.failures.iter().map(failure).collect(),
        ..pb::SystemMetrics::default()
    }
}

fn shares(core: Option<u16>, shares: Shares) -> pb::CpuShares {
    let Shares { user, system, idle, iowait, irq, steal, busy: _ } = shares;
    pb::CpuShares { core: core.map(u32::from), user, system, idle, iowait, irq, steal }
}

/// "cpu", "memory" or "io".
pub(crate) fn resource(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => "cpu",
        Resource::Memory => "memory",
        Resource::Io => "io",
    }
}

fn pressure((of, pressure): &(Resource, Pressure)) -> pb::Pressure {
    let Pressure { some, full } = *pressure;
    pb::Pressure { resource: resource(*of).to_owned(), some: Some(stall(some)), full: full.map(stall) }
}

fn stall(stall: Stall) -> pb::Stall {
    let Stall { percent, total_us } = stall;
    let [avg10, avg60, avg300] = percent.map(f64::from);
    pb::Stall { avg10, avg60, avg300, total_us }
}

fn zram(zram: &Zram) -> pb::Zram {
    let Zram { device, stored_bytes, used_bytes } = *zram;
    pb::Zram { device: device.to_string(), stored_bytes, used_bytes }
}

fn file_system((mount, file_system): &(String, FileSystem)) -> pb::FileSystem {
    let FileSystem { device, kind, read_only, usage } = *file_system;
    pb::FileSystem {
        mount: mount.clone(),
        device: device.to_string(),
        kind: kind.to_string(),
        read_only,
        total_bytes: usage.map(|usage| usage.total_bytes),
        free_bytes: usage.map(|usage| usage.free_bytes),
        available_bytes: usage.map(|usage| usage.available_bytes),
        total_inodes: usage.map(|usage| usage.total_inodes),
        free_inodes: usage.map(|usage| usage.free_inodes),
    }
}

fn block_device(device: &BlockDevice) -> pb::BlockDevice {
    let BlockDevice { name, read_bytes, written_bytes, reads, writes, busy_ms } = *device;
    let busy = Some(duration(Duration::from_millis(busy_ms)));
    pb::BlockDevice { name: name.to_string(), read_bytes, written_bytes, reads, writes, busy }
}

fn interface(interface: &Interface) -> pb::NetworkInterface {
    let Interface { name, up, speed_mbit, received, sent } = *interface;
    let (received, sent) = (Some(traffic(received)), Some(traffic(sent)));
    pb::NetworkInterface { name: name.to_string(), up, speed_mbit, received, sent }
}

fn traffic(traffic: Traffic) -> pb::Traffic {
    let Traffic { bytes, packets, errors, dropped } = traffic;
    pb::Traffic { bytes, packets, errors, dropped }
}

fn celsius(millicelsius: i32) -> f64 {
    f64::from(millicelsius) / 1000.0
}

fn zone((zone, trips): &(Zone, Vec<Trip>)) -> pb::ThermalZone {
    let Zone { kind, processor: _, millicelsius } = *zone;
    let trip = |Trip { kind, millicelsius }: &Trip| pb::TripPoint {
        r#type: kind.to_string(),
        temperature: celsius(*millicelsius),
    };
    pb::ThermalZone {
        r#type: kind.to_string(),
        temperature: millicelsius.map(celsius),
        trip_points: trips.iter().map(trip).collect(),
    }
}

fn fan(fan: &Fan) -> pb::Fan {
    let Fan { name, rpm, drive } = *fan;
    pb::Fan { name: name.to_string(), rpm, drive: drive.map(|drive| 100.0 * f64::from(drive) / 255.0) }
}

fn throttling(sample: &Sample, since_boot: Option<u32>) -> Option<pb::Throttling> {
    let word = sample.throttled?;
    let (now, seen) = (word.now(), since_boot.unwrap_or_default());
    Some(pb::Throttling {
        raw: word.0,
        under_voltage_now: now & Throttled::UNDER_VOLTAGE != 0,
        frequency_capped_now: now & Throttled::FREQUENCY_CAPPED != 0,
        throttled_now: now & Throttled::THROTTLED != 0,
        soft_temperature_limit_now: now & Throttled::SOFT_TEMPERATURE_LIMIT != 0,
        under_voltage_since_boot: seen & Throttled::UNDER_VOLTAGE != 0,
        frequency_capped_since_boot: seen & Throttled::FREQUENCY_CAPPED != 0,
        throttled_since_boot: seen & Throttled::THROTTLED != 0,
        soft_temperature_limit_since_boot: seen & Throttled::SOFT_TEMPERATURE_LIMIT != 0,
    })
}

fn voltage(voltage: &Voltage) -> pb::Voltage {
    let Voltage { name, millivolts, low } = *voltage;
    pb::Voltage { name: name.to_string(), volts: millivolts.map(|milli| f64::from(milli) / 1000.0), low }
}

fn clock(clock: &Clock) -> pb::Clock {
    let Clock { name, khz, max_khz } = *clock;
    pb::Clock { name: name.to_string(), hertz: khz * 1000, max_hertz: max_khz.map(|khz| khz * 1000) }
}

fn processes(processes: Processes) -> pb::Processes {
    let Processes { tasks, running, blocked, forks } = processes;
    pb::Processes { tasks, running, blocked, forks }
}

fn own(own: Own) -> pb::AgentUse {
    let Own { rss_bytes, descriptors, cpu_us } = own;
    pb::AgentUse { rss_bytes, descriptors, cpu_time: cpu_us.map(|us| duration(Duration::from_micros(us))) }
}

fn failure(failure: &Failure) -> pb::CollectorError {
    let Failure { group: _, collector, why } = failure;
    pb::CollectorError { collector: (*collector).to_owned(), message: why.clone() }
}

/// What to repeat, and how often.
pub(crate) fn stream(request: pb::StreamMetricsRequest) -> Result<(Groups, Duration), Status> {
    let pb::StreamMetricsRequest { interval, groups } = request;
    let interval = match interval.map(Duration::try_from) {
        None => *INTERVALS.start(),
        Some(interval) => interval
            .ok()
            .filter(|interval| INTERVALS.contains(interval))
            .ok_or_else(|| invalid("interval", "has to be from 1 s to 3600 s"))?,
    };
    let groups = groups.into_iter().map(group).try_fold(Groups::NONE, |all, group| Ok::<_, Status>(all | group?))?;
    Ok((if groups == Groups::NONE { Groups::ALL } else { groups }, interval))
}

fn group(group: i32) -> Result<Groups, Status> {
    match pb::MetricGroup::try_from(group) {
        Ok(pb::MetricGroup::Cpu) => Ok(Groups::CPU),
        Ok(pb::MetricGroup::Load) => Ok(Groups::LOAD),
        Ok(pb::MetricGroup::Pressure) => Ok(Groups::PRESSURE),
        Ok(pb::MetricGroup::Memory) => Ok(Groups::MEMORY),
        Ok(pb::MetricGroup::Disk) => Ok(Groups::DISK),
        Ok(pb::MetricGroup::Network) => Ok(Groups::NETWORK),
        Ok(pb::MetricGroup::Thermal) => Ok(Groups::THERMAL),
        Ok(pb::MetricGroup::Power) => Ok(Groups::POWER),
        Ok(pb::MetricGroup::Clock) => Ok(Groups::CLOCK),
        Ok(pb::MetricGroup::Process) => Ok(Groups::PROCESS),
        Ok(pb::MetricGroup::Unspecified) | Err(_) => {
            Err(invalid("groups", "has a group that is not known to this agent"))
        }
    }
}
