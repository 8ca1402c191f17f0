//! Readings in the OpenMetrics text format. Where the meaning is the same, the names are node_exporter's, so that its
//! dashboards work.

use std::fmt::Error;
use std::sync::Arc;

use agent_lib::{Metrics, Sample};
use hal_core::{CpuTime, Groups, Throttled, Traffic};
use mtls::{Cause, Counters};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::wire;

/// What HTTP calls it.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of it.
pub(super) fn encoded(metrics: &Metrics, node: &str, counters: &Arc<Counters>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Once {
        metrics: metrics.clone(),
        node: node.to_owned(),
        counters: counters.clone(),
    }));
    let mut text = String::with_capacity(8 * 1024);
    // into a string, which does not fail
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Once {
    metrics: Metrics,
    node: String,
    counters: Arc<Counters>,
}

/// A family of which each value has as many labels.
type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

impl Collector for Once {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut families = Families(&mut encoder);
        let version = env!("CARGO_PKG_VERSION");
        families.gauges(
            "pi_agent_build",
            "1, with the agent's version and node",
            [([("node", self.node.as_str()), ("version", version)], 1.0)],
        )?;
        let sample = &self.metrics.sample;
        processor(&mut families, sample)?;
        memory(&mut families, sample)?;
        disks(&mut families, sample)?;
        network(&mut families, sample)?;
        thermal(&mut families, sample)?;
        power(&mut families, &self.metrics)?;
        processes(&mut families, sample)?;
        collectors(&mut families, sample)?;
        listeners(&mut families, &self.counters)
    }
}

struct Families<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Families<'_, '_> {
    /// A family without values is left out.
    fn family<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels<'a, N>, f64)>,
    ) -> Result<(), Error> {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            // without labels there is one value, and no braces
            match N {
                0 => put(&mut family, kind, value)?,
                _ => put(&mut family.encode_family(&labels)?, kind, value)?,
            }
        }
        Ok(())
    }

    fn gauges<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a, N>, f64)>,
    ) -> Result<(), Error> {
        self.family(name, help, MetricType::Gauge, values)
    }

    /// `_total` is added to the name.
    fn counters<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a, N>, f64)>,
    ) -> Result<(), Error> {
        self.family(name, help, MetricType::Counter, values)
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) -> Result<(), Error> {
        self.gauges(name, help, value.map(|value| ([], value)))
    }

    fn counter(&mut self, name: &str, help: &str, value: Option<f64>) -> Result<(), Error> {
        self.counters(name, help, value.map(|value| ([], value)))
    }
}

