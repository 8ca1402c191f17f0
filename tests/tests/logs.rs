//! Logs of simulated nodes, of files and in memory; what a caller may not do; what people see. See `journal.rs` for those
//! of a real journal.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use insta::assert_snapshot;
use pi_agent::{Config, LogRecord, Operator, Right, Scope};
use pi_sim::Fleet;
use pictl::Exit;
use proto::agent::v1::log_entry::Content;
use proto::agent::v1::{LogEntry, LogFilter, LogSource};
use tests::{Cluster, direct};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::{Code, Streaming};

/// Full size, or a tenth of it.
fn size(full: u64) -> u64 {
    tests::size(full / 10, full)
}

/// One node that anna may read, with these files.
async fn node(cluster: &Cluster, files: &[(&str, &Path)]) -> Fleet {
    let operators = vec![Operator { name: "anna".to_owned(), roles: vec![Right::Logs], scope: Scope::UNLIMITED }];
    let mut config = Config { operators, ..Config::default() };
    config.logs.files = files.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
    cluster.nodes_with(1, &config).await
}

async fn stream(cluster: &Cluster, fleet: &Fleet, filter: LogFilter) -> Streaming<LogEntry> {
    direct(cluster, fleet, 0, "anna").stream_logs(filter).await.unwrap().into_inner()
}

fn record(message: &str) -> LogRecord {
    LogRecord {
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        monotonic: None,
        boot_id: "boot".to_owned(),
        priority: 6,
        unit: "test.service".to_owned(),
        identifier: "test".to_owned(),
        pid: Some(7),
        is_kernel: false,
        message: message.to_owned(),
    }
}

fn text(entry: &LogEntry) -> Option<String> {
    let Some(Content::Message(message)) = &entry.content else { return None };
    Some(String::from_utf8_lossy(message).into_owned())
}

async fn next_text(stream: &mut Streaming<LogEntry>) -> (String, LogEntry) {
    loop {
        let entry = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.expect("an entry");
        let entry = entry.unwrap().unwrap();
        if let Some(text) = text(&entry) {
            return (text, entry);
        }
    }
}

