//! `pictl metrics`.

use proto::agent::v1::SystemMetrics;

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::{Output, duration, json, table};

pub(crate) async fn run(caller: &Caller, node: &str, output: Output) -> Result<String, Failure> {
    let request = caller.request_to(node, ())?;
    let metrics = caller.node(node)?.get_system_metrics(request).await?.into_inner();
    match output {
        Output::Json => json(&metrics),
        Output::Table => Ok(metrics_table(&metrics)),
    }
}

fn metrics_table(metrics: &SystemMetrics) -> String {
    let percent = |value: Option<f64>| value.map(|value| format!("{value:.1} %"));
    let of = |total: Option<u64>| total.map(|bytes| format!(" of {}", size(bytes))).unwrap_or_default();
    let load = match metrics.load_average[..] {
        [one, five, fifteen] => Some(format!("{one:.2} {five:.2} {fifteen:.2}")),
        _ => None,
    };
    let rows = [
        ("cpu", percent(metrics.cpu_usage)),
        ("load", load),
        ("memory", percent(metrics.memory_usage).map(|used| used + &of(metrics.memory_total_bytes))),
        ("disk", percent(metrics.disk_usage).map(|used| used + &of(metrics.disk_total_bytes))),
        ("temperature", metrics.temperature.map(|celsius| format!("{celsius:.1} °C"))),
        ("uptime", Some(duration(metrics.uptime.as_ref()))),
    ];
    table(&[], rows.map(|(name, value)| vec![name.to_owned(), value.unwrap_or_else(|| "-".to_owned())]))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}
