//! Logs of a real journal: each test runs once more as a process of its own beside a systemd-journald of its own (see
//! `tests/journald`), with the agent as a process, and `journalctl` as the judge.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use mtls::Expect;
use pi_agent::join;
use proto::agent::v1::log_entry::Content;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{LogEntry, LogFilter, LogPriority, LogSource};
use proto::control::v1::Inventory;
use rustix::process::{Pid, Signal, kill_process};
use tests::{Cluster, eventually};
use tokio::process::Child;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// Full size, or a tenth of it.
fn size(full: u32) -> u32 {
    tests::size(full / 10, full)
}

/// Whether this process has its own journal; if not, the test is run in one that has.
fn is_beside_journald(test: &str) -> bool {
    if std::env::var_os("PI_JOURNALD_PID").is_some() {
        return true;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("journald");
    let own = std::env::current_exe().unwrap();
    let ran =
        Command::new(script).arg(own).args(["--exact", test, "--nocapture"]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    if ran.status.code() == Some(69) && std::env::var_os("CI").is_none() {
        eprintln!("not run: {}", said.trim());
        return false;
    }
    assert!(ran.status.success(), "{said}");
    println!("{said}");
    false
}

/// An agent as a process, with the journal of its machine.
struct Node {
    agent: Child,
    address: SocketAddr,
    cluster: Cluster,
}

impl Node {
    async fn start(more: &str) -> Self {
        let cluster = Cluster::start().await;
        let state = cluster.folder("pi-1");
        let token = cluster.token(1).await;
        join(&token, &cluster.address.to_string(), "pi-1", Inventory::default(), &state).await.unwrap();
        let config = format!("[[operators]]\nname = 'anna'\nroles = ['logs']\n[logs]\n{more}");
        std::fs::write(state.join("agent.toml"), config).unwrap();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_bench-sim-agent"));
        let agent = command
            .arg(&state)
            .env("PI_LOG", "error")
            .stdin(OwnedFd::from(listener))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { agent, address, cluster }
    }

    /// A connection of its own.
    fn client(&self) -> NodeAgentClient<Channel> {
        let credentials = self.cluster.credentials(&self.cluster.issuer(), "operator/anna", SystemTime::now());
        let expect = Expect::Node("pi-1".to_owned());
        NodeAgentClient::new(self.cluster.dialer(&credentials).channel(&self.address.to_string(), expect).unwrap())
    }

    async fn stream(&self, filter: &LogFilter) -> Streaming<LogEntry> {
        self.client().stream_logs(filter.clone()).await.unwrap().into_inner()
    }

    fn pid(&self) -> u32 {
        self.agent.id().unwrap()
    }

    /// Resident memory in KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Its journalctl processes.
    fn children(&self) -> Vec<i32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let all: String = tasks.map(|task| of(task.unwrap())).collect();
        all.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }
}

fn of(identifier: &str) -> LogFilter {
    LogFilter { identifiers: vec![identifier.to_owned()], follow: true, ..LogFilter::default() }
}

/// A program that logs lines, as the journal sees a service's standard output. Writing waits for journald.
struct Writer(UnixStream);

impl Writer {
    fn new(identifier: &str) -> Self {
        let mut stream = UnixStream::connect("/run/systemd/journal/stdout").unwrap();
        // identifier, unit, priority, level prefix, and three places to forward to
        write!(stream, "{identifier}\n\n6\n1\n0\n0\n0\n").unwrap();
        Self(stream)
    }

    fn say(&mut self, lines: impl Iterator<Item = u32>) {
        let text: String = lines.map(|number| format!("line {number}\n")).collect();
        self.0.write_all(text.as_bytes()).unwrap();
    }
}

fn number(entry: &LogEntry) -> Option<u32> {
    let Some(Content::Message(message)) = &entry.content else { return None };
    Some(std::str::from_utf8(message).unwrap().strip_prefix("line ")?.parse().unwrap())
}

/// What journalctl finds.
fn judge(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("journalctl").args(["--quiet", "--output=cat"]).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn journalctl(argument: &str) {
    assert!(Command::new("journalctl").arg(argument).status().unwrap().success());
}

fn dropped(entry: &LogEntry) -> u64 {
    if let Some(Content::Dropped(dropped)) = &entry.content { dropped.count.unwrap() } else { 0 }
}

/// Rotated under way, the reader's child killed, the stream left and taken up again at its cursor: no entry is lost, none
/// comes twice, and journalctl says the same.
#[tokio::test(flavor = "multi_thread")]
async fn rotation_kills_and_reconnects_lose_nothing_and_repeat_nothing() {
    if !is_beside_journald("rotation_kills_and_reconnects_lose_nothing_and_repeat_nothing") {
        return;
    }
    const LINES: u32 = 20_000;
    let node = Node::start("").await;
    let writer = tokio::task::spawn_blocking(|| {
        let mut writer = Writer::new("rotated");
        for round in 0..20 {
            writer.say(round * LINES / 20..(round + 1) * LINES / 20);
            std::thread::sleep(Duration::from_millis(50)); // so that there are readers at every stage
            if round % 4 == 3 {
                journalctl("--rotate");
            }
        }
    });
    let (mut filter, mut seen, mut lost, mut kills, mut streams) = (of("rotated"), Vec::new(), 0, 0, 0);
    while seen.len() < LINES as usize {
        let mut stream = node.stream(&filter).await;
        streams += 1;
        // leave after some entries, always other ones; every third stream loses its child first
        let leave = seen.len() + 1_500 + 37 * streams;
        let mut to_kill = streams % 3 == 1;
        while seen.len() < LINES.min(leave as u32) as usize {
            let entry = tokio::time::timeout(Duration::from_secs(30), stream.message()).await;
            let entry = entry.unwrap_or_else(|_| panic!("nothing more after {}", seen.len())).unwrap().unwrap();
            lost += usize::from(matches!(entry.content, Some(Content::CursorLost(_))));
            let Some(number) = number(&entry) else { continue };
            seen.push(number);
            filter.after_cursor = entry.cursor;
            if to_kill && seen.len() > leave - 1_000 {
                to_kill = false;
                for child in node.children() {
                    kills += usize::from(kill_process(Pid::from_raw(child).unwrap(), Signal::KILL).is_ok());
                }
            }
        }
    }
    writer.await.unwrap();
    tests::figure(format!("{streams} streams, {kills} children killed"));
    assert!(kills > 0 && streams > 5);
    assert_eq!(lost, 0);
    assert_eq!(seen, (0..LINES).collect::<Vec<_>>(), "lost, twice, or out of order");
    journalctl("--sync");
    let judged = judge(&["--identifier=rotated"]);
    assert_eq!(judged, seen.iter().map(|number| format!("line {number}")).collect::<Vec<_>>());
    drop(node);
}

/// Each part of a filter finds what journalctl finds.
#[tokio::test(flavor = "multi_thread")]
async fn filters_find_what_journalctl_finds() {
    if !is_beside_journald("filters_find_what_journalctl_finds") {
        return;
    }
    let node = Node::start("").await;
    for (priority, identifier) in [(3, "a"), (4, "a"), (6, "b"), (6, "a"), (7, "b")] {
        let mut stream = UnixStream::connect("/run/systemd/journal/stdout").unwrap();
        write!(stream, "{identifier}\n\n{priority}\n0\n0\n0\n0\nsaid by {identifier} at {priority}\n").unwrap();
    }
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let binary = b"SYSLOG_IDENTIFIER=b\nPRIORITY=2\nEXTRA=more\nMESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\n";
    socket.send_to(binary, "/run/systemd/journal/socket").unwrap();
    let all = async |filter: LogFilter| {
        let mut stream = node.stream(&filter).await;
        let mut entries = Vec::new();
        while let Some(entry) = stream.message().await.unwrap() {
            entries.push(entry);
        }
        let first = entries.remove(0);
        let Some(Content::Opened(opened)) = first.content else { panic!("{first:?}") };
        assert_eq!(opened.sources[0].storage(), proto::agent::v1::LogStorage::Volatile);
        assert!(matches!(entries.pop().unwrap().content, Some(Content::CaughtUp(_))));
        entries
    };
    let texts = |entries: &[LogEntry]| -> Vec<String> {
        let text = |entry: &LogEntry| match &entry.content {
            Some(Content::Message(message)) => String::from_utf8(message.clone()).unwrap(),
            other => panic!("{other:?}"),
        };
        entries.iter().map(text).collect()
    };
    let lines = |entries: &[LogEntry]| texts(entries).join("\n").lines().map(str::to_owned).collect::<Vec<_>>();
    eventually(async || judge(&["--identifier=a", "--identifier=b"]).len() == 7).await;
    let ours = || LogFilter { identifiers: vec!["a".into(), "b".into()], ..LogFilter::default() };
    let both = ["--identifier=a", "--identifier=b"];
    assert_eq!(lines(&all(ours()).await), judge(&both));
    let severe = LogFilter { minimum_priority: LogPriority::Warning.into(), ..ours() };
    assert_eq!(lines(&all(severe).await), judge(&[both[0], both[1], "--priority=warning"]));
    for tail in [0, 1, 3, 100] {
        let found = lines(&all(LogFilter { tail: Some(tail), ..ours() }).await);
        assert_eq!(found, judge(&[both[0], both[1], &format!("--lines={tail}")]), "{tail}");
    }
    let grep = LogFilter { pattern: "by a".into(), tail: Some(2), ..ours() };
    assert_eq!(texts(&all(grep).await), ["said by a at 4", "said by a at 6"]);
    let boot = LogFilter { boot: Some(0), ..ours() };
    assert_eq!(lines(&all(boot).await).len(), 7);
    let kernel = LogFilter { sources: vec![LogSource::Kernel.into()], ..ours() };
    assert_eq!(lines(&all(kernel).await), judge(&[both[0], both[1], "_TRANSPORT=kernel"]));
    let fields = LogFilter { fields: vec!["EXTRA".into()], minimum_priority: LogPriority::Critical.into(), ..ours() };
    let entry = all(fields).await.remove(0);
    assert_eq!((entry.fields[0].name.as_str(), entry.fields[0].value.as_slice()), ("EXTRA", b"more".as_slice()));
    assert_eq!((entry.identifier.as_str(), entry.pid), ("b", Some(std::process::id())));
    // since a moment, and after a cursor that another filter made
    let every = all(ours()).await;
    let since = LogFilter { since: every[2].time, ..ours() };
    assert_eq!(texts(&all(since).await), texts(&every[2..]));
    let other =
        LogFilter { identifiers: vec!["b".into()], after_cursor: every[0].cursor.clone(), ..LogFilter::default() };
    let expected: Vec<_> = texts(&every[1..].iter().filter(|e| e.identifier == "b").cloned().collect::<Vec<_>>());
    assert_eq!(texts(&all(other).await), expected);
}

/// A cursor whose entry is gone is told, with where it goes on and how many are missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_vacuumed_journal_is_told() {
    if !is_beside_journald("a_vacuumed_journal_is_told") {
        return;
    }
    let node = Node::start("").await;
    let mut writer = Writer::new("old");
    writer.say(0..100);
    let everything = LogFilter { follow: true, ..LogFilter::default() };
    let mut stream = node.stream(&everything).await;
    let cursor = loop {
        let entry = stream.message().await.unwrap().unwrap();
        if number(&entry) == Some(10) {
            break entry.cursor;
        }
    };
    drop(stream);
    journalctl("--rotate");
    Writer::new("new").say(1000..1001);
    eventually(async || judge(&["--identifier=new"]).len() == 1).await;
    journalctl("--vacuum-files=1");
    eventually(async || judge(&["--identifier=old"]).is_empty()).await;
    let mut stream = node.stream(&LogFilter { after_cursor: cursor, ..everything }).await;
    let (mut is_lost, mut missing, mut left) = (false, 0, Vec::new());
    loop {
        let entry = stream.message().await.unwrap().unwrap();
        is_lost |= matches!(&entry.content, Some(Content::CursorLost(lost)) if lost.resumed_at.is_some());
        missing += dropped(&entry);
        left.extend(number(&entry));
        if left.contains(&1000) {
            break;
        }
    }
    assert!(is_lost);
    assert!(missing >= 89 && left == [1000], "{missing} {left:?}");
}

/// L5 at a tenth: one reader takes a line a second, the other all it can; every line comes to both, the agent's memory
/// does not grow, and whoever logs is not held up.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_costs_nobody_anything() {
    if !is_beside_journald("a_slow_reader_costs_nobody_anything") {
        return;
    }
    const RATE: u32 = 20_000;
    let seconds = size(60);
    let total = RATE * seconds;
    // a line a second looks as nothing does, for longer than a stream's window takes to empty
    let node = Node::start("stall_s = 3600\n").await;
    let alone = write(total / 10, RATE, "alone").await;
    let filter = of("busy");
    let mut slow = node.stream(&filter).await;
    let mut fast = node.stream(&filter).await;
    drop(fast.message().await.unwrap());
    let before = node.memory();
    let writing = tokio::spawn(write(total, RATE, "busy"));
    let fast = tokio::spawn(async move { receive(&mut fast, total).await });
    let (mut received, mut missing, mut last) = (0, 0, None);
    let mut take = |entry: LogEntry| {
        missing += dropped(&entry);
        if let Some(number) = number(&entry) {
            assert!(last.is_none_or(|last| last < number), "twice, or out of order");
            (last, received) = (Some(number), received + 1);
        }
        received + missing
    };
    let (mut most, mut done) = (before, 0);
    while !writing.is_finished() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        most = most.max(node.memory());
        if let Ok(entry) = tokio::time::timeout(Duration::from_millis(10), slow.message()).await {
            done = take(entry.unwrap().unwrap());
        }
    }
    let busy = writing.await.unwrap();
    assert_eq!(fast.await.unwrap(), (total.into(), 0), "the fast one");
    while done < u64::from(total) {
        let entry =
            tokio::time::timeout(Duration::from_secs(60), slow.message()).await.expect("more").unwrap().unwrap();
        done = take(entry);
    }
    most = most.max(node.memory());
    tests::figure(format!("{received} received + {missing} missing = {total}; memory {before} to {most} KiB"));
    tests::figure(format!("written at {alone:.0} lines/s without readers, {busy:.0} with"));
    assert_eq!(received + missing, u64::from(total));
    assert!(most - before < 8 << 10, "{before} to {most} KiB");
}

