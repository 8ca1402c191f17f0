//! Edges that the kernel sees reach a client of `WatchGPIO`.

use std::time::Duration;

use hal_core::{Instant, LineId};
use proto::agent::v1::gpio_record::Record;
use proto::agent::v1::line_name::Name;
use proto::agent::v1::{GpioRecord, GpioState, LineName, WatchGpioRequest};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tonic::Streaming;

use tests::kernel::{Agent, World};

const LINE: LineId = LineId(24);
/// Long enough for an edge to reach the kernel's queue.
const PAUSE: Duration = Duration::from_millis(2);
/// Long enough for whatever is to come.
const LIMIT: Duration = Duration::from_secs(20);

/// A watch of the line, low, and past its first snapshot.
async fn watch(world: &World, agent: &Agent) -> Streaming<GpioRecord> {
    world.sim.pull(LINE, false).unwrap();
    let line = LineName { name: Some(Name::Pin(LINE.0.into())) };
    let request = WatchGpioRequest { lines: vec![line], ..WatchGpioRequest::default() };
    let mut records = agent.client.clone().watch_gpio(request).await.unwrap().into_inner();
    let first = next(&mut records).await;
    assert!(matches!(first, Record::Snapshot(snapshot) if snapshot.state() == GpioState::Low), "{first:?}");
    records
}

async fn next(records: &mut Streaming<GpioRecord>) -> Record {
    let record = timeout(LIMIT, records.next()).await.expect("a record");
    record.unwrap().unwrap().record.expect("something in it")
}

/// Every edge, in order, with the kernel's own time of it.
pub(crate) async fn in_order(world: &mut World) {
    const EDGES: usize = 20;
    let agent = world.agent().await;
    let mut records = watch(world, &agent).await;
    let mut times = Vec::new();
    for edge in 0..EDGES {
        times.push(world.now());
        world.sim.pull(LINE, edge % 2 == 0).unwrap();
        sleep(PAUSE).await;
    }
    times.push(world.now());
    for edge in 0..EDGES {
        let Record::Edge(seen) = next(&mut records).await else { panic!("edge {edge} is none") };
        assert_eq!(seen.state(), if edge % 2 == 0 { GpioState::High } else { GpioState::Low }, "edge {edge}");
        let at = Instant::from_nanos(seen.timestamp_ns);
        assert!(
            times[edge] <= at && at <= times[edge + 1],
            "edge {edge} at {at:?}, made in {:?}",
            &times[edge..=edge + 1]
        );
    }
    println!("  {EDGES} edges in order, each with the kernel's time");
}

/// The agent stands still while edges come: what the kernel could not keep is told as a gap, never passed over.
pub(crate) async fn overflow(world: &mut World, interface: &str) {
    let agent = world.agent().await;
    let mut records = watch(world, &agent).await;
    // The first interface keeps 16. The second was asked to keep 64, so it takes more to make it lose some.
    let all = if interface == "v1" { vec![40] } else { vec![40, 100] };
    for made in all {
        agent.signal(Signal::STOP);
        for edge in 0..made {
            world.sim.pull(LINE, edge % 2 == 0).unwrap();
            sleep(PAUSE).await;
        }
        agent.signal(Signal::CONT);
        let Account { edges, gaps, missed } = account(&mut records, made).await;
        println!("  {made} edges while it stood still: {edges} told, {gaps} gaps, missed {missed:?}");
        match (interface, made) {
            ("v1", _) => assert_eq!((edges, gaps, missed), (16, 1, None), "the oldest 16, a gap of unknown size"),
            (_, 40) => assert_eq!((edges, gaps), (made, 0), "the second interface keeps as many"),
            (_, _) => assert_eq!((edges + missed.unwrap(), gaps), (made, 1), "every edge is told or counted"),
        }
        for level in [true, false] {
            world.sim.pull(LINE, level).unwrap();
            let Record::Edge(_) = next(&mut records).await else { panic!("no edge after the overflow") };
        }
    }
}

/// What was told.
#[derive(Default)]
struct Account {
    edges: u64,
    gaps: u64,
    /// `None`: nobody can know.
    missed: Option<u64>,
}

/// Until each edge is accounted for: as told, as missed, or, where nobody can know, by a fresh look at the level.
async fn account(records: &mut Streaming<GpioRecord>, made: u64) -> Account {
    let mut account = Account { missed: Some(0), ..Account::default() };
    while account.missed.is_none_or(|missed| account.edges + missed < made) {
        match next(records).await {
            Record::Edge(_) => account.edges += 1,
            Record::Gap(gap) => {
                account.gaps += 1;
                account.missed = account.missed.zip(gap.missed).map(|(all, more)| all + more);
            }
            Record::Snapshot(snapshot) => {
                assert_eq!(snapshot.state(), GpioState::Low, "the level after the burst");
                break;
            }
        }
    }
    account
}
