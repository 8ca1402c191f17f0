//! The calls: writes to one line, high and low in turn.

use std::time::{Duration, Instant};

use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::stream_gpio_response::Outcome;
use proto::agent::v1::{GpioRequest, GpioState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

type Client = NodeAgentClient<Channel>;

/// As many as a listener lets one connection have open.
pub(crate) const IN_FLIGHT: usize = 64;
/// No wire is connected to it.
const LINE: u32 = 17;

/// Each call waits for the one before; answers how long each took, in microseconds.
pub(crate) async fn one_at_a_time(client: &Client, calls: usize) -> Vec<f64> {
    let mut client = client.clone();
    let mut took = Vec::with_capacity(calls);
    for number in 0..calls {
        let start = Instant::now();
        write(&mut client, number).await;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    took
}

/// Keeps [`IN_FLIGHT`] calls open on one connection; answers how long all of them took.
pub(crate) async fn all_at_once(client: &Client, calls: usize) -> Duration {
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let mut client = client.clone();
        callers.spawn(async move {
            for number in 0..calls / IN_FLIGHT {
                write(&mut client, number).await;
            }
        });
    }
    callers.join_all().await;
    start.elapsed()
}

/// Keeps [`IN_FLIGHT`] messages under way in one stream; answers how long all of them took.
pub(crate) async fn streamed(client: &Client, messages: usize) -> Duration {
    let (send, requests) = mpsc::channel(IN_FLIGHT);
    let answers = client.clone().stream_gpio(ReceiverStream::new(requests)).await;
    let mut answers = answers.expect("a stream").into_inner();
    let start = Instant::now();
    for number in 0..IN_FLIGHT.min(messages) {
        send.send(request(number)).await.expect("the stream is open");
    }
    for number in 0..messages {
        let answer = answers.next().await.expect("as many answers as requests").expect("an answer");
        let Some(Outcome::Response(answer)) = answer.outcome else { panic!("refused: {answer:?}") };
        assert_eq!(answer.state, request(number).state, "the answer is another one's");
        if number + IN_FLIGHT < messages {
            send.send(request(number + IN_FLIGHT)).await.expect("the stream is open");
        }
    }
    start.elapsed()
}

async fn write(client: &mut Client, number: usize) {
    let answer = client.control_gpio(request(number)).await.expect("an answer").into_inner();
    assert_eq!(answer.state, request(number).state, "the answer is another one's");
}

fn request(number: usize) -> GpioRequest {
    let level = [GpioState::Low, GpioState::High][number % 2];
    GpioRequest { pin: Some(LINE), state: level.into(), ..GpioRequest::default() }
}