/// Writes numbered lines at a steady rate; lines a second.
async fn write(total: u32, rate: u32, identifier: &'static str) -> f64 {
    let write = move || {
        let (mut writer, start) = (Writer::new(identifier), Instant::now());
        for first in (0..total).step_by(200) {
            writer.say(first..total.min(first + 200));
            let due = Duration::from_secs_f64(f64::from(first + 200) / f64::from(rate));
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        f64::from(total) / start.elapsed().as_secs_f64()
    };
    tokio::task::spawn_blocking(write).await.unwrap()
}

async fn receive(stream: &mut Streaming<LogEntry>, total: u32) -> (u64, u64) {
    let (mut received, mut missing) = (0, 0);
    while received + missing < total.into() {
        let entry = stream.message().await.unwrap().unwrap();
        missing += dropped(&entry);
        received += u64::from(number(&entry).is_some());
    }
    (received, missing)
}

/// L6, with a deadline of 2 s: who stops reading is ended, its buffers and its child go.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_is_ended_and_costs_nothing_more() {
    if !is_beside_journald("a_reader_that_stops_is_ended_and_costs_nothing_more") {
        return;
    }
    let stall = Duration::from_secs(if size(10) == 10 { 30 } else { 2 });
    let node = Node::start(&format!("stall_s = {}\n", stall.as_secs())).await;
    Writer::new("much").say(0..60_000);
    eventually(async || judge(&["--identifier=much", "--lines=1"]) == ["line 59999"]).await;
    let mut stream = node.stream(&of("much")).await;
    let start = Instant::now();
    eventually(async || !node.children().is_empty()).await;
    // reads nothing: its window fills, and the child waits until it is ended
    let limit = start + stall + Duration::from_secs(18);
    while !node.children().is_empty() {
        assert!(Instant::now() < limit, "the child is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ended = start.elapsed();
    tests::figure(format!("ended {ended:?} after it began, with a deadline of {stall:?}"));
    assert!(ended >= stall && ended < stall + Duration::from_secs(8), "{ended:?}");
    let status: Status = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if all were well"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    // its place is free, and what was left out comes with the last cursor: nothing is lost, see the test of cursors
    assert!(node.stream(&of("much")).await.message().await.is_ok());
}

/// L7: 64 streams, the 65th is refused; memory.
#[tokio::test(flavor = "multi_thread")]
async fn the_65th_stream_is_refused() {
    if !is_beside_journald("the_65th_stream_is_refused") {
        return;
    }
    let node = Node::start("").await;
    Writer::new("some").say(0..5_000);
    eventually(async || judge(&["--identifier=some", "--lines=1"]) == ["line 4999"]).await;
    let mut clients: Vec<_> = (0..4).map(|_| node.client()).collect();
    clients[3].stream_logs(LogFilter { tail: Some(1), ..LogFilter::default() }).await.unwrap(); // warm
    let before = node.memory();
    let mut streams = Vec::new();
    for number in 0..64 {
        let mut stream = clients[number % 3].stream_logs(of("some")).await.unwrap().into_inner();
        for _ in 0..100 {
            stream.message().await.unwrap().unwrap();
        }
        streams.push(stream);
    }
    let refused = clients[3].stream_logs(of("some")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.message(), "this node has its 64 log streams already: end one of them");
    let with = node.memory();
    tests::figure(format!("memory {before} to {with} KiB"));
    assert!(with - before < 24 << 10, "{before} to {with} KiB");
    drop(streams.pop());
    eventually(async || node.client().stream_logs(of("some")).await.is_ok()).await;
}
