//! `ExecuteStream`: input and output as they come. A caller that does not read stops the command at its next write, a
//! command that does not read stops the caller.

use std::sync::Arc;
use std::time::Duration;

use agent_lib::KeptOutput;
use proto::agent::v1::execute_stream_request::Input as Told;
use proto::agent::v1::execute_stream_response::Output as Tell;
use proto::agent::v1::{CommandResponse, ExecuteStreamRequest, ExecuteStreamResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::Executor;
use super::audit::Audit;
use super::plan::Way;
use super::run::{CHUNK, Kept, Limits, Outcome, Place, watch_over};
use super::runner::{Input, Order, Output, Process};
use crate::access::Principal;
use crate::wire;

/// Chunks under way in each direction, beside what the connection and the pipes hold.
const CHUNKS: usize = 4;
const AFTERMATH: Duration = Duration::from_secs(1);

/// Answers under way to a caller.
const ANSWERS: usize = 2;

type Answers = mpsc::Sender<Result<ExecuteStreamResponse, Status>>;

impl Executor {
    /// `ExecuteStream`.
    pub(crate) async fn execute_live<S>(
        self: Arc<Self>,
        who: &Principal,
        mut told: S,
    ) -> Result<impl Stream<Item = Result<ExecuteStreamResponse, Status>> + use<S>, Status>
    where
        S: Stream<Item = Result<ExecuteStreamRequest, Status>> + Send + Unpin + 'static,
    {
        let first = told.next().await.transpose()?.and_then(|request| request.input);
        let Some(Told::Start(request)) = first else {
            return Err(wire::invalid("start", "must come first"));
        };
        let ready = self.planner.plan(who, request, Way::Live)?;
        let permit = self.permit()?;
        let (answers, stream) = mpsc::channel(ANSWERS);
        let audit = Audit::begin(&self.audit, who.clone(), &ready).await?;
        tokio::spawn(async move {
            let mut closing = self.closing.subscribe();
            let response = match self.start(ready.plan, ready.terminal) {
                Err(error) => wire::not_started(&error),
                Ok(process) => {
                    let unwanted = async { drop(closing.wait_for(|closing| *closing).await) };
                    let ran = live((process, permit), ready.stdin, told, &answers, ready.limits, unwanted);
                    wire::command_response(ran.await)
                }
            };
            audit.end(&response);
            tell_end(&answers, response).await;
        });
        Ok(ReceiverStream::new(stream))
    }
}

/// Runs it; `first` goes into its input before what the caller sends. `unwanted` ends it beside the caller's own going.
async fn live(
    (process, permit): (Process, OwnedSemaphorePermit),
    first: Vec<u8>,
    told: impl Stream<Item = Result<ExecuteStreamRequest, Status>> + Send,
    answers: &Answers,
    limits: Limits,
    unwanted: impl Future<Output = ()>,
) -> Outcome {
    let Process { stdin, stdout, stderr, orders, ended, gone } = process;
    let place = Place { gone, permit };
    let began = Instant::now();
    let (feed, fed) = mpsc::channel(CHUNKS);
    let (mut out, mut err) = (Forward::default(), Forward::default());
    let outcome = {
        let listening = listen(told, first, feed, &orders);
        let unwanted = async {
            tokio::select! {
                () = unwanted => {}
                () = answers.closed() => {}
                // ends only when the caller breaks off
                () = listening => {}
            }
        };
        let living = async {
            let how = watch_over(&orders, ended, place, limits, unwanted).await;
            (how, began.elapsed())
        };
        let reading = async {
            let both = async {
                tokio::join!(out.all(Some(stdout), answers, Tell::Stdout), err.all(stderr, answers, Tell::Stderr))
            };
            tokio::select! {
                _ = both => {}
                () = answers.closed() => {}
                () = sleep_until(began + limits.timeout + limits.grace + AFTERMATH) => {}
            }
        };
        let both = async { tokio::join!(living, reading) };
        tokio::pin!(both);
        tokio::select! {
            (ended, ()) = &mut both => ended,
            () = write(stdin, fed) => (&mut both).await.0,
        }
    };
    let (how, wall) = outcome;
    Outcome { how, wall, stdout: out.finish(), stderr: err.finish() }
}

/// The last answer.
async fn tell_end(answers: &Answers, ended: CommandResponse) {
    let last = ExecuteStreamResponse { output: Some(Tell::Ended(ended)) };
    let _ = answers.send(Ok(last)).await; // nobody listens any more
}

/// Does what the caller says. Comes back when the caller breaks off or says what makes no sense.
async fn listen(
    told: impl Stream<Item = Result<ExecuteStreamRequest, Status>>,
    first: Vec<u8>,
    feed: mpsc::Sender<Vec<u8>>,
    orders: &mpsc::UnboundedSender<Order>,
) {
    tokio::pin!(told);
    let mut feed = Some(feed);
    if let (false, Some(feed)) = (first.is_empty(), &feed) {
        let _ = feed.send(first).await;
    }
    loop {
        let Some(request) = told.next().await else {
            drop(feed); // the caller has no more to say, and may wait for the rest
            return std::future::pending().await;
        };
        let Ok(ExecuteStreamRequest { input: Some(input) }) = request else { return };
        match input {
            Told::Stdin(bytes) => {
                if let Some(feed) = &feed {
                    let _ = feed.send(bytes).await; // the command may have ended or closed it
                }
            }
            Told::CloseStdin(_) => feed = None,
            Told::Signal(signal @ 1..=64) => {
                let signal = i32::try_from(signal).unwrap_or(0);
                let _ = orders.send(Order::Signal(signal));
            }
            Told::WindowSize(size) => {
                let Ok(size) = wire::window_size(size) else { return };
                let _ = orders.send(Order::Resize(size));
            }
            Told::Signal(_) | Told::Start(_) => return,
        }
    }
}

/// What it does not take is let go.
async fn write(mut stdin: Input, mut fed: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = fed.recv().await {
        if stdin.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = stdin.shutdown().await;
}

#[derive(Default)]
struct Forward {
    total: u64,
    ended: bool,
}

impl Forward {
    async fn all(&mut self, output: Option<Output>, answers: &Answers, tell: impl Fn(Vec<u8>) -> Tell) {
        if let Some(mut output) = output {
            let mut chunk = vec![0; CHUNK];
            while let Ok(length @ 1..) = output.read(&mut chunk).await {
                self.total += u64::try_from(length).unwrap_or(0);
                let answer = ExecuteStreamResponse { output: Some(tell(chunk[..length].to_vec())) };
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        }
        self.ended = true;
    }

    fn finish(self) -> Kept {
        Kept { bytes: KeptOutput { total: self.total, ..KeptOutput::default() }, cut_off: !self.ended }
    }
}
