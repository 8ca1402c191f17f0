//! One command from its start to its end.

use std::time::Duration;

use agent_lib::{KeptOutput, OutputKeeper};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::runner::{Input, Order, Output, Process};
use super::stage::Ended;

/// Read at once.
pub(super) const CHUNK: usize = 16 * 1024;
/// How long it can take from SIGKILL until nothing is left, and from there until the outputs have ended.
const AFTERMATH: Duration = Duration::from_secs(1);

/// What a command may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Until SIGTERM.
    pub(crate) timeout: Duration,
    /// From there to SIGKILL.
    pub(crate) grace: Duration,
    /// Kept bytes of each output.
    pub(crate) keep: usize,
}

/// How a command ended.
pub(crate) enum How {
    /// By itself, or it was not started.
    Ended(Ended),
    /// Its time was over.
    TimedOut(Ended),
    /// Nobody wanted it any more.
    Cancelled(Ended),
    /// Its supervisor is gone without a word.
    Lost,
}

/// How a command ended, and what it left.
pub(crate) struct Outcome {
    pub(crate) how: How,
    pub(crate) wall: Duration,
    pub(crate) stdout: Kept,
    pub(crate) stderr: Kept,
}

/// What came out of a command.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) bytes: KeptOutput,
    /// The stream was still open when the command was over.
    pub(crate) cut_off: bool,
}

/// One of the commands that may run at once, until nothing of it is left.
pub(super) struct Place {
    pub(super) gone: oneshot::Receiver<()>,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Place {
    /// Free for another at once if nothing is left: then before the answer goes out. Else when that is so.
    fn leave(self) {
        let Self { mut gone, permit } = self;
        if gone.try_recv() == Err(TryRecvError::Empty) {
            tokio::spawn(async move {
                let _ = gone.await; // says so by going
                drop(permit);
            });
        }
    }
}

/// Until the command has ended: by itself, or after its time, or when it is `unwanted`.
pub(super) async fn watch_over(
    orders: &mpsc::UnboundedSender<Order>,
    mut ended: oneshot::Receiver<Ended>,
    mut place: Place,
    limits: Limits,
    unwanted: impl Future<Output = ()>,
) -> How {
    let timed_out = tokio::select! {
        biased;
        ended = &mut ended => {
            place.leave();
            return ended.map_or(How::Lost, How::Ended);
        }
        () = unwanted => false,
        () = sleep(limits.timeout) => true,
    };
    let _ = orders.send(Order::Stop(limits.grace)); // who does not listen has ended
    // the answer comes when all its processes are gone, not only the first
    let all = async {
        let ended = ended.await.unwrap_or_default();
        let _ = (&mut place.gone).await; // says so by going
        ended
    };
    let ended = timeout(limits.grace + AFTERMATH, all).await;
    place.leave();
    let ended = ended.unwrap_or_else(|_| {
        tracing::error!("a command survives SIGKILL: it hangs in the kernel");
        Ended::default()
    });
    if timed_out { How::TimedOut(ended) } else { How::Cancelled(ended) }
}

/// Runs it with these bytes as its input, and keeps of its outputs what fits.
pub(super) async fn collect(
    process: Process,
    permit: OwnedSemaphorePermit,
    input: Vec<u8>,
    limits: Limits,
    unwanted: impl Future<Output = ()>,
) -> Outcome {
    let Process { stdin, stdout, stderr, orders, ended, gone } = process;
    let place = Place { gone, permit };
    let began = Instant::now();
    let (over, ending) = watch::channel(false);
    let is_over = async |mut ending: watch::Receiver<bool>| drop(ending.wait_for(|over| *over).await);
    let living = async {
        let how = watch_over(&orders, ended, place, limits, unwanted).await;
        let wall = began.elapsed();
        over.send_replace(true);
        (how, wall)
    };
    let (mut out, mut err) = (Keeping::new(limits.keep), Keeping::new(limits.keep));
    let reading = async {
        let both = async { tokio::join!(out.read(Some(stdout)), err.read(stderr)) };
        let late = async {
            is_over(ending.clone()).await;
            sleep(limits.grace + AFTERMATH).await;
        };
        tokio::select! {
            _ = both => {}
            () = late => {}
        }
    };
    let feeding = async {
        tokio::select! {
            () = feed(stdin, input) => {}
            () = is_over(ending.clone()) => {}
        }
    };
    let ((how, wall), (), ()) = tokio::join!(living, reading, feeding);
    Outcome { how, wall, stdout: out.finish(), stderr: err.finish() }
}

/// A program that does not read all of its input is no error.
async fn feed(mut stdin: Input, input: Vec<u8>) {
    let _ = stdin.write_all(&input).await;
    let _ = stdin.shutdown().await;
}

struct Keeping {
    keeper: OutputKeeper,
    ended: bool,
}

impl Keeping {
    fn new(limit: usize) -> Self {
        Self { keeper: OutputKeeper::new(limit), ended: false }
    }

    async fn read(&mut self, output: Option<Output>) {
        if let Some(mut output) = output {
            let mut chunk = vec![0; CHUNK];
            while let Ok(length @ 1..) = output.read(&mut chunk).await {
                self.keeper.push(&chunk[..length]);
            }
        }
        self.ended = true;
    }

    fn finish(self) -> Kept {
        Kept { bytes: self.keeper.finish(), cut_off: !self.ended }
    }
}
