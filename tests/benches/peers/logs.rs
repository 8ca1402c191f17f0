//! The whole journal, by the agent to a client that decodes it, by systemd-journal-gatewayd to a client that only counts
//! its lines, and by journalctl to nobody.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use proto::agent::v1::log_entry::Content;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{LogFilter, LogSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;

use crate::lab::Lab;
use crate::process::{Memory, Process, cpu, cpu_of_children, listener, memory_during};
use crate::report::{Goal, Row};
use crate::series::Series;
use crate::{journal, row};

const GATEWAYD: &str = "/lib/systemd/systemd-journal-gatewayd";

/// Of one who reads the journal.
#[derive(Default)]
struct Figures {
    /// Thousands a second.
    rate: Series,
    /// Microseconds an entry, children included.
    cpu: Series,
    /// Of that, the children's.
    of_children: Series,
    /// Microseconds an entry, of the client.
    client: Series,
    resident: Series,
    own: Series,
}

/// What a turn brought.
struct Turn {
    entries: usize,
    seconds: f64,
    cpu: f64,
    of_children: f64,
    client: f64,
    memory: Memory,
}

impl Figures {
    fn add(&mut self, turn: &Turn) {
        let micros = 1e6 / turn.entries as f64;
        self.rate.round(vec![turn.entries as f64 / turn.seconds / 1e3]);
        self.cpu.round(vec![turn.cpu * micros]);
        self.of_children.round(vec![turn.of_children * micros]);
        self.client.round(vec![turn.client * micros]);
        self.resident.round(vec![turn.memory.resident]);
        self.own.round(vec![turn.memory.own]);
    }
}

/// Whose turn it is.
#[derive(Clone, Copy)]
enum Who {
    AgentAll,
    AgentFew,
    GatewaydJson,
    GatewaydText,
    Export,
}

const ALL: [Who; 5] = [Who::AgentAll, Who::GatewaydJson, Who::AgentFew, Who::GatewaydText, Who::Export];

pub(crate) async fn measure(lab: &Lab, agent: &Path, rounds: usize, entries: usize) -> Vec<Row> {
    journal::fill(entries);
    println!("{entries} entries of {} fields", journal::fields());
    let mut figures: [Figures; ALL.len()] = Default::default();
    for round in 0..rounds {
        for turn in 0..ALL.len() {
            let who = (round + turn) % ALL.len();
            let turn = match ALL[who] {
                Who::AgentAll => by_agent(lab, agent, "*").await,
                Who::AgentFew => by_agent(lab, agent, "").await,
                Who::GatewaydJson => by_gatewayd("application/json").await,
                Who::GatewaydText => by_gatewayd("text/plain").await,
                Who::Export => by_journalctl().await,
            };
            assert!((entries..entries + 100).contains(&turn.entries), "{} entries", turn.entries);
            figures[who].add(&turn);
        }
    }
    rows(&figures)
}

fn rows([all, json, few, text, export]: &[Figures; ALL.len()]) -> Vec<Row> {
    vec![
        row("P8: all fields, beside gatewayd's JSON, entries a second", "k/s", &all.rate, &json.rate, Goal::Share(5.0)),
        row("the same, beside journalctl -o export", "k/s", &all.rate, &export.rate, Goal::None),
        row("P8: CPU an entry, beside gatewayd's JSON", "µs", &all.cpu, &json.cpu, Goal::Ratio(0.2)),
        row(
            "of that, the agent's journalctl, beside journalctl alone",
            "µs",
            &all.of_children,
            &export.cpu,
            Goal::None,
        ),
        row("CPU an entry, the client's", "µs", &all.client, &json.client, Goal::None),
        row("P8: most memory, with the mapped journal", "MB", &all.resident, &json.resident, Goal::Ratio(0.1)),
        row("most memory, without it", "MB", &all.own, &json.own, Goal::None),
        row(
            "P8: few fields, beside gatewayd's text, entries a second",
            "k/s",
            &few.rate,
            &text.rate,
            Goal::Share(30.0),
        ),
        row("CPU an entry, beside gatewayd's text", "µs", &few.cpu, &text.cpu, Goal::None),
        row(
            "of that, the agent's journalctl, beside journalctl alone",
            "µs",
            &few.of_children,
            &export.cpu,
            Goal::None,
        ),
        row("most memory, with the mapped journal", "MB", &few.resident, &text.resident, Goal::None),
        row("most memory, without it", "MB", &few.own, &text.own, Goal::None),
    ]
}

