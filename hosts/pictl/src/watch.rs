//! `pictl gpio watch`.

use std::io::Write;

use proto::agent::v1::gpio_record::Record;
use proto::agent::v1::line_name::Name;
use proto::agent::v1::{GpioRecord, GpioState, LineName, WatchGpioRequest};

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::{Output, json_line};

/// Prints records as they come, a line each, until interrupted or `count` were printed.
pub(crate) async fn run(
    caller: &Caller,
    node: &str,
    lines: Vec<String>,
    count: Option<u64>,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let name = |line: String| LineName { name: Some(Name::Text(line)) };
    let request = WatchGpioRequest { lines: lines.into_iter().map(name).collect(), ..WatchGpioRequest::default() };
    let request = caller.stream_to(node, request)?;
    let mut records = caller.node(node)?.watch_gpio(request).await?.into_inner();
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(record) = records.message().await? else { return Err(Failure::Ended) };
        let line = match output {
            Output::Json => json_line(&record)?,
            Output::Table => sentence(node, &record),
        };
        writeln!(out, "{line}")?;
        out.flush()?;
        left -= 1;
    }
    Ok(())
}

fn sentence(node: &str, record: &GpioRecord) -> String {
    let pin = record.pin.map_or_else(|| "some line".to_owned(), |pin| format!("GPIO{pin}"));
    let level = |state: GpioState| if state == GpioState::High { "high" } else { "low" };
    match &record.record {
        Some(Record::Snapshot(snapshot)) => format!("{node} {pin} is {}", level(snapshot.state())),
        Some(Record::Edge(edge)) => {
            let at = edge.timestamp_ns as f64 / 1e9;
            format!("{node} {pin} goes {} at {at:.6} s", level(edge.state()))
        }
        Some(Record::Gap(gap)) => match gap.missed {
            Some(missed) => format!("{node} {pin}: {missed} records are missing here"),
            None => format!("{node} {pin}: records may be missing here"),
        },
        None => format!("{node} {pin}: a record that this pictl does not know"),
    }
}
