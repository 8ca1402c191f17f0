//! P16: the outside changes the level of a line, and somebody waits for it.

use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use gpio_cdev::{Chip, EventRequestFlags, LineEventHandle, LineRequestFlags};
use gpiocdev::Request;
use gpiocdev::line::EdgeDetection;
use hal_core::LineId;
use hal_core::linux::Interface;
use proto::agent::v1::gpio_record::Record;
use proto::agent::v1::line_name::Name;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{GpioRecord, GpioRequest, LineName, WatchGpioRequest};
use tests::kernel::World;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use tokio_stream::StreamExt;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::series::Series;
use crate::{EDGES, LINES, Trio, in_turn};

type Client = NodeAgentClient<Channel>;

/// Between two edges, so that nothing of the last is under way.
const PAUSE: Duration = Duration::from_millis(1);

/// A line whose edges a task waits for.
enum Bare {
    V1(LineEventHandle),
    V2(Request),
}

impl AsRawFd for Bare {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::V1(handle) => handle.as_raw_fd(),
            Self::V2(request) => request.as_raw_fd(),
        }
    }
}

impl Bare {
    fn request(interface: Interface, chip: &Path, LineId(line): LineId) -> AsyncFd<Self> {
        let bare = match interface {
            Interface::V1 => {
                let line = Chip::new(chip).expect("the chip").get_line(line.into()).expect("a line");
                let events = line.events(LineRequestFlags::INPUT, EventRequestFlags::BOTH_EDGES, "floor");
                Self::V1(events.expect("a request"))
            }
            Interface::V2 => {
                let mut builder = Request::builder();
                builder.on_chip(chip).with_line(line.into()).as_input().with_edge_detection(EdgeDetection::BothEdges);
                Self::V2(builder.request().expect("a request"))
            }
        };
        #[allow(deprecated, reason = "its successor is an unsafe function; neither variant changes its descriptor")]
        AsyncFd::with_interest(bare, Interest::READABLE).expect("epoll")
    }

    fn fetch(&mut self) {
        match self {
            Self::V1(handle) => drop(handle.get_event().expect("an edge")),
            Self::V2(request) => drop(request.read_edge_event().expect("an edge")),
        }
    }
}

/// From before the pull is written until the edge is in hand, in microseconds. `client` is connected to the agent.
pub(crate) async fn measure(interface: Interface, world: &World, mut client: Client, rounds: usize) -> Trio {
    let line = LineName { name: Some(Name::Pin(LINES[0].0.into())) };
    let request = WatchGpioRequest { lines: vec![line], ..WatchGpioRequest::default() };
    let mut records = client.watch_gpio(request).await.expect("a watch").into_inner();
    assert!(matches!(next(&mut records).await, Record::Snapshot(_)), "the level comes first");
    let chip = world.sim.device();
    let mut bare = [Bare::request(interface, chip, LINES[1]), Bare::request(interface, chip, LINES[2])];
    let mut trio = Trio::default();
    for round in 0..rounds {
        for who in in_turn(round) {
            let mut samples = Vec::with_capacity(EDGES);
            for number in 0..EDGES {
                sleep(PAUSE).await;
                let start = Instant::now();
                world.sim.pull(LINES[who], number % 2 == 0).expect("a pull");
                match who {
                    0 => assert!(matches!(next(&mut records).await, Record::Edge(_))),
                    other => wait(&mut bare[other - 1]).await,
                }
                samples.push(start.elapsed().as_secs_f64() * 1e6);
            }
            trio[who].round(samples);
        }
    }
    trio
}

/// The same connection's share: a call that reads a line, one message there and one back, in microseconds.
pub(crate) async fn network(mut client: Client, rounds: usize) -> Series {
    let mut calls = Series::default();
    for _ in 0..rounds {
        let mut samples = Vec::with_capacity(EDGES);
        for _ in 0..EDGES {
            sleep(PAUSE).await;
            let request = GpioRequest { pin: Some(LINES[0].0.into()), ..GpioRequest::default() };
            let start = Instant::now();
            client.control_gpio(request).await.expect("an answer");
            samples.push(start.elapsed().as_secs_f64() * 1e6);
        }
        calls.round(samples);
    }
    calls
}

async fn next(records: &mut Streaming<GpioRecord>) -> Record {
    records.next().await.expect("a record").expect("a record").record.expect("something in it")
}

async fn wait(bare: &mut AsyncFd<Bare>) {
    let mut ready = bare.readable_mut().await.expect("epoll");
    ready.get_inner_mut().fetch();
    ready.clear_ready();
}
