//! What the configuration says of logs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::filter;

/// Which logs are served, and to how many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// Files that may be read, by the names under which callers ask for them.
    pub files: BTreeMap<String, PathBuf>,
    /// A reader that takes nothing for so long is ended.
    pub stall: Duration,
    /// Streams at once.
    pub subscribers: usize,
    /// The program that reads the journal.
    pub journalctl: PathBuf,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            stall: Duration::from_secs(30),
            subscribers: 64,
            journalctl: PathBuf::from("/usr/bin/journalctl"),
        }
    }
}

/// The table `[logs]` as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Table {
    /// Name to absolute path.
    files: BTreeMap<String, Spanned<PathBuf>>,
    /// Seconds; absent: 30.
    stall_s: Option<Spanned<u32>>,
    /// Absent: 64.
    subscribers: Option<Spanned<usize>>,
    /// Absolute; absent: /usr/bin/journalctl.
    journalctl: Option<Spanned<PathBuf>>,
}

impl Table {
    /// The configuration, or where it is wrong and why.
    pub(crate) fn check(self) -> Result<LogConfig, (Range<usize>, String)> {
        let Self { files, stall_s, subscribers, journalctl } = self;
        let mut config = LogConfig::default();
        if files.len() > filter::FILES {
            let last = files.values().last().map(Spanned::span).unwrap_or_default();
            return Err((last, format!("at most {} files can be named", filter::FILES)));
        }
        for (name, path) in files {
            filter::file(&name).map_err(|why| (path.span(), format!("`{name}` {why}")))?;
            config.files.insert(name, absolute(path)?);
        }
        if let Some(seconds) = stall_s {
            config.stall = Duration::from_secs(in_range(seconds, 1..=3600, "stall_s")?.into());
        }
        if let Some(count) = subscribers {
            config.subscribers = in_range(count, 1..=1024, "subscribers")?;
        }
        if let Some(program) = journalctl {
            config.journalctl = absolute(program)?;
        }
        Ok(config)
    }
}

fn absolute(path: Spanned<PathBuf>) -> Result<PathBuf, (Range<usize>, String)> {
    let span = path.span();
    let path = path.into_inner();
    let is_plain = path.is_absolute() && !path.components().any(|part| part == std::path::Component::ParentDir);
    is_plain.then_some(path).ok_or((span, "expected an absolute path without `..`".to_owned()))
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    value: Spanned<T>,
    range: std::ops::RangeInclusive<T>,
    name: &str,
) -> Result<T, (Range<usize>, String)> {
    let span = value.span();
    let value = value.into_inner();
    let expected = || (span, format!("`{name}` must be {} to {}", range.start(), range.end()));
    if range.contains(&value) { Ok(value) } else { Err(expected()) }
}