/// Measures `work`, which is done by the process `pid` for us, and says how many entries there were.
async fn measured(pid: u32, work: impl Future<Output = usize>) -> Turn {
    let own = std::process::id();
    let (before, before_children, before_client) = (cpu(pid), cpu_of_children(pid), cpu(own));
    let start = Instant::now();
    let (entries, memory) = memory_during(pid, work).await;
    let seconds = start.elapsed().as_secs_f64();
    Turn {
        entries,
        seconds,
        cpu: (cpu(pid) - before).as_secs_f64(),
        of_children: (cpu_of_children(pid) - before_children).as_secs_f64(),
        client: (cpu(own) - before_client).as_secs_f64(),
        memory,
    }
}

/// `field`: `*` is all; none, and there are only time, priority, unit, identifier, process and message.
async fn by_agent(lab: &Lab, program: &Path, field: &str) -> Turn {
    let (agent, mut client) = Process::agent(program, lab);
    let fields = if field.is_empty() { vec![] } else { vec![field.to_owned()] };
    let journal = LogSource::Journal.into();
    // the connection and the first call are not measured
    let nothing = LogFilter { sources: vec![journal], tail: Some(0), ..LogFilter::default() };
    received(&mut client, nothing).await;
    let filter = LogFilter { sources: vec![journal], fields, ..LogFilter::default() };
    measured(agent.id(), received(&mut client, filter)).await
}

async fn received(client: &mut NodeAgentClient<Channel>, filter: LogFilter) -> usize {
    let mut stream = client.stream_logs(filter).await.expect("a stream").into_inner();
    let mut entries = 0;
    while let Some(entry) = stream.message().await.expect("a good end") {
        match entry.content {
            Some(Content::Message(_)) => entries += 1,
            Some(Content::Opened(_) | Content::CaughtUp(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    entries
}

/// The socket is its third descriptor, as a service manager would hand it over.
async fn by_gatewayd(kind: &str) -> Turn {
    let (socket, address) = listener();
    let handed_over = format!("LISTEN_PID=$$ LISTEN_FDS=1 exec {GATEWAYD} 3<&0 0</dev/null");
    let gatewayd = Process::start(std::process::Command::new("sh").args(["-c", &handed_over]).stdin(socket));
    fetched(address, kind, "Range: entries=:0:1\r\n").await;
    measured(gatewayd.id(), fetched(address, kind, "")).await
}

/// Counts the lines of an answer: each is an entry.
async fn fetched(address: SocketAddr, kind: &str, more: &str) -> usize {
    let mut connection = TcpStream::connect(address).await.expect("gatewayd");
    let request = format!("GET /entries HTTP/1.0\r\nAccept: {kind}\r\n{more}\r\n");
    connection.write_all(request.as_bytes()).await.expect("gatewayd");
    let (mut chunk, mut begin, mut lines) = (vec![0; 256 << 10], Vec::new(), 0);
    loop {
        let length = connection.read(&mut chunk).await.expect("gatewayd");
        if length == 0 {
            break;
        }
        if begin.len() < 1024 {
            begin.extend_from_slice(&chunk[..length.min(1024)]);
        }
        lines += chunk[..length].iter().filter(|byte| **byte == b'\n').count();
    }
    let begin = String::from_utf8_lossy(&begin);
    assert!(begin.starts_with("HTTP/1.") && begin[8..].starts_with(" 200 "), "gatewayd says {begin}");
    let head = begin.split("\r\n\r\n").next().unwrap_or_default();
    lines - head.matches('\n').count() - 2
}

/// Its entries are counted beforehand.
async fn by_journalctl() -> Turn {
    let counted = Command::new("journalctl").args(["--quiet", "--output=cat", "--output-fields=PRIORITY"]).output();
    let entries = counted.expect("journalctl").stdout.iter().filter(|byte| **byte == b'\n').count();
    let own = std::process::id();
    let before = cpu_of_children(own);
    let start = Instant::now();
    let mut journalctl = Process::start(Command::new("journalctl").args(["--quiet", "--no-pager", "--output=export"]));
    let (entries, memory) = memory_during(journalctl.id(), async {
        journalctl.wait();
        entries
    })
    .await;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = (cpu_of_children(own) - before).as_secs_f64();
    Turn { entries, seconds, cpu, of_children: 0.0, client: 0.0, memory }
}