fn put(encoder: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> Result<(), Error> {
    match kind {
        MetricType::Counter => encoder.encode_counter::<NoLabelSet, _, f64>(&value, None),
        _ => encoder.encode_gauge(&value),
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn truth(truth: bool) -> f64 {
    f64::from(u8::from(truth))
}

fn processor(families: &mut Families<'_, '_>, sample: &Sample) -> Result<(), Error> {
    let numbers: Vec<String> = sample.cores.iter().map(|(number, _)| number.to_string()).collect();
    let modes = |(number, (_, time)): (&'_ String, &(u16, CpuTime))| {
        let CpuTime { user_us, nice_us, system_us, idle_us, iowait_us, irq_us, softirq_us, steal_us } = *time;
        let modes = [
            ("user", Some(user_us)),
            ("nice", Some(nice_us)),
            ("system", Some(system_us)),
            ("idle", Some(idle_us)),
            ("iowait", iowait_us),
            ("irq", irq_us),
            ("softirq", softirq_us),
            ("steal", steal_us),
        ];
        let number = number.clone();
        modes.into_iter().filter_map(move |(mode, us)| Some((number.clone(), mode, seconds(us?))))
    };
    let times: Vec<_> = numbers.iter().zip(&sample.cores).flat_map(modes).collect();
    let times = times.iter().map(|(cpu, mode, value)| ([("cpu", cpu.as_str()), ("mode", *mode)], *value));
    families.counters("node_cpu_seconds", "Processor time by core and by what it was spent on", times)?;
    let clocks = sample
        .clocks
        .iter()
        .map(|clock| ([("cpu", clock.name.strip_prefix("cpu").unwrap_or(&clock.name))], clock.khz as f64 * 1000.0));
    families.gauges("node_cpu_scaling_frequency_hertz", "How fast the processor goes", clocks)?;
    for (at, name) in ["node_load1", "node_load5", "node_load15"].into_iter().enumerate() {
        families.gauge(name, "Load average", sample.load.map(|load| f64::from(load[at])))?;
    }
    for (name, full) in [("waiting", false), ("stalled", true)] {
        for (resource, pressure) in &sample.pressure {
            let stall = if full { pressure.full } else { Some(pressure.some) };
            let name = format!("node_pressure_{}_{name}_seconds", wire::resource(*resource));
            families.counter(&name, "Time that tasks were held up", stall.map(|stall| seconds(stall.total_us)))?;
        }
    }
    families.gauge("pi_uptime_seconds", "Time since boot", sample.uptime.map(|uptime| uptime.as_secs_f64()))
}

fn memory(families: &mut Families<'_, '_>, sample: &Sample) -> Result<(), Error> {
    let memory = sample.memory;
    let values = [
        ("MemTotal", memory.map(|memory| memory.total_bytes)),
        ("MemAvailable", memory.map(|memory| memory.available_bytes)),
        ("MemFree", memory.and_then(|memory| memory.free_bytes)),
        ("SwapTotal", memory.and_then(|memory| memory.swap_total_bytes)),
        ("SwapFree", memory.and_then(|memory| memory.swap_free_bytes)),
    ];
    for (name, bytes) in values {
        let value = bytes.map(|bytes| bytes as f64);
        families.gauge(&format!("node_memory_{name}_bytes"), "Memory, as /proc/meminfo has it", value)?;
    }
    let zram = sample.zram.iter().map(|zram| ([("device", &*zram.device)], zram.used_bytes as f64));
    families.gauges("pi_zram_used_bytes", "Memory that compressed swap takes", zram)
}

fn disks(families: &mut Families<'_, '_>, sample: &Sample) -> Result<(), Error> {
    let each = |value: fn(&hal_core::FileSystem) -> Option<u64>| {
        sample.file_systems.iter().filter_map(move |(mount, of)| {
            let labels = [("device", &*of.device), ("fstype", &*of.kind), ("mountpoint", mount.as_str())];
            Some((labels, value(of)? as f64))
        })
    };
    families.gauges("node_filesystem_size_bytes", "Size", each(|of| Some(of.usage?.total_bytes)))?;
    families.gauges("node_filesystem_free_bytes", "Unused", each(|of| Some(of.usage?.free_bytes)))?;
    families.gauges(
        "node_filesystem_avail_bytes",
        "Unused and not reserved",
        each(|of| Some(of.usage?.available_bytes)),
    )?;
    families.gauges("node_filesystem_files", "Inodes", each(|of| Some(of.usage?.total_inodes)))?;
    families.gauges("node_filesystem_files_free", "Unused inodes", each(|of| Some(of.usage?.free_inodes)))?;
    families.gauges("node_filesystem_readonly", "Takes no writes", each(|of| Some(of.read_only.into())))?;
    let each = |value: fn(&hal_core::BlockDevice) -> f64| {
        sample.block_devices.iter().map(move |device| ([("device", &*device.name)], value(device)))
    };
    families.counters("node_disk_read_bytes", "Bytes read", each(|of| of.read_bytes as f64))?;
    families.counters("node_disk_written_bytes", "Bytes written", each(|of| of.written_bytes as f64))?;
    families.counters("node_disk_reads_completed", "Reads", each(|of| of.reads as f64))?;
    families.counters("node_disk_writes_completed", "Writes", each(|of| of.writes as f64))?;
    families.counters("node_disk_io_time_seconds", "Time in use", each(|of| of.busy_ms as f64 / 1000.0))
}

fn network(families: &mut Families<'_, '_>, sample: &Sample) -> Result<(), Error> {
    type Count = fn(&Traffic) -> u64;
    let traffic: [(&str, Count); 4] = [
        ("bytes", |traffic| traffic.bytes),
        ("packets", |traffic| traffic.packets),
        ("errs", |traffic| traffic.errors),
        ("drop", |traffic| traffic.dropped),
    ];
    for (what, value) in traffic {
        let received = sample.interfaces.iter().map(|of| ([("device", &*of.name)], value(&of.received) as f64));
        families.counters(&format!("node_network_receive_{what}"), "Received", received)?;
        let sent = sample.interfaces.iter().map(|of| ([("device", &*of.name)], value(&of.sent) as f64));
        families.counters(&format!("node_network_transmit_{what}"), "Sent", sent)?;
    }
    let up = sample.interfaces.iter().filter_map(|of| Some(([("device", &*of.name)], truth(of.up?))));
    families.gauges("node_network_up", "Can carry packets", up)?;
    let speed = |mbit: u32| f64::from(mbit) * 125_000.0;
    let speeds = sample.interfaces.iter().filter_map(|of| Some(([("device", &*of.name)], speed(of.speed_mbit?))));
    families.gauges("node_network_speed_bytes", "Bytes a second", speeds)
}

/// Numbers beside the types and names, because two may have the same.
fn thermal(families: &mut Families<'_, '_>, sample: &Sample) -> Result<(), Error> {
    let numbers: Vec<String> =
        (0..sample.zones.len().max(sample.fans.len())).map(|number| number.to_string()).collect();
    let zones = numbers.iter().zip(&sample.zones).filter_map(|(number, (zone, _))| {
        Some(([("type", &*zone.kind), ("zone", number.as_str())], f64::from(zone.millicelsius?) / 1000.0))
    });
    families.gauges("node_thermal_zone_temp", "Degrees Celsius", zones)?;
    let fans = numbers
        .iter()
        .zip(&sample.fans)
        .filter_map(|(number, fan)| Some(([("chip", &*fan.name), ("sensor", number.as_str())], f64::from(fan.rpm?))));
    families.gauges("node_hwmon_fan_rpm", "Turns a minute", fans)
}

fn power(families: &mut Families<'_, '_>, metrics: &Metrics) -> Result<(), Error> {
    const BITS: [(&str, u32); 4] = [
        ("under_voltage", Throttled::UNDER_VOLTAGE),
        ("frequency_capped", Throttled::FREQUENCY_CAPPED),
        ("throttled", Throttled::THROTTLED),
        ("soft_temperature_limit", Throttled::SOFT_TEMPERATURE_LIMIT),
    ];
    let bits = |word: Option<u32>| {
        word.into_iter().flat_map(|word| BITS.map(|(state, bit)| ([("state", state)], truth(word & bit != 0))))
    };
    let now = metrics.sample.throttled.map(Throttled::now);
    families.gauges("pi_throttled_now", "What the firmware says of supply and throttling", bits(now))?;
    let since_boot = metrics.sample.throttled.and(metrics.throttled_since_boot);
    families.gauges("pi_throttled_since_boot", "What it has said since boot", bits(since_boot))?;
    let low = metrics.sample.voltages.iter().filter_map(|of| Some(([("sensor", &*of.name)], truth(of.low?))));
    families.gauges("pi_voltage_low", "The supply's alarm", low)?;
    let volts = |millivolts: i32| f64::from(millivolts) / 1000.0;
    let volts = metrics.sample.voltages.iter().filter_map(|of| Some(([("sensor", &*of.name)], volts(of.millivolts?))));
    families.gauges("pi_voltage_volts", "Supply voltages", volts)
}

fn processes(families: &mut Families<'_, '_>, sample: &Sample) -> Result<(), Error> {
    let processes = sample.processes.unwrap_or_default();
    families.gauge("node_procs_running", "Tasks that run or could", processes.running.map(f64::from))?;
    families.gauge("node_procs_blocked", "Tasks that wait for a disk", processes.blocked.map(f64::from))?;
    families.counter("node_forks", "Processes started", processes.forks.map(|forks| forks as f64))?;
    let own = sample.own.unwrap_or_default();
    families.gauge("process_resident_memory_bytes", "The agent's memory", own.rss_bytes.map(|bytes| bytes as f64))?;
    families.gauge("process_open_fds", "The agent's descriptors", own.descriptors.map(f64::from))?;
    families.counter("process_cpu_seconds", "The agent's processor time", own.cpu_us.map(seconds))
}

/// By group: 0 if something in it could not be read.
fn collectors(families: &mut Families<'_, '_>, sample: &Sample) -> Result<(), Error> {
    const GROUPS: [(&str, Groups); 10] = [
        ("clock", Groups::CLOCK),
        ("cpu", Groups::CPU),
        ("disk", Groups::DISK),
        ("load", Groups::LOAD),
        ("memory", Groups::MEMORY),
        ("network", Groups::NETWORK),
        ("power", Groups::POWER),
        ("pressure", Groups::PRESSURE),
        ("process", Groups::PROCESS),
        ("thermal", Groups::THERMAL),
    ];
    let failed = |group| sample.failures.iter().any(|failure| failure.group == group);
    let each = GROUPS.map(|(name, group)| ([("collector", name)], truth(!failed(group))));
    families.gauges("node_scrape_collector_success", "0 if something could not be read", each)
}

/// What the node's listeners turned away.
fn listeners(families: &mut Families<'_, '_>, counters: &Counters) -> Result<(), Error> {
    let each = Cause::ALL.map(|cause| ([("cause", cause.name())], counters.count(cause) as f64));
    families.counters("pi_connections_refused", "Connections not taken on, ended or kept waiting, by cause", each)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_lib::Meter;
    use hal_core::{FileSystem, Instant, MetricsSource, Reading, Zone};
    use std::collections::{BTreeMap, BTreeSet};

    /// Holds a text to the format (OpenMetrics 1.0, "Text format") and answers its values by name and labels.
    ///
    /// Strict: a family has its help and its type before its values, all of them together and each once; a counter's
    /// values end in `_total` and are not negative; the text ends in `# EOF`.
    fn parsed(text: &str) -> Result<BTreeMap<String, f64>, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("does not end in # EOF")?;
        let (mut values, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let mut family: Option<(String, String)> = None;
        for line in body.lines() {
            let wrong = |what: &str| format!("{what}: {line}");
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, _) = help.split_once(' ').ok_or_else(|| wrong("no help"))?;
                if !seen.insert(name.to_owned()) || !is_name(name) {
                    return Err(wrong("a family twice, or no name"));
                }
                family = Some((name.to_owned(), String::new()));
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').ok_or_else(|| wrong("no type"))?;
                match &mut family {
                    Some((of, known)) if of == name && known.is_empty() => *known = kind.to_owned(),
                    _ => return Err(wrong("a type without its help")),
                }
            } else {
                let (name, kind) = family.as_ref().ok_or_else(|| wrong("a value without its family"))?;
                let (key, value) = line.rsplit_once(' ').ok_or_else(|| wrong("no value"))?;
                let expected = if kind == "counter" { format!("{name}_total") } else { name.clone() };
                let labels = key.strip_prefix(&*expected).ok_or_else(|| wrong("not of its family"))?;
                if !labels.is_empty() {
                    labels_of(labels).ok_or_else(|| wrong("labels"))?;
                }
                let value: f64 = value.parse().map_err(|_| wrong("no number"))?;
                if kind == "counter" && value < 0.0 || !["counter", "gauge"].contains(&kind.as_str()) {
                    return Err(wrong("value or type"));
                }
                if values.insert(key.to_owned(), value).is_some() {
                    return Err(wrong("a value twice"));
                }
            }
        }
        Ok(values)
    }

    fn is_name(name: &str) -> bool {
        let mut letters = name.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    }

    /// `{a="b",c="d"}` with backslash, quote and newline escaped.
    fn labels_of(text: &str) -> Option<Vec<(String, String)>> {
        let mut rest = text.strip_prefix('{')?;
        let mut labels: Vec<(String, String)> = Vec::new();
        loop {
            let (name, value) = rest.split_once("=\"")?;
            let mut letters = value.char_indices();
            let mut plain = String::new();
            let end = loop {
                match letters.next()? {
                    (_, '\\') => match letters.next()?.1 {
                        'n' => plain.push('\n'),
                        letter @ ('\\' | '"') => plain.push(letter),
                        _ => return None,
                    },
                    (at, '"') => break at,
                    (_, '\n') => return None,
                    (_, letter) => plain.push(letter),
                }
            };
            let twice = labels.iter().any(|(other, _)| other == name);
            if !is_name(name) || twice {
                return None;
            }
            labels.push((name.to_owned(), plain));
            rest = &value[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return (rest == "}").then_some(labels),
            }
        }
    }

    #[test]
    fn this_machine_s_readings_are_in_the_format() {
        let mut meter = Meter::new(hal_core::linux::ProcfsMetrics::new());
        meter.sample(Instant::ZERO, Groups::ALL);
        let values = parsed(&encoded(meter.latest(), "pi-7", &Arc::default())).unwrap();
        assert!(values["node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}"] > 0.0, "{values:?}");
        assert!(values["node_memory_MemTotal_bytes"] > 1e6);
        assert!(values["process_resident_memory_bytes"] > 1e5);
        assert_eq!(values["node_scrape_collector_success{collector=\"cpu\"}"], 1.0);
        assert_eq!(values["pi_connections_refused_total{cause=\"not_tls\"}"], 0.0);
    }

    /// Everything odd at once: names of the same kind, a mount with a quote, a dead sensor.
    struct Odd;

    impl MetricsSource for Odd {
        fn sample(&mut self, _: Groups, tell: &mut dyn FnMut(Reading<'_>)) {
            for mount in ["/", "/a \"b\"\\\nc"] {
                tell(Reading::FileSystem {
                    mount,
                    file_system: FileSystem { read_only: true, ..FileSystem::default() },
                });
            }
            for millicelsius in [Some(-5), None, Some(41_500)] {
                let zone = Zone { kind: "cpu-thermal".into(), processor: false, millicelsius };
                tell(Reading::Zone { zone, trips: &[] });
            }
            tell(Reading::Failed { group: Groups::THERMAL, collector: "thermal", why: "dead" });
            tell(Reading::Throttled(Throttled(0x5_0001)));
        }
    }

    #[test]
    fn odd_readings_are_in_the_format_and_absent_ones_are_absent() {
        let mut meter = Meter::new(Odd);
        meter.sample(Instant::ZERO, Groups::ALL);
        let text = encoded(meter.latest(), "pi-7", &Arc::default());
        let values = parsed(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
        assert_eq!(values["node_thermal_zone_temp{type=\"cpu-thermal\",zone=\"2\"}"], 41.5);
        assert!(!values.keys().any(|key| key.contains("zone=\"1\"") || key.contains("node_filesystem_size")));
        assert_eq!(values["node_scrape_collector_success{collector=\"thermal\"}"], 0.0);
        assert_eq!(values["pi_throttled_now{state=\"throttled\"}"], 0.0);
        assert_eq!(values["pi_throttled_since_boot{state=\"throttled\"}"], 1.0);
        let odd = values.keys().find(|key| key.contains("readonly") && key.contains("\\n")).unwrap();
        let labels = labels_of(&odd["node_filesystem_readonly".len()..]).unwrap();
        assert_eq!(labels[2], ("mountpoint".to_owned(), "/a \"b\"\\\nc".to_owned()));
    }

    /// Control: the parser refuses what is not in the format.
    #[test]
    fn what_is_not_in_the_format_is_found() {
        let family = |values: &str| parsed(&format!("# HELP a b.\n# TYPE a gauge\n{values}# EOF\n"));
        assert!(family("a 1\n").is_ok() && family("a{b=\"c\"} 1.5\n").is_ok());
        for wrong in
            ["a 1\na 1\n", "b 1\n", "a x\n", "a{b=\"c} 1\n", "a{b=\"c\",b=\"d\"} 1\n", "# HELP a b.\n", "a{} 1\n"]
        {
            assert!(family(wrong).is_err(), "{wrong}");
        }
        assert!(parsed("# HELP a b.\n# TYPE a counter\na 1\n# EOF\n").is_err());
        assert!(parsed("").is_err());
    }
}
