//! One sample of all that a node measures, once a second: the agent's to a client over mutual TLS, and a scrape of
//! prometheus-node-exporter over plain HTTP.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use agent_lib::Meter;
use hal_core::linux::ProcfsMetrics;
use hal_core::{Groups, Instant as Moment};
use prost::Message;
use proto::agent::v1::{MetricGroup, StreamMetricsRequest};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lab::Lab;
use crate::process::Process;
use crate::report::{Goal, Row};
use crate::row;
use crate::series::Series;

/// What the agent measures, as the exporter calls it.
const SAME: [&str; 11] = [
    "cpu",
    "cpufreq",
    "diskstats",
    "filesystem",
    "hwmon",
    "loadavg",
    "meminfo",
    "netdev",
    "pressure",
    "stat",
    "thermal_zone",
];
/// Until everybody is warm.
const WARM: usize = 5;
const GROUPS: [MetricGroup; 10] = [
    MetricGroup::Cpu,
    MetricGroup::Load,
    MetricGroup::Pressure,
    MetricGroup::Memory,
    MetricGroup::Disk,
    MetricGroup::Network,
    MetricGroup::Thermal,
    MetricGroup::Power,
    MetricGroup::Clock,
    MetricGroup::Process,
];

/// A running exporter and a connection to it that is kept.
struct Exporter {
    process: Process,
    connection: TcpStream,
    /// Length of the last answer's body.
    bytes: usize,
}

impl Exporter {
    async fn start(collectors: &[&str]) -> Self {
        // it opens its port itself, so one is chosen that is free
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a port");
        let mut command = Command::new("prometheus-node-exporter");
        command.arg(format!("--web.listen-address={address}"));
        if !collectors.is_empty() {
            command.arg("--collector.disable-defaults");
            command.args(collectors.iter().map(|name| format!("--collector.{name}")));
        }
        let process = Process::start(&mut command);
        Self { process, connection: connected(address).await, bytes: 0 }
    }

    async fn scrape(&mut self) {
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        self.connection.write_all(request.as_bytes()).await.expect("the exporter");
        let mut answer = Vec::new();
        // in chunks, the last of which is empty
        while !answer.ends_with(b"\r\n0\r\n\r\n") && !is_whole(&answer) {
            let read = self.connection.read_buf(&mut answer).await.expect("the exporter");
            assert!(read > 0, "the exporter has hung up");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        self.bytes = answer.len() - head(&answer).unwrap_or_default();
    }
}

/// Where the body begins.
fn head(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4)
}

/// By its length, if that was told.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = head(answer) else { return false };
    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= head + length)
}

async fn connected(address: SocketAddr) -> TcpStream {
    let start = Instant::now();
    loop {
        match TcpStream::connect(address).await {
            Ok(connection) => return connection,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "no exporter: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn measure(lab: &Lab, agent: &Path, samples: usize) -> Vec<Row> {
    let mut peers = [Exporter::start(&[]).await, Exporter::start(&SAME).await];
    let (agent, mut client) = Process::agent(agent, lab);
    let request = StreamMetricsRequest { interval: None, groups: GROUPS.map(i32::from).to_vec() };
    let mut stream = client.stream_metrics(request).await.expect("a stream").into_inner();
    let mut cpu: [Series; 3] = Default::default();
    let mut bytes: [Series; 3] = Default::default();
    let mut sampled = Series::default();
    let mut meter = Meter::new(ProcfsMetrics::new());
    let mut before = [Duration::ZERO; 3];
    for number in 0..WARM + samples {
        let sample = stream.message().await.expect("a stream").expect("a sample");
        let [all, same] = &mut peers;
        all.scrape().await;
        same.scrape().await;
        let now = [agent.exact_cpu(), peers[0].process.exact_cpu(), peers[1].process.exact_cpu()];
        let sizes = [sample.encoded_len(), peers[0].bytes, peers[1].bytes];
        let start = cpu_of_this_thread();
        meter.sample(Moment::from_nanos(number as u64 * 1_000_000_000), Groups::ALL);
        let alone = cpu_of_this_thread() - start;
        if number >= WARM {
            sampled.round(vec![alone.as_secs_f64() * 1e6]);
            for who in 0..3 {
                cpu[who].round(vec![(now[who] - before[who]).as_secs_f64() * 1e6]);
                bytes[who].round(vec![sizes[who] as f64]);
            }
        }
        before = now;
    }
    let [[ours, all, same], [ours_bytes, all_bytes, same_bytes]] = [cpu, bytes];
    vec![
        row("P7: CPU a second with one sample, all collectors", "µs", &ours, &all, Goal::Ratio(0.01)),
        row("P7: the same collectors", "µs", &ours, &same, Goal::Ratio(0.04)),
        row("the sampler alone, all collectors", "µs", &sampled, &all, Goal::Ratio(0.01)),
        row("the sampler alone, the same collectors", "µs", &sampled, &same, Goal::Ratio(0.04)),
        row("P7: bytes of the answer, all collectors", "B", &ours_bytes, &all_bytes, Goal::Ratio(0.01)),
        row("bytes of the answer, the same collectors", "B", &ours_bytes, &same_bytes, Goal::None),
    ]
}

fn cpu_of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