/// B8: what is no filter is refused at once, by name of the field.
#[tokio::test(flavor = "multi_thread")]
async fn bad_filters_are_refused() {
    let cluster = Cluster::start().await;
    let fleet = node(&cluster, &[]).await;
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    let filter = LogFilter::default;
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let bad: Vec<(&str, LogFilter)> = vec![
        ("units", LogFilter { units: vec!["../../etc/shadow".into()], ..filter() }),
        ("units", LogFilter { units: vec!["/etc/shadow".into()], ..filter() }),
        ("units", LogFilter { units: vec!["nginx\0".into()], ..filter() }),
        ("units", LogFilter { units: vec!["a".into(); 33], ..filter() }),
        ("identifiers", LogFilter { identifiers: vec!["a\0b".into()], ..filter() }),
        ("files", LogFilter { files: vec!["../log".into()], ..filter() }),
        ("files", LogFilter { files: vec!["/var/log/syslog".into()], ..filter() }),
        ("fields", LogFilter { fields: vec!["--file=/etc/shadow".into()], ..filter() }),
        ("pattern", LogFilter { pattern: "a".repeat(60 << 10), ..filter() }),
        ("pattern", LogFilter { pattern: "(a{1000}){1000}".into(), ..filter() }),
        ("pattern", LogFilter { pattern: "a(".into(), ..filter() }),
        ("since", LogFilter { since: time(2), until: time(1), ..filter() }),
        ("since", LogFilter { since: time(-1), ..filter() }),
        ("boot", LogFilter { boot: Some(1), ..filter() }),
        ("tail", LogFilter { tail: Some(u32::MAX), ..filter() }),
        ("after_cursor", LogFilter { after_cursor: "s=1;i=2".into(), ..filter() }),
        ("after_cursor", LogFilter { after_cursor: "../x".into(), ..filter() }),
        ("sources", LogFilter { sources: vec![99], ..filter() }),
        ("sources", LogFilter { sources: vec![LogSource::File.into()], ..filter() }),
        ("minimum_priority", LogFilter { minimum_priority: 99, ..filter() }),
    ];
    let mut longest = Duration::ZERO;
    for (field, filter) in bad {
        let start = Instant::now();
        let status = anna.stream_logs(filter).await.unwrap_err();
        longest = longest.max(start.elapsed());
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
        assert!(status.message().starts_with(field), "{field}: {status:?}");
    }
    println!("longest {longest:?}");
    // a megabyte is refused before it is read
    let megabyte = anna.stream_logs(LogFilter { pattern: "a".repeat(1 << 20), ..filter() }).await.unwrap_err();
    assert_eq!(megabyte.code(), Code::OutOfRange, "{megabyte:?}");
    // evil to a backtracking search, harmless here
    anna.stream_logs(LogFilter { pattern: "(a+)+$".into(), ..filter() }).await.unwrap();
    let unknown = anna.stream_logs(LogFilter { files: vec!["syslog".into()], ..filter() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

/// S18: a log that was made a link to a key is not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_key_is_not_followed() {
    let cluster = Cluster::start().await;
    let (key, link) = (cluster.folder("key.pem"), cluster.folder("app.log"));
    std::fs::write(&key, "secret\n").unwrap();
    std::os::unix::fs::symlink(&key, &link).unwrap();
    let fleet = node(&cluster, &[("app", &link), ("key", &key)]).await;
    let of = |name: &str| LogFilter { files: vec![name.to_owned()], ..LogFilter::default() };
    let mut entries = stream(&cluster, &fleet, of("app")).await;
    let status = loop {
        match entries.message().await {
            Ok(entry) => assert_eq!(text(&entry.expect("a failure")), None),
            Err(status) => break status,
        }
    };
    assert_eq!(
        status.message(),
        "the file \"app\" cannot be read: a symbolic link is on its path, and none is followed"
    );
    // control: the file itself, if the configuration names it
    assert_eq!(next_text(&mut stream(&cluster, &fleet, of("key")).await).await.0, "secret");
}

/// A file is followed through rotation and truncation, and taken up again at a cursor: no line is lost, none comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_followed_through_rotation() {
    let cluster = Cluster::start().await;
    let path = cluster.folder("app.log");
    let fleet = node(&cluster, &[("app", &path)]).await;
    let append = |line: u32| {
        let mut file = std::fs::File::options().append(true).create(true).open(&path).unwrap();
        writeln!(file, "a line with the number {line}").unwrap();
    };
    (0..10).for_each(append);
    let mut filter = LogFilter { files: vec!["app".into()], follow: true, ..LogFilter::default() };
    let mut entries = stream(&cluster, &fleet, filter.clone()).await;
    for line in 0..60 {
        let (text, entry) = next_text(&mut entries).await;
        assert_eq!(text, format!("a line with the number {line}"));
        assert_eq!((entry.source(), entry.file.as_str()), (LogSource::File, "app"));
        match line {
            9 => {
                // the writer does not know of the rotation yet
                let mut old = std::fs::File::options().append(true).open(&path).unwrap();
                std::fs::rename(&path, cluster.folder("app.log.1")).unwrap();
                std::fs::File::create(&path).unwrap();
                writeln!(old, "a line with the number 10").unwrap();
                (11..20).for_each(append);
            }
            19 => {
                std::fs::copy(&path, cluster.folder("app.log.2")).unwrap();
                std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
                (20..40).for_each(append);
            }
            // in the middle of what is there, and rotated while nobody reads
            30 => {
                filter.after_cursor = entry.cursor;
                std::fs::rename(&path, cluster.folder("app.log.1")).unwrap();
                (40..60).for_each(append);
                entries = stream(&cluster, &fleet, filter.clone()).await;
            }
            _ => {}
        }
    }
    let tail = LogFilter { tail: Some(2), files: vec!["app".into()], pattern: "[05]$".into(), ..LogFilter::default() };
    let mut entries = stream(&cluster, &fleet, tail).await;
    assert_eq!(next_text(&mut entries).await.0, "a line with the number 50");
    assert_eq!(next_text(&mut entries).await.0, "a line with the number 55");
}

/// L5 where the source cannot wait: what a slow reader gets and what it is told to have missed is what was written.
#[tokio::test(flavor = "multi_thread")]
async fn what_memory_gives_up_is_counted_exactly() {
    let cluster = Cluster::start().await;
    let fleet = node(&cluster, &[]).await;
    let total = size(1_200_000);
    let ring = fleet.logs[0].ring();
    let mut slow = stream(&cluster, &fleet, LogFilter { follow: true, tail: Some(0), ..LogFilter::default() }).await;
    // past the first notices: it stands where writing begins
    while !matches!(slow.message().await.unwrap().unwrap().content, Some(Content::CaughtUp(_))) {}
    for number in 0..total {
        ring.push(record(&format!("{number} {}", "x".repeat(80))));
    }
    let (mut received, mut missing) = (0, 0);
    while received + missing < total {
        let entry =
            tokio::time::timeout(Duration::from_secs(30), slow.message()).await.expect("more").unwrap().unwrap();
        match &entry.content {
            Some(Content::Dropped(dropped)) => missing += dropped.count.unwrap(),
            // the simulated machine goes on talking; what it says is no part of the count
            Some(Content::Message(message)) if entry.identifier == "test" => {
                let number: u64 = std::str::from_utf8(message).unwrap().split(' ').next().unwrap().parse().unwrap();
                received += 1;
                assert!(number >= received - 1 && number < total);
            }
            _ => {}
        }
    }
    println!("{received} received + {missing} missing = {total}");
    // at most the few that the machine said meanwhile and that were missed as well
    assert!(missing > 0 && received + missing - total < 20, "{received} + {missing}");
}

/// A stream is taken up again over a gap and a boot of the machine.
#[tokio::test(flavor = "multi_thread")]
async fn gaps_and_boots_are_told_in_their_place() {
    let cluster = Cluster::start().await;
    let fleet = node(&cluster, &[]).await;
    let log = &fleet.logs[0];
    log.ring().push(record("before"));
    let newest = LogFilter { tail: Some(1), ..LogFilter::default() };
    let (said, entry) = next_text(&mut stream(&cluster, &fleet, newest).await).await;
    assert_eq!(said, "before");
    log.gap(12);
    log.reboot();
    log.burst(3);
    let filter = LogFilter { after_cursor: entry.cursor, ..LogFilter::default() };
    let mut entries = stream(&cluster, &fleet, filter).await;
    let mut said = Vec::new();
    while let Some(entry) = entries.message().await.unwrap() {
        said.push(match entry.content.unwrap() {
            Content::Dropped(dropped) => format!("{} missing", dropped.count.unwrap()),
            Content::Message(message) => String::from_utf8_lossy(&message).split(' ').next().unwrap().to_owned(),
            Content::CaughtUp(_) => "caught up".to_owned(),
            Content::Opened(_) => "opened".to_owned(),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(said, ["opened", "12 missing", "Linux", "Machine", "gpiochip0:", "caught up"]);
}

/// B12 and S20: what people see of a line made to fool a terminal, of a very long one, and of one with a secret.
#[tokio::test(flavor = "multi_thread")]
async fn pictl_shows_logs_inert_and_without_secrets() {
    let cluster = Cluster::start().await;
    let fleet = node(&cluster, &[]).await;
    let ring = fleet.logs[0].ring();
    ring.push(record("\u{1b}[31mred\u{1b}]0;title\u{7} over\rwritten \u{202e}drawkcab"));
    ring.push(record("login with password=S3CRET ok"));
    ring.push(record(&"y".repeat(64 << 10)));
    let said = cluster.pictl(&["logs", "sim-1", "-t", "test"]).await;
    assert_eq!(said.exit, Exit::Done, "{said:?}");
    assert_eq!(said.err, "");
    assert_snapshot!("logs_inert", said.out.replace(&"y".repeat(16 << 10), "y…y"));
    let raw = cluster.pictl(&["logs", "sim-1", "-t", "test", "--raw", "-n", "3"]).await.out;
    assert!(raw.contains("\u{1b}[31mred"), "--raw passes it on");
    let json = cluster.pictl(&["logs", "sim-1", "-t", "test", "-o", "json"]).await.out;
    assert!(!json.contains("S3CRET") && json.contains("\"redactions\":1"), "{json}");
    // whoever searches for a secret does not learn whether it was there
    let searched = cluster.pictl(&["logs", "sim-1", "--grep", "password=S3"]).await.out;
    assert_eq!(searched, "");
}

/// The command line against a simulated node: filters, mistakes, exit codes.
#[tokio::test(flavor = "multi_thread")]
async fn pictl_filters() {
    let cluster = Cluster::start().await;
    let fleet = node(&cluster, &[]).await;
    let out = async |line: &str| cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await.out;
    let kernel = out("logs sim-1 --source kernel").await;
    assert!(kernel.lines().next().unwrap().contains("sim-1 kernel: Linux version 6.6."), "{kernel}");
    fleet.logs[0].burst(500);
    let errors = out("logs sim-1 -p err").await;
    assert!(!errors.is_empty() && errors.lines().all(|line| line.contains(" sensors[1290]: lm75")), "{errors}");
    let nginx = out("logs sim-1 -u nginx -n 5 --grep GET").await;
    assert!(nginx.lines().count() == 5 && nginx.lines().all(|line| line.contains("nginx[812]: ")), "{nginx}");
    assert_eq!(out("logs sim-1 --since 2100-01-01T00:00:00Z").await, "");
    let exit = async |line: &str| cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await.exit;
    assert_eq!(exit("logs sim-1 -u ../x").await, Exit::Usage);
    assert_eq!(exit("logs sim-1 --file nginx").await, Exit::NotFound);
    assert_eq!(exit("logs nobody -f").await, Exit::NotFound);
    assert_eq!(exit("logs sim-1 --since yesterdayish").await, Exit::Usage);
}

/// Several sources in one stream, in order of time, with one cursor for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn several_sources_share_a_cursor() {
    let cluster = Cluster::start().await;
    let path = cluster.folder("app.log");
    std::fs::write(&path, "f0\nf1\nf2\n").unwrap();
    let fleet = node(&cluster, &[("app", &path)]).await;
    let ring = fleet.logs[0].ring();
    (0..3).for_each(|number| ring.push(LogRecord { time: SystemTime::now(), ..record(&format!("j{number}")) }));
    let filter = LogFilter {
        sources: vec![LogSource::Journal.into()],
        files: vec!["app".into()],
        pattern: "^[fj][0-9]$".into(),
        ..LogFilter::default()
    };
    let all = async |filter: LogFilter| {
        let mut entries = stream(&cluster, &fleet, filter).await;
        let (mut texts, mut cursors) = (Vec::new(), Vec::new());
        while let Some(entry) = entries.message().await.unwrap() {
            if let Some(text) = text(&entry) {
                texts.push(text);
                cursors.push(entry.cursor);
            }
        }
        (texts, cursors)
    };
    let (texts, cursors) = all(filter.clone()).await;
    // lines of a file are timed when they are read
    assert_eq!(texts, ["j0", "j1", "j2", "f0", "f1", "f2"]);
    for (at, cursor) in cursors.into_iter().enumerate() {
        let rest = all(LogFilter { after_cursor: cursor, ..filter.clone() }).await.0;
        assert_eq!(rest, texts[at + 1..], "after {at}");
    }
}

/// A way to `to` that can be cut; each connection is one of the tasks.
async fn relay(to: std::net::SocketAddr) -> (std::net::SocketAddr, Arc<Mutex<JoinSet<()>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections: Arc<Mutex<JoinSet<()>>> = Arc::default();
    let all = connections.clone();
    tokio::spawn(async move {
        loop {
            let mut near = listener.accept().await.unwrap().0;
            all.lock().unwrap().spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (address, connections)
}

/// `pictl logs -f` takes its stream up again where it was when its link was cut.
#[tokio::test(flavor = "multi_thread")]
async fn pictl_reconnects_at_its_cursor() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let cluster = Cluster::start().await;
    let fleet = node(&cluster, &[]).await;
    let ring = fleet.logs[0].ring();
    let (address, connections) = relay(cluster.address).await;
    let context = std::fs::read_to_string(cluster.admin()).unwrap();
    let context = context.replace(&cluster.address.to_string(), &address.to_string());
    let path = cluster.folder("relayed.toml");
    mtls::write_private(&path, context.as_bytes()).unwrap();
    let context = path.display().to_string();
    let arguments = ["--context", &context, "logs", "sim-1", "-f", "-t", "test", "-n", "100"];
    let mut command = tokio::process::Command::new(tests::binary("pictl"));
    command
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    let mut pictl = command.spawn().unwrap();
    let mut lines = BufReader::new(pictl.stdout.take().unwrap()).lines();
    let mut line = async || {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.expect("a line");
        line.unwrap().unwrap().rsplit(' ').next().unwrap().to_owned()
    };
    (0..5).for_each(|number| ring.push(record(&number.to_string())));
    for number in 0..5 {
        assert_eq!(line().await, number.to_string());
    }
    connections.lock().unwrap().abort_all();
    (5..10).for_each(|number| ring.push(record(&number.to_string())));
    for number in 5..10 {
        assert_eq!(line().await, number.to_string(), "lost or twice");
    }
    let mut notices = BufReader::new(pictl.stderr.take().unwrap()).lines();
    let notice = tokio::time::timeout(Duration::from_secs(10), notices.next_line()).await.expect("a notice");
    assert!(notice.unwrap().unwrap().contains("trying again in"));
}
