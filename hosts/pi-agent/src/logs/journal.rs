//! The systemd journal, read by `journalctl` as a child: what the journal can do, it does, and it waits for us through
//! its pipe. The child gets a clean environment, and arguments that only typed values of the filter become.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};

use super::cursor::JournalCursor;
use super::entry::MESSAGE_BYTES;
use super::export::{ExportError, Field, Parser};
use super::filter::{Fields, Filter};

/// Fields that every entry is made of.
const FIELDS: &str = "MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_COMM,_PID,SYSLOG_PID";
/// Read from the child at once.
const CHUNK: usize = 32 << 10;
/// Of what the child complains about.
const COMPLAINT: u64 = 512;

/// How to read the journal of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    /// The program; absolute.
    pub(crate) program: PathBuf,
}

/// Where a child begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// At the first entry that meets the filter.
    Beginning,
    /// At the entry with this cursor, or where it would be.
    At(JournalCursor),
    /// At the newest entry, backwards.
    Newest,
}

/// A child's arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Absent: every entry, without its fields.
    pub(crate) filter: Option<&'a Filter>,
    /// Only what the kernel said.
    pub(crate) kernel: bool,
    pub(crate) start: Start,
    pub(crate) follow: bool,
}

impl Request<'_> {
    /// Each is an option with its value in one word, or a fixed match: none can be taken for another option.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["--quiet", "--no-pager", "--output=export"].map(str::to_owned).into();
        let mut add = |argument: String| arguments.push(argument);
        match self.start {
            Start::Beginning => {}
            Start::At(cursor) => add(format!("--cursor={cursor}")),
            Start::Newest => add("--reverse".to_owned()),
        }
        if self.follow {
            add("--follow".to_owned());
            add("--no-tail".to_owned());
        }
        let Some(filter) = self.filter else {
            add("--output-fields=_TRANSPORT".to_owned());
            return arguments;
        };
        match &filter.fields {
            Fields::None => add(format!("--output-fields={FIELDS}")),
            Fields::These(names) => add(format!("--output-fields={FIELDS},{}", names.join(","))),
            Fields::All => {}
        }
        filter.units.iter().for_each(|unit| add(format!("--unit={unit}")));
        filter.identifiers.iter().for_each(|identifier| add(format!("--identifier={identifier}")));
        if let Some(priority) = filter.priority {
            add(format!("--priority={priority}"));
        }
        if let Some(boot) = filter.boot {
            add(format!("--boot={boot}"));
        }
        // journalctl takes no more than one of them; who begins at a cursor compares the times itself
        if let (Some(since), false) = (filter.since_us, matches!(self.start, Start::At(_))) {
            add(format!("--since={}", moment(since)));
        }
        if let Some(until) = filter.until_us {
            add(format!("--until={}", moment(until)));
        }
        if self.kernel {
            add("_TRANSPORT=kernel".to_owned());
        }
        arguments
    }
}

