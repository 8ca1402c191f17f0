//! L10: how long a write takes from its caller to the chip, on an idle machine and on a busy one. Alone in its file, so that no
//! other test takes its processor.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hal_core::LineId;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{GpioRequest, GpioState};
use sim::Bench;
use tests::{Cluster, Sorted, direct, figure, is_full, size, trusting};
use tokio::runtime::Builder;
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::Channel;

/// Idle and loaded, in turn.
const ROUNDS: usize = 4;
/// Between two writes.
const PACE: Duration = Duration::from_millis(4);
/// What a write may take on an idle machine, and how many times that on a busy one.
const IDLE: Duration = Duration::from_millis(5);
const LOADED: u32 = 3;
const LINE: u16 = 17;

/// At full size the times are judged; in CI only that every write arrived.
#[test]
fn a_write_arrives_soon_on_a_busy_machine_too() {
    let writes = size(100, 1000);
    // the agent has one thread, as it ships, and the caller another
    let mut served = Builder::new_multi_thread();
    let served = served.worker_threads(1).enable_all().on_thread_start(as_the_unit_does).build().unwrap();
    let (cluster, fleet) = served.block_on(async {
        let cluster = Cluster::start().await;
        let fleet = cluster.nodes_with(1, &trusting(&["anna"])).await;
        (cluster, fleet)
    });
    let bench = fleet.nodes[0].2.clone();
    let (mut idle, mut loaded) = (Vec::new(), Vec::new());
    let mut busy = [0.0; 2];
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut anna = direct(&cluster, &fleet, 0, "anna");
        write_paced(&mut anna, &bench, 50).await; // connects
        for _ in 0..ROUNDS {
            let before = Processors::now();
            idle.extend(write_paced(&mut anna, &bench, writes).await);
            busy[0] += before.busy_since() / ROUNDS as f64;
            let load = Load::half();
            let before = Processors::now();
            loaded.extend(write_paced(&mut anna, &bench, writes).await);
            busy[1] += before.busy_since() / ROUNDS as f64;
            drop(load);
        }
    });
    let (idle, loaded) = (Sorted::new(idle), Sorted::new(loaded));
    let each = writes * ROUNDS;
    figure(format!("{each} writes, processors {:.0} % busy by all programs: {idle}", busy[0] * 100.0));
    figure(format!("{each} writes, processors {:.0} % busy, half of each by our load: {loaded}", busy[1] * 100.0));
    let (quiet, noisy) = (idle.quantile(0.99), loaded.quantile(0.99));
    figure(format!("p99 loaded : idle {:.2}", noisy.as_secs_f64() / quiet.as_secs_f64()));
    if is_full() {
        assert!(quiet <= IDLE, "idle: {idle}");
        assert!(noisy <= quiet * LOADED, "loaded: {loaded}");
    }
}

/// The niceness of `pi-agent.service`, for this thread. Only root may.
fn as_the_unit_does() {
    let raised = rustix::process::setpriority_process(None, -10);
    assert!(raised.is_ok() || !rustix::process::getuid().is_root(), "{raised:?}");
}

/// Inverts the line so many times at [`PACE`]; answers how long after each call the wire changed.
async fn write_paced(client: &mut NodeAgentClient<Channel>, bench: &Bench, writes: usize) -> Vec<Duration> {
    let begun = bench.clock().now();
    let mut called = Vec::new();
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..writes {
        ticks.tick().await;
        let state = if number % 2 == 0 { GpioState::High } else { GpioState::Low };
        let request = GpioRequest { pin: Some(LINE.into()), state: state.into(), ..GpioRequest::default() };
        called.push(bench.clock().now());
        let answer = client.control_gpio(request).await.unwrap().into_inner();
        assert_eq!(answer.state(), state);
    }
    let changed = bench.history(LineId(LINE)).into_iter().map(|(at, _)| at).filter(|at| *at >= begun);
    let changed: Vec<_> = changed.collect();
    assert_eq!(changed.len(), writes, "changes of the wire");
    changed.iter().zip(called).map(|(changed, called)| changed.saturating_since(called)).collect()
}

/// One thread a processor that computes half of the time, until the value goes.
struct Load(Arc<AtomicBool>);

impl Load {
    fn half() -> Self {
        const SLICE: Duration = Duration::from_millis(5);
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..thread::available_parallelism().unwrap().get() {
            let over = over.clone();
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    while start.elapsed() < SLICE {
                        std::hint::spin_loop();
                    }
                    thread::sleep(SLICE);
                }
            });
        }
        Self(over)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ticks of all processors since the machine's start: all, and idle ones (the first line of /proc/stat).
struct Processors {
    all: u64,
    idle: u64,
}

impl Processors {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let ticks: Vec<u64> =
            stat.lines().next().unwrap().split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are within user
        Self { all: ticks[..8].iter().sum(), idle: ticks[3] + ticks[4] }
    }

    /// The share of their time since then in which they were not idle.
    fn busy_since(&self) -> f64 {
        let Self { all, idle } = Self::now();
        1.0 - (idle - self.idle) as f64 / (all - self.all).max(1) as f64
    }
}
