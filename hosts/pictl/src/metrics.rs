//! `pictl metrics`.

use std::io::Write;

use proto::agent::v1::{CpuShares, StreamMetricsRequest, SystemMetrics, Throttling};

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::{Output, duration, json, json_line, table};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  pictl metrics pi-7
  pictl metrics pi-7 --watch 5 --output json | jq .temperature")]
pub(crate) struct Arguments {
    /// Name of the node
    node: String,
    /// Print again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    watch: Option<u32>,
    /// With --watch: end after this many
    #[arg(long, requires = "watch")]
    count: Option<u64>,
}

pub(crate) async fn run(
    caller: &Caller,
    arguments: Arguments,
    output: Output,
    out: &mut dyn Write,
) -> Result<String, Failure> {
    let Arguments { node, watch, count } = arguments;
    if let Some(seconds) = watch {
        follow(caller, &node, seconds, count, output, out).await?;
        return Ok(String::new());
    }
    let request = caller.request_to(&node, ())?;
    let metrics = caller.node(&node)?.get_system_metrics(request).await?.into_inner();
    match output {
        Output::Json => json(&metrics),
        Output::Table => Ok(metrics_table(&metrics)),
    }
}

async fn follow(
    caller: &Caller,
    node: &str,
    seconds: u32,
    count: Option<u64>,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let interval = Some(prost_types::Duration { seconds: seconds.into(), nanos: 0 });
    let request = caller.stream_to(node, StreamMetricsRequest { interval, groups: Vec::new() })?;
    let mut readings = caller.node(node)?.stream_metrics(request).await?.into_inner();
    for number in 0..count.unwrap_or(u64::MAX) {
        let Some(metrics) = readings.message().await? else { return Err(Failure::Ended) };
        match output {
            Output::Json => writeln!(out, "{}", json_line(&metrics)?)?,
            Output::Table => {
                let gap = if number == 0 { "" } else { "\n" };
                writeln!(out, "{gap}{}", metrics_table(&metrics))?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

/// What is absent has no row, but for the first five, which a person looks for.
fn metrics_table(metrics: &SystemMetrics) -> String {
    let percent = |value: Option<f64>| value.map(|value| format!("{value:.1} %"));
    let of = |total: Option<u64>| total.map(|bytes| format!(" of {}", size(bytes))).unwrap_or_default();
    let load = match metrics.load_average[..] {
        [one, five, fifteen] => Some(format!("{one:.2} {five:.2} {fifteen:.2}")),
        _ => None,
    };
    let first = [
        ("cpu", percent(metrics.cpu_usage)),
        ("load", load),
        ("memory", percent(metrics.memory_usage).map(|used| used + &of(metrics.memory_total_bytes))),
        ("disk", percent(metrics.disk_usage).map(|used| used + &of(metrics.disk_total_bytes))),
        ("temperature", metrics.temperature.map(|celsius| format!("{celsius:.1} °C"))),
    ];
    let first = first.map(|(name, value)| (name.to_owned(), value.unwrap_or_else(|| "-".to_owned())));
    let uptime = metrics.uptime.as_ref().map(|uptime| duration(Some(uptime)));
    let rest = [
        ("cores", cores(&metrics.cores)),
        ("swap", swap(metrics)),
        ("throttling", metrics.throttling.as_ref().map(throttling)),
        ("uptime", uptime),
        ("processes", metrics.processes.and_then(|processes| processes.tasks).map(|tasks| tasks.to_string())),
        ("agent", metrics.agent.as_ref().and_then(|agent| agent.rss_bytes).map(size)),
    ];
    let rest = rest.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let rows = first.into_iter().chain(rest).chain(parts(metrics));
    table(&[], rows.map(|(name, value)| vec![name, value]))
}

/// Rows of what a node may have several of.
fn parts(metrics: &SystemMetrics) -> impl Iterator<Item = (String, String)> {
    let pressure = metrics.pressure.iter().filter_map(|pressure| {
        let some = pressure.some?;
        let told = format!("{:.2} {:.2} {:.2} % in 10 60 300 s", some.avg10, some.avg60, some.avg300);
        Some((format!("pressure {}", pressure.resource), told))
    });
    let file_systems = metrics.file_systems.iter().map(|of| {
        let read_only = if of.read_only { ", READ-ONLY" } else { "" };
        let free = of.available_bytes.map(|bytes| format!(", {} free", size(bytes))).unwrap_or_default();
        (format!("at {}", of.mount), format!("{} on {}{free}{read_only}", of.kind, of.device))
    });
    let devices = metrics.block_devices.iter().map(|of| {
        let told = format!("{} written, {} read since boot", size(of.written_bytes), size(of.read_bytes));
        (format!("device {}", of.name), told)
    });
    let interfaces = metrics.interfaces.iter().map(|of| {
        let bytes = |traffic: Option<&proto::agent::v1::Traffic>| size(traffic.map_or(0, |traffic| traffic.bytes));
        let state = match of.up {
            Some(true) => "up, ",
            Some(false) => "down, ",
            None => "",
        };
        let (received, sent) = (bytes(of.received.as_ref()), bytes(of.sent.as_ref()));
        (format!("network {}", of.name), format!("{state}{received} in, {sent} out"))
    });
    let zones = metrics
        .thermal_zones
        .iter()
        .filter_map(|zone| Some((format!("zone {}", zone.r#type), format!("{:.1} °C", zone.temperature?))));
    let fans = metrics.fans.iter().filter_map(|fan| Some((format!("fan {}", fan.name), format!("{} rpm", fan.rpm?))));
    let clocks =
        metrics.clocks.iter().map(|of| (format!("clock {}", of.name), format!("{} MHz", of.hertz / 1_000_000)));
    let errors = metrics.errors.iter().map(|error| (format!("failed {}", error.collector), error.message.clone()));
    pressure.chain(file_systems).chain(devices).chain(interfaces).chain(zones).chain(fans).chain(clocks).chain(errors)
}

fn cores(cores: &[CpuShares]) -> Option<String> {
    let busy = |core: &CpuShares| 100.0 - core.idle - core.iowait.unwrap_or_default();
    (!cores.is_empty())
        .then(|| cores.iter().map(|core| format!("{:.1}", busy(core))).collect::<Vec<_>>().join(" ") + " %")
}

fn swap(metrics: &SystemMetrics) -> Option<String> {
    let (total, free) = (metrics.swap_total_bytes?, metrics.swap_free_bytes?);
    Some(format!("{} of {}", size(total.saturating_sub(free)), size(total)))
}

/// `none`, or what is so now and what has been.
pub(crate) fn throttling(of: &Throttling) -> String {
    let names = |states: [(bool, &'static str); 4]| {
        states.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name).collect::<Vec<_>>().join(", ")
    };
    let now = names([
        (of.under_voltage_now, "under-voltage"),
        (of.frequency_capped_now, "capped"),
        (of.throttled_now, "throttled"),
        (of.soft_temperature_limit_now, "soft limit"),
    ]);
    let before = names([
        (of.under_voltage_since_boot && !of.under_voltage_now, "under-voltage"),
        (of.frequency_capped_since_boot && !of.frequency_capped_now, "capped"),
        (of.throttled_since_boot && !of.throttled_now, "throttled"),
        (of.soft_temperature_limit_since_boot && !of.soft_temperature_limit_now, "soft limit"),
    ]);
    match (now.is_empty(), before.is_empty()) {
        (true, true) => "none".to_owned(),
        (false, true) => now,
        (true, false) => format!("before: {before}"),
        (false, false) => format!("{now}; before: {before}"),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}
