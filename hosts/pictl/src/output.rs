//! How answers are printed.

use std::sync::LazyLock;

use clap::ValueEnum;
use comfy_table::{Table, presets};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use crate::exit::Failure;

/// How answers are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs: the message in protobuf's JSON mapping, with the names of the .proto files
    Json,
}

/// `message` as JSON: whatever fields it has, now and later. An absent value is absent.
pub(crate) fn json<M: Message + Name>(message: &M) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    serialize(message, &mut serde_json::Serializer::pretty(&mut bytes))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The same in one line, for streams.
pub(crate) fn json_line<M: Message + Name>(message: &M) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    serialize(message, &mut serde_json::Serializer::new(&mut bytes))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn serialize<M: Message + Name, S>(message: &M, serializer: S) -> Result<(), Failure>
where
    S: serde::Serializer<Error: std::fmt::Display>,
{
    static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(proto::DESCRIPTORS).ok());
    let descriptor = POOL.as_ref().and_then(|pool| pool.get_message_by_name(&M::full_name()));
    let descriptor = descriptor.ok_or_else(|| Failure::Json(format!("{} is not known", M::full_name())))?;
    let failed = |error: &dyn std::fmt::Display| Failure::Json(error.to_string());
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(|e| failed(&e))?;
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    dynamic.serialize_with_options(serializer, &options).map(drop).map_err(|e| failed(&e))
}

/// A table without lines, each column as wide as its text.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !header.is_empty() {
        table.set_header(header);
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| inert(cell)));
    }
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Text that does nothing to a terminal: control characters and those that turn the reading direction are shown by
/// their code point.
pub(crate) fn inert(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let show = |c: char| match c.is_control() || turns(c) {
        true => format!("\\u{{{:x}}}", u32::from(c)),
        false => c.to_string(),
    };
    text.chars().map(show).collect()
}

/// `-` for what is not known.
pub(crate) fn or_dash(text: impl Into<String>) -> String {
    let text = text.into();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A duration in two units at most, such as `2d 4h`, `3m 5s` or `0s`.
pub(crate) fn duration(duration: Option<&prost_types::Duration>) -> String {
    let Some(duration) = duration else {
        return "-".to_owned();
    };
    let seconds = duration.seconds.max(0);
    let units = [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let shown: Vec<String> = units
        .iter()
        .skip_while(|(count, _)| *count == 0)
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(inert("a\u{1b}[31mb\rc\u{202e}d"), "a\\u{1b}[31mb\\u{d}c\\u{202e}d");
        assert!(table(&["A", "B"], [vec!["x\ny".to_owned(), "z".to_owned()]]).contains("x\\u{a}y"));
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let shown = |seconds| duration(Some(&prost_types::Duration { seconds, nanos: 0 }));
        assert_eq!([shown(0), shown(59), shown(3600), shown(90061)], ["0s", "59s", "1h 0m", "1d 1h"]);
    }

    #[test]
    fn json_has_the_names_of_the_proto_files_and_leaves_out_what_is_absent() {
        let metrics = proto::agent::v1::SystemMetrics { cpu_usage: Some(15.2), ..Default::default() };
        let json: serde_json::Value = serde_json::from_str(&json(&metrics).unwrap()).unwrap();
        assert_eq!(json["cpu_usage"], 15.2);
        assert_eq!(json.get("temperature"), None);
    }
}
