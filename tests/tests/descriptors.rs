//! F26: as many connections as there are no descriptors for. The agent is a process of its own with a limit of 256.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use mtls::Cause;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tests::{Bystander, Cluster, Target, figure};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bench-sim-agent");
const CONNECTIONS: u32 = 1000;
const TIME: Duration = Duration::from_secs(12);

/// A thousand connections that come again whenever they are closed.
fn besiege(target: &Target) -> JoinSet<()> {
    let address = target.address;
    let mut siege = JoinSet::new();
    for number in 0..CONNECTIONS {
        let from = IpAddr::V4(Ipv4Addr::from_bits(0x7f00_0a00 + number % 200));
        siege.spawn(async move {
            loop {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind((from, 0).into()).unwrap();
                if let Ok(Ok(connection)) = timeout(Duration::from_secs(5), socket.connect(address)).await {
                    let _ = connection.readable().await; // until the server closes
                }
                sleep(Duration::from_millis(500)).await;
            }
        });
    }
    siege
}

async fn holds_out(cluster: &Cluster, target: Target, cause: Cause) {
    let quiet = Bystander::undisturbed(target.client(cluster)).await;
    let beside = Bystander::start(target.client(cluster));
    let idle = target.cpu();
    sleep(Duration::from_secs(2)).await;
    let idle = (target.cpu() - idle).as_secs_f64() / 2.0;

    let (siege, began) = (besiege(&target), Instant::now());
    sleep(Duration::from_secs(2)).await; // until it is as it stays
    let cpu = target.cpu();
    tests::eventually(async || target.count(cause) > 0).await;
    let from = Instant::now();
    sleep(TIME).await;
    let share = (target.cpu() - cpu).as_secs_f64() / from.elapsed().as_secs_f64() - idle;
    let (descriptors, met) = (target.descriptors(), target.count(cause));
    let seconds = began.elapsed().as_secs_f64();
    drop(siege);
    let released = Instant::now();
    // a connection for which there was no place in the kernel's queue would be tried again after a second
    let connect = async || timeout(Duration::from_millis(100), TcpStream::connect(target.address)).await;
    tests::eventually(async || connect().await.is_ok_and(|connected| connected.is_ok())).await;
    target.client(cluster).health_check(()).await.unwrap();
    let recovered = released.elapsed();
    let loud = beside.end().await;
    let log = target.log();
    let warnings = log.lines().filter(|line| line.contains("WARN") && line.contains("new ones wait")).count();
    figure(format!(
        "{CONNECTIONS} connections, 256 descriptors, {}: {descriptors} in use, met {met} times, {warnings} warnings in {seconds:.0} s; \
         {:.1} % of a core for it; a new client was served {recovered:?} after; calls of others: {quiet} before; {loud} during",
        cause.name(),
        share * 100.0
    ));
    assert!(descriptors <= 256, "{descriptors}");
    assert!(warnings >= 1 && warnings as f64 <= seconds / 10.0 + 1.0, "{warnings} warnings: {log}");
    assert!(share <= tests::size(0.25, 0.05), "{share}");
    // once more than a second, because even a connection that was made may be forgotten by a kernel whose queue is full
    let most = tests::size(Duration::from_millis(2500), Duration::from_secs(1));
    assert!(recovered <= most, "{recovered:?}");
    loud.is_calm_beside(&quiet);
}

/// Told at its start, an agent keeps to its limit, and keeps some for its files.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_few_descriptors_takes_on_few_connections() {
    let cluster = Cluster::start().await;
    let target = Target::start_under(&cluster, &["prlimit", "--nofile=256", PROGRAM], "").await;
    holds_out(&cluster, target, Cause::Full).await;
}

/// And if they are gone all the same, it waits instead of spinning.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_descriptors_waits() {
    let cluster = Cluster::start().await;
    let target = Target::start(&cluster, PROGRAM, "").await;
    let limit = Rlimit { current: Some(256), maximum: Some(256) };
    let pid = Pid::from_raw(target.pid().try_into().unwrap()).unwrap();
    prlimit(Some(pid), Resource::Nofile, limit).unwrap();
    holds_out(&cluster, target, Cause::Descriptors).await;
}