fn moment(us: u64) -> String {
    format!("@{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// Whether entries outlast a boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Storage {
    Persistent,
    Volatile,
}

impl Journal {
    /// How the journal is kept; `None`: there is none.
    pub(crate) fn storage(&self) -> Option<Storage> {
        let has_files = |folder: &str| {
            let machines = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut files = machines.filter_map(|machine| std::fs::read_dir(machine.path()).ok()).flatten().flatten();
            files.any(|file| file.path().extension().is_some_and(|extension| extension == "journal"))
        };
        match self.program.is_file() {
            false => None,
            true if has_files("/var/log/journal") => Some(Storage::Persistent),
            true => (has_files("/run/log/journal") || Path::new("/run/systemd/journal/socket").exists())
                .then_some(Storage::Volatile),
        }
    }

    /// Starts a child.
    pub(crate) fn read(&self, request: &Request<'_>) -> std::io::Result<Reading> {
        let mut command = Command::new(&self.program);
        // no pre_exec and no user: then it is one posix_spawn, whatever the agent's size
        command.args(request.arguments()).env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let gone = || std::io::Error::other("the child has no output");
        let (output, errors) = (child.stdout.take().ok_or_else(gone)?, child.stderr.take().ok_or_else(gone)?);
        // read to its end whatever it is, so that the child never waits for it
        let complaint = tokio::spawn(async move {
            let mut kept = Vec::new();
            let (mut first, mut rest) = (errors, tokio::io::sink());
            _ = (&mut first).take(COMPLAINT).read_to_end(&mut kept).await;
            _ = tokio::io::copy(&mut first, &mut rest).await;
            String::from_utf8_lossy(&kept).lines().next().unwrap_or_default().to_owned()
        });
        Ok(Reading { child, output, complaint, parser: Parser::new(MESSAGE_BYTES), chunk: vec![0; CHUNK] })
    }

    /// The first entry that a request yields.
    pub(crate) async fn first(&self, request: &Request<'_>) -> std::io::Result<Option<JournalCursor>> {
        let mut reading = self.read(request)?;
        let mut entries = Vec::new();
        while entries.is_empty() && reading.more(&mut entries).await? {}
        Ok(entries.first().and_then(|fields| cursor_of(fields)))
    }
}

/// One child.
pub(crate) struct Reading {
    child: Child,
    output: ChildStdout,
    complaint: tokio::task::JoinHandle<String>,
    parser: Parser,
    chunk: Vec<u8>,
}

impl Reading {
    /// Waits for more entries; whether there may be more still.
    pub(crate) async fn more(&mut self, entries: &mut Vec<Vec<Field>>) -> std::io::Result<bool> {
        let length = self.output.read(&mut self.chunk).await?;
        let read = self.parser.read(&self.chunk[..length], |entry| entries.push(entry));
        read.map_err(|error: ExportError| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
        Ok(length > 0)
    }

    /// After its last entry: whether it said all that it had to, or why not.
    pub(crate) async fn end(mut self) -> Result<(), String> {
        let status = self.child.wait().await.map_err(|error| error.to_string())?;
        let complaint = self.complaint.await.unwrap_or_default();
        if status.success() && self.parser.end().is_ok() {
            return Ok(());
        }
        Err(format!("journalctl ended ({status}) {complaint}").trim_end().to_owned())
    }
}

/// Where an entry stands; `None`: it is not one of the journal's.
pub(crate) fn cursor_of(fields: &[Field]) -> Option<JournalCursor> {
    let cursor = fields.iter().find(|field| field.name == "__CURSOR")?;
    JournalCursor::parse(&cursor.value)
}

#[cfg(test)]
mod tests {
    use super::super::filter;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_filter_becomes_arguments() {
        let filter = Filter {
            units: vec![filter::unit("nginx").unwrap(), filter::unit("-.mount").unwrap()],
            identifiers: vec![filter::identifier("--file=/etc/shadow").unwrap()],
            priority: Some(3),
            since_us: Some(1_500_000),
            until_us: Some(2_000_000),
            boot: Some(-1),
            fields: Fields::These(vec!["_CMDLINE".to_owned()]),
            ..Filter::default()
        };
        let request = Request { filter: Some(&filter), kernel: true, start: Start::Beginning, follow: false };
        let expected = [
            "--quiet",
            "--no-pager",
            "--output=export",
            &format!("--output-fields={FIELDS},_CMDLINE"),
            "--unit=nginx.service",
            "--unit=-.mount",
            "--identifier=--file=/etc/shadow",
            "--priority=3",
            "--boot=-1",
            "--since=@1.500000",
            "--until=@2.000000",
            "_TRANSPORT=kernel",
        ];
        assert_eq!(request.arguments(), expected);
    }

    proptest! {
        /// Whatever a caller sends: journalctl gets options of this list only, and no path to open.
        #[test]
        fn nothing_slips_in_as_an_option(words in prop::collection::vec(any::<String>(), 0..8), boot: Option<i32>) {
            let filter = Filter {
                units: words.iter().filter_map(|word| filter::unit(word).ok()).collect(),
                identifiers: words.iter().filter_map(|word| filter::identifier(word).ok()).collect(),
                fields: Fields::These(words.iter().filter_map(|word| filter::field(word).ok()).collect()),
                boot,
                ..Filter::default()
            };
            const KNOWN: [&str; 12] = [
                "--quiet", "--no-pager", "--output", "--output-fields", "--unit", "--identifier", "--priority",
                "--boot", "--since", "--until", "--cursor", "_TRANSPORT",
            ];
            let request = Request { filter: Some(&filter), kernel: true, start: Start::Beginning, follow: false };
            for argument in request.arguments() {
                let option = argument.split('=').next().unwrap();
                prop_assert!(KNOWN.contains(&option), "{argument}");
            }
        }
    }
}
