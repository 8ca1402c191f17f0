//! L4: an agent that nobody calls, as a process of its own, connected to a controller and sampling this machine.
//!
//! 30 s; with `PI_FULL=1` an hour.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tests::{Cluster, eventually};
use tokio::process::Command;
use tokio::time::sleep;

/// The limits of the specification. A debug build computes several times as long, and maps twice the code.
const RSS_BYTES: u64 = if cfg!(debug_assertions) { 24 << 20 } else { 12 << 20 };
const GROWTH_BYTES: u64 = 256 << 10;
const CPU_PERCENT: f64 = if cfg!(debug_assertions) { 2.0 } else { 0.5 };

/// Until all buffers have been used once: two rounds of the rare groups.
const WARM_UP: Duration = Duration::from_secs(21);

/// What a process has used.
#[derive(Debug, Clone, Copy)]
struct Used {
    rss_bytes: u64,
    cpu: Duration,
    written_bytes: u64,
}

fn used(pid: u32) -> Used {
    let read = |file: &str| std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(file)).unwrap();
    let number = |text: &str, key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|field: &usize| fields[*field].parse::<u64>().unwrap()).sum();
    Used {
        rss_bytes: number(&read("status"), "VmRSS:") * 1024,
        cpu: Duration::from_millis(ticks * 10), // 100 a second on every Linux that this runs on
        written_bytes: number(&read("io"), "write_bytes:"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_costs_next_to_nothing() {
    let full = tests::is_full();
    let time = Duration::from_secs(if full { 3600 } else { 30 });
    let cluster = Cluster::start().await;
    cluster.nodes(1).await.stop().await; // joins, and leaves its state
    let state = cluster.folder("nodes").join("sim-1");
    std::fs::write(state.join("agent.toml"), "").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let agent = Command::new(env!("CARGO_BIN_EXE_bench-sim-agent"))
        .arg(&state)
        .env("PI_LOG", "warn")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = agent.id().unwrap();
    eventually(async || cluster.pictl(&["metrics", "sim-1"]).await.out.contains("cores")).await;
    sleep(WARM_UP).await;
    let before = used(pid);
    sleep(time).await;
    let after = used(pid);
    let percent = 100.0 * (after.cpu - before.cpu).as_secs_f64() / time.as_secs_f64();
    eprintln!("{time:?}: {percent:.2} % of a core, {before:?}, {after:?}");
    assert!(after.rss_bytes <= RSS_BYTES, "{after:?}");
    assert!(after.rss_bytes.saturating_sub(before.rss_bytes) <= GROWTH_BYTES, "{before:?} {after:?}");
    assert!(percent <= CPU_PERCENT, "{percent} % of a core");
    assert_eq!(after.written_bytes, before.written_bytes, "nothing is written");
}
