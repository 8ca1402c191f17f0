//! `pictl logs`.

use std::io::{IsTerminal, Write};
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use clap::{ArgAction, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use proto::agent::v1::log_entry::Content;
use proto::agent::v1::{LogDropReason, LogEntry, LogFilter, LogPriority, LogSource, LogStorage};
use tonic::{Code, Status};

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::{Output, inert, json_line};

/// Between tries to get a stream back.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "Examples:
  pictl logs pi-7 -f -u nginx
  pictl logs pi-7 --since 2h -p warning --grep 'time(d)? out'
  pictl logs pi-7 --source kernel --boot -1
  pictl logs pi-7 --file nginx-access -n 20 -o json

Times are shown in UTC. Secrets such as password=… are taken out by the node, as well as it can tell them.
Notices of the stream, such as entries that are missing, go to standard error.";

/// Show what a node logs
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Name of the node
    node: String,
    /// Go on with new entries, until interrupted; a lost connection is taken up again where it was
    #[arg(long, short)]
    follow: bool,
    /// Only of this systemd unit; may be repeated
    #[arg(long, short, value_name = "UNIT")]
    unit: Vec<String>,
    /// Only with this syslog identifier; may be repeated
    #[arg(long, short = 't', value_name = "NAME")]
    identifier: Vec<String>,
    /// Not before: a time such as 2026-11-22T20:00:00Z, or so long ago, such as 2h or 30min
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Not after; as --since
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// This severe or worse: a name such as warning, or 0 (emergency) to 7 (debug)
    #[arg(long, short, value_parser = priority)]
    priority: Option<LogPriority>,
    /// Start with this many of the newest entries; default: 10 with --follow, else all
    #[arg(long, short = 'n', value_name = "COUNT")]
    lines: Option<u32>,
    /// Only messages that contain this regular expression
    #[arg(long, short, value_name = "RE")]
    grep: Option<String>,
    /// Where to read; may be repeated; default: the journal
    #[arg(long, value_enum)]
    source: Vec<Source>,
    /// A file by the name that the node's configuration gives it; may be repeated
    #[arg(long, value_name = "NAME")]
    file: Vec<String>,
    /// Only of one boot: 0 is the current one, -1 the one before
    #[arg(long, short, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "0", allow_negative_numbers = true)]
    boot: Option<i32>,
    /// Resume after the entry with this cursor, as JSON output has it
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Further field of the journal to show in JSON, such as _CMDLINE, or * for all; may be repeated
    #[arg(long, value_name = "NAME")]
    field: Vec<String>,
    /// Pass control characters of messages on to the terminal
    #[arg(long, action = ArgAction::SetTrue)]
    raw: bool,
    /// Whether to colour by severity
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    color: Colour,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    /// The system's journal, the kernel included
    Journal,
    /// The kernel only
    Kernel,
    /// The agent's own log
    Agent,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Colour {
    fn is_on(self) -> bool {
        match self {
            Self::Auto => {
                std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
            }
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// How entries are shown.
#[derive(Clone, Copy)]
struct Look {
    output: Output,
    raw: bool,
    colour: bool,
}

/// Prints entries to `out` and notices to `errors`, a line each.
pub(crate) async fn run(
    caller: &Caller,
    arguments: Arguments,
    output: Output,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), Failure> {
    let look = Look { output, raw: arguments.raw, colour: arguments.color.is_on() };
    let node = arguments.node.clone();
    let mut filter = filter(arguments);
    let mut pauses = pauses();
    let mut was_there = false;
    loop {
        let before = filter.after_cursor.clone();
        let ended = read(caller, &node, &mut filter, look, out, errors, &mut was_there).await;
        let why = match ended {
            Ok(()) if !filter.follow || filter.until.is_some() => return Ok(()),
            Ok(()) => "the node ended the stream".to_owned(),
            Err(Failure::Status(status)) if was_there && filter.follow && passes(&status) => {
                Failure::Status(status).to_string()
            }
            Err(failure) => return Err(failure),
        };
        if filter.after_cursor != before {
            pauses = self::pauses();
        }
        let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
        writeln!(errors, "-- {why}; trying again in {:.1} s --", pause.as_secs_f32())?;
        errors.flush()?;
        tokio::time::sleep(pause).await;
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    let builder = ExponentialBuilder::default().with_min_delay(Duration::from_millis(250)).with_jitter();
    builder.with_max_delay(LONGEST_PAUSE).without_max_times().build()
}

/// Whether the same call may succeed later.
fn passes(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

/// One stream, to its end; `filter` then resumes after what was printed.
async fn read(
    caller: &Caller,
    node: &str,
    filter: &mut LogFilter,
    look: Look,
    out: &mut dyn Write,
    errors: &mut dyn Write,
    was_there: &mut bool,
) -> Result<(), Failure> {
    let request = caller.stream_to(node, filter.clone())?;
    let mut entries = caller.node(node)?.stream_logs(request).await?.into_inner();
    *was_there = true;
    while let Some(entry) = entries.message().await? {
        match (look.output, &entry.content) {
            (Output::Json, _) => writeln!(out, "{}", json_line(&entry)?)?,
            (Output::Table, Some(Content::Message(message))) => writeln!(out, "{}", line(node, &entry, message, look))?,
            (Output::Table, notice) => {
                if let Some(said) = sentence(&entry, notice.as_ref()) {
                    writeln!(errors, "-- {said} --")?;
                }
            }
        }
        out.flush()?;
        if !entry.cursor.is_empty() {
            filter.after_cursor = entry.cursor;
        }
    }
    Ok(())
}

fn filter(arguments: Arguments) -> LogFilter {
    let source = |source: &Source| match source {
        Source::Journal => LogSource::Journal.into(),
        Source::Kernel => LogSource::Kernel.into(),
        Source::Agent => LogSource::Agent.into(),
    };
    let time = |time: Timestamp| SystemTime::from(time).into();
    let tail = arguments.lines.or((arguments.follow && arguments.since.is_none()).then_some(10));
    LogFilter {
        units: arguments.unit,
        minimum_priority: arguments.priority.unwrap_or_default().into(),
        since: arguments.since.map(time),
        until: arguments.until.map(time),
        tail,
        follow: arguments.follow,
        after_cursor: arguments.cursor.unwrap_or_default(),
        sources: arguments.source.iter().map(source).collect(),
        files: arguments.file,
        identifiers: arguments.identifier,
        boot: arguments.boot,
        pattern: arguments.grep.unwrap_or_default(),
        fields: arguments.field,
    }
}

/// `2026-11-22T20:00:00Z pi-7 nginx[812]: message`, as journalctl has it with short-iso.
fn line(node: &str, entry: &LogEntry, message: &[u8], look: Look) -> String {
    let who = if entry.identifier.is_empty() { &entry.unit } else { &entry.identifier };
    let pid = entry.pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
    let text = String::from_utf8_lossy(message);
    let text = if look.raw { text.into_owned() } else { inert(&text) };
    let cut = match entry.message_bytes {
        0 => String::new(),
        length => format!(" … ({length} bytes)"),
    };
    let redacted = match entry.redactions {
        0 => String::new(),
        count => format!(" ({count} redacted)"),
    };
    let (on, off) = match (look.colour, entry.priority()) {
        (false, _) | (_, LogPriority::Unspecified | LogPriority::Info) => ("", ""),
        (_, LogPriority::Emergency | LogPriority::Alert | LogPriority::Critical | LogPriority::Error) => {
            ("\u{1b}[31m", "\u{1b}[0m")
        }
        (_, LogPriority::Warning) => ("\u{1b}[33m", "\u{1b}[0m"),
        (_, LogPriority::Notice) => ("\u{1b}[1m", "\u{1b}[0m"),
        (_, LogPriority::Debug) => ("\u{1b}[2m", "\u{1b}[0m"),
    };
    format!("{} {node} {}{pid}: {on}{text}{off}{cut}{redacted}", time(entry.time), inert(who))
}

fn time(time: Option<prost_types::Timestamp>) -> String {
    let time = time.and_then(|time| Timestamp::new(time.seconds, 0).ok());
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// What a notice says; `None`: nothing for people.
fn sentence(entry: &LogEntry, notice: Option<&Content>) -> Option<String> {
    let of = |name: &str| if entry.file.is_empty() { name.to_owned() } else { inert(&entry.file) };
    match notice {
        Some(Content::Opened(opened)) => {
            let volatile = |source: LogSource| {
                opened.sources.iter().any(|s| s.source() == source && s.storage() == LogStorage::Volatile)
            };
            volatile(LogSource::Journal).then(|| "the journal is volatile: it begins with this boot".to_owned())
        }
        Some(Content::Dropped(dropped)) => {
            let count = dropped.count.map_or_else(|| "some".to_owned(), |count| count.to_string());
            let why = match dropped.reason() {
                LogDropReason::Overrun => "they came faster than they were read",
                LogDropReason::Vacuumed => "the journal gave them up before they were read",
                LogDropReason::Truncated => "the file was cut off before they were read",
                LogDropReason::Unspecified => "for a reason that this pictl does not know",
            };
            Some(format!("{count} entries of {} are missing here: {why}", of("the log")))
        }
        Some(Content::BootChanged(changed)) => Some(format!("boot {}", inert(&changed.boot_id))),
        Some(Content::CursorLost(lost)) => {
            let from = lost.resumed_at.map(|at| format!("; going on at {}", time(Some(at)))).unwrap_or_default();
            Some(format!("the entry to resume after is gone from {}{from}", of("the log")))
        }
        Some(Content::CaughtUp(_) | Content::Heartbeat(_)) => None,
        Some(Content::Message(_)) | None => Some("a notice that this pictl does not know".to_owned()),
    }
}

/// RFC 3339, or so long ago.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = text.trim_end_matches(" ago").parse::<SignedDuration>();
    let ago = ago.map_err(|_| "expected a time such as 2026-11-22T20:00:00Z, or 2h for two hours ago".to_owned())?;
    Timestamp::now().checked_sub(ago.abs()).map_err(|_| "this is before all time".to_owned())
}

fn priority(text: &str) -> Result<LogPriority, String> {
    const NAMES: [&str; 8] = ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];
    let short = |name: &str| text.len() >= 3 && name.starts_with(text);
    let by_name = || NAMES.iter().position(|name| short(name));
    let number = text.parse::<usize>().ok().filter(|number| *number < NAMES.len()).or_else(by_name);
    let number = number.and_then(|number| LogPriority::try_from(number as i32 + 1).ok());
    number.ok_or_else(|| format!("choose {}, or 0 to 7", NAMES.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        assert_eq!(priority("err"), Ok(LogPriority::Error));
        assert_eq!(priority("4"), Ok(LogPriority::Warning));
        assert!(priority("8").is_err() && priority("x").is_err() && priority("").is_err());
        assert_eq!(moment("1970-01-01T00:00:10Z").unwrap().as_second(), 10);
        let ago = Timestamp::now().as_second() - moment("2h").unwrap().as_second();
        assert!((7199..=7201).contains(&ago), "{ago}");
        assert!(moment("2h ago").is_ok() && moment("yesterdayish").is_err());
    }
}
