//! `pictl audit`: who did what through the control plane, and whether the rows are as they were written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use audit::{Anchor, Entry, Hash, Header, Report, Row, Verifier, cluster_chain, format_row, rfc3339};
use clap::Subcommand;
use jiff::Timestamp;
use proto::fleet::v1::audit_client::AuditClient;
use proto::fleet::v1::{AuditAnchor, AuditRow, ListRowsRequest, ListRowsResponse};
use tonic::transport::Channel;

use crate::call::Caller;
use crate::exit::{Exit, Failure};
use crate::logs::moment;
use crate::output::{Output, inert, json_line, or_dash, table};

const EXAMPLES: &str = "Examples:
  pictl audit list --who anna --since 2h
  pictl audit list --node pi-7 --action ControlGPIO -o json
  pictl audit verify
  pictl audit verify --anchor 412:9f86d081…
  pictl audit export --out audit.jsonl && pictl audit verify audit.jsonl

Each row carries a hash over itself and all before it. verify computes the hashes anew on this machine and names each row that
was changed, dropped, moved or inserted. Whoever controls the controller's disk can write the whole chain anew: note the anchor
that verify prints somewhere else, and give it to the next verify.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show rows, oldest first
    List(List),
    /// Verify the hashes of all rows; exits with 1 if one is not as it was written
    Verify {
        /// A file of export, or an agent's file or folder of audit, instead of the running controller: needs no connection
        file: Option<PathBuf>,
        /// A row noted earlier, as NUMBER:HASH: it must still be there and the same
        #[arg(long, value_name = "ANCHOR")]
        anchor: Vec<Anchor>,
    },
    /// Write all rows with their hashes, as lines of JSON
    Export {
        /// New file; default: standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
pub(crate) struct List {
    /// Only what this identity caused: operator/anna, node/pi-7; a name alone is an operator's
    #[arg(long)]
    who: Option<String>,
    /// Only this action, such as token.create, or method, such as ExecuteCommand
    #[arg(long)]
    action: Option<String>,
    /// Only what was about this node, or caused by it
    #[arg(long)]
    node: Option<String>,
    /// Not before: a time such as 2026-11-22T20:00:00Z, or so long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// As many of the newest, 0 for all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100)]
    lines: usize,
}

impl Command {
    /// The file that is to be verified, where nobody is called.
    pub(crate) fn offline(&self) -> Option<(&Path, &[Anchor])> {
        match self {
            Self::Verify { file: Some(file), anchor } => Some((file, anchor)),
            _ => None,
        }
    }
}

pub(crate) async fn run(
    caller: &Caller,
    command: Command,
    output: Output,
    out: &mut dyn Write,
) -> Result<String, Failure> {
    match command {
        Command::List(list) => self::list(caller, list, output).await,
        Command::Verify { anchor, .. } => {
            let chain = cluster_chain(caller.cluster());
            let mut verifier = Verifier::new(&chain);
            anchor.iter().for_each(|anchor| verifier.note(*anchor));
            let mut end = None;
            each_page(caller, ListRowsRequest::default(), |page| {
                end = Some(page.end);
                page.rows.iter().for_each(|(_, row)| verifier.check(row));
                Ok(())
            })
            .await?;
            end.into_iter().for_each(|end| verifier.end_at(end));
            told(&chain, verifier.finish(), output, out)
        }
        Command::Export { out: None } => export(caller, out).await,
        Command::Export { out: Some(path) } => {
            let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
            export(caller, &mut BufWriter::new(file)).await
        }
    }
}

/// Verifies a file, or a folder of files.
pub(crate) fn verify_file(
    file: &Path,
    noted: &[Anchor],
    output: Output,
    out: &mut dyn Write,
) -> Result<String, Failure> {
    let cannot = |error: &dyn std::error::Error| {
        let why = format!("cannot verify {}: {}", file.display(), startup::one_line(error));
        Failure::Command(Exit::Usage, why)
    };
    let (header, report) = match file.is_dir() {
        true => audit::verify_folder(file, noted).map_err(|error| cannot(&error))?.ok_or_else(|| {
            Failure::Command(Exit::Usage, format!("cannot verify {}: no file of an audit is in it", file.display()))
        })?,
        false => {
            let opened = File::open(file).map_err(|error| cannot(&error))?;
            audit::verify_lines(opened, noted).map_err(|error| cannot(&error))?
        }
    };
    told(&header.chain, report, output, out)
}

/// The report; damage is a failure.
fn told(chain: &str, report: Report, output: Output, out: &mut dyn Write) -> Result<String, Failure> {
    let Report { rows, after, last, damages } = report;
    let good = damages.is_empty();
    match output {
        Output::Json => {
            let damages: Vec<String> = damages.iter().map(ToString::to_string).collect();
            let anchor = last.to_string();
            let json = serde_json::json!({ "chain": chain, "good": good, "rows": rows, "after": after, "anchor": anchor, "damages": damages });
            writeln!(out, "{json}")?;
        }
        Output::Table => {
            for damage in &damages {
                writeln!(out, "{}", inert(&damage.to_string()))?;
            }
            if good {
                let from = if after > 0 { format!(" from row {} on", after + 1) } else { String::new() };
                writeln!(out, "{rows} rows of {}{from} are as they were written", inert(chain))?;
                writeln!(out, "note this anchor elsewhere: {last}")?;
            }
        }
    }
    match good {
        true => Ok(String::new()),
        false => {
            let why = format!("the audit of {chain} is not as it was written: {} in {rows} rows", count(damages.len()));
            Err(Failure::Command(Exit::Failed, why))
        }
    }
}

fn count(damages: usize) -> String {
    if damages == 1 { "1 damage".to_owned() } else { format!("{damages} damages") }
}

async fn list(caller: &Caller, list: List, output: Output) -> Result<String, Failure> {
    let List { who, action, node, since, lines } = list;
    let who = who.map(|who| if who.contains('/') { who } else { format!("operator/{who}") });
    let is_whole = who.is_none() && action.is_none() && node.is_none() && since.is_none();
    let since = since.map(|since| SystemTime::from(since).into());
    let (who, action, node) = (who.unwrap_or_default(), action.unwrap_or_default(), node.unwrap_or_default());
    let mut wanted = ListRowsRequest { who, action, node, since, ..ListRowsRequest::default() };
    if is_whole && lines > 0 {
        wanted.after_sequence = last(caller).await?.saturating_sub(lines as u64);
    }
    let mut newest = VecDeque::new();
    each_page(caller, wanted, |page| {
        newest.extend(page.rows);
        while lines > 0 && newest.len() > lines {
            newest.pop_front();
        }
        Ok(())
    })
    .await?;
    match output {
        Output::Json => {
            let lines: Result<Vec<_>, _> = newest.iter().map(|(message, _)| json_line(message)).collect();
            Ok(lines?.join("\n"))
        }
        Output::Table => Ok(rows_table(newest.into_iter().map(|(_, row)| row))),
    }
}

/// The number of the last row.
async fn last(caller: &Caller) -> Result<u64, Failure> {
    let request = caller.request(ListRowsRequest { page_size: 1, ..ListRowsRequest::default() });
    let page = audit(caller)?.list_rows(request).await?.into_inner();
    Ok(page.last.map_or(0, |last| last.sequence))
}

fn rows_table(rows: impl Iterator<Item = Row>) -> String {
    let row = |Row { sequence, entry, .. }: Row| {
        let Entry { at, who, on_behalf_of: _, action, subject, outcome, detail } = entry;
        // without the fraction; the hash covers it
        let time = rfc3339(at).split('.').next().unwrap_or_default().trim_end_matches('Z').to_owned() + "Z";
        let action = action.rsplit('/').next().unwrap_or_default().to_owned();
        vec![sequence.to_string(), time, who, action, or_dash(subject), outcome, detail]
    };
    table(&["ROW", "TIME", "WHO", "ACTION", "SUBJECT", "OUTCOME", "DETAIL"], rows.map(row))
}

async fn export(caller: &Caller, out: &mut dyn Write) -> Result<String, Failure> {
    // the end first: what comes while we read belongs to the next export
    let (chain, genesis) = (cluster_chain(caller.cluster()), Hash::genesis(&cluster_chain(caller.cluster())));
    let first = caller.request(ListRowsRequest { page_size: 1, ..ListRowsRequest::default() });
    let end = anchor(audit(caller)?.list_rows(first).await?.into_inner().last)?;
    let header = Header { chain, after: Anchor { sequence: 0, hash: genesis }, end: Some(end) };
    out.write_all(header.format().as_bytes())?;
    each_page(caller, ListRowsRequest::default(), |page| {
        for (_, row) in page.rows.iter().filter(|(_, row)| row.sequence <= end.sequence) {
            out.write_all(format_row(row).as_bytes())?;
        }
        Ok(())
    })
    .await?;
    out.flush()?;
    Ok(String::new())
}

struct Page {
    /// As they came, and as they are verified.
    rows: Vec<(AuditRow, Row)>,
    end: Anchor,
}

/// Every page that `wanted` asks for, in order.
async fn each_page(
    caller: &Caller,
    mut wanted: ListRowsRequest,
    mut tell: impl FnMut(Page) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut client = audit(caller)?;
    loop {
        let answer = client.list_rows(caller.request(wanted.clone())).await?.into_inner();
        let ListRowsResponse { rows, more, chain: _, last } = answer;
        let rows = rows.into_iter().map(|message| Ok((message.clone(), row(message)?)));
        let rows = rows.collect::<Result<Vec<_>, Failure>>()?;
        // a page that does not lead on is the last one, whatever it says
        let next = rows.last().map(|(_, row)| row.sequence).filter(|next| *next > wanted.after_sequence);
        tell(Page { rows, end: anchor(last)? })?;
        match next.filter(|_| more) {
            Some(next) => wanted.after_sequence = next,
            None => return Ok(()),
        }
    }
}

fn audit(caller: &Caller) -> Result<AuditClient<Channel>, Failure> {
    Ok(AuditClient::new(caller.channel()?))
}

fn row(message: AuditRow) -> Result<Row, Failure> {
    let AuditRow { sequence, time, who, on_behalf_of, action, subject, outcome, detail, hash } = message;
    let at = time.and_then(|time| SystemTime::try_from(time).ok()).ok_or_else(unknown)?;
    let entry = Entry { at, who, on_behalf_of, action, subject, outcome, detail };
    Ok(Row { sequence, entry, hash: self::hash(hash)? })
}

fn anchor(message: Option<AuditAnchor>) -> Result<Anchor, Failure> {
    let AuditAnchor { sequence, hash } = message.ok_or_else(unknown)?;
    Ok(Anchor { sequence, hash: self::hash(hash)? })
}

fn hash(bytes: Vec<u8>) -> Result<Hash, Failure> {
    bytes.try_into().map(Hash).map_err(|_| unknown())
}

fn unknown() -> Failure {
    Failure::Command(Exit::Failed, "the controller's answer has no hash or time: use a pictl of its release".to_owned())
}
