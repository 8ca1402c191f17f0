//! From a stream's task to the client: a few batches at most. A client that takes none for too long loses what waits,
//! and learns why when it asks again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tonic::Status;

/// Batches that wait for the client.
const BATCHES: usize = 2;

/// One stream's queue.
#[derive(Debug)]
struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    room: Notify,
    news: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    batches: VecDeque<Vec<T>>,
    /// What comes after the batches.
    end: Option<Result<(), Status>>,
}

/// The task's end. If it goes without a word, so does the stream.
#[derive(Debug)]
pub(crate) struct Inlet<T>(Arc<Queue<T>>);

/// The client's end; dropping it ends the task.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    queue: Arc<Queue<T>>,
    task: Option<AbortHandle>,
}

/// Both ends.
pub(crate) fn outbox<T>() -> (Inlet<T>, Outlet<T>) {
    let waiting = Mutex::new(Waiting { batches: VecDeque::new(), end: None });
    let queue = Arc::new(Queue { waiting, room: Notify::new(), news: Notify::new() });
    (Inlet(queue.clone()), Outlet { queue, task: None })
}

impl<T> Queue<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client took nothing for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stalled;

impl<T> Inlet<T> {
    /// Waits until there is room, but not longer than `stall`.
    pub(crate) async fn push(&self, batch: Vec<T>, stall: Duration) -> Result<(), Stalled> {
        let room = async {
            while self.0.waiting().batches.len() >= BATCHES {
                self.0.room.notified().await; // keeps one permit, so that nothing is missed in between
            }
        };
        timeout(stall, room).await.map_err(|_| Stalled)?;
        self.0.waiting().batches.push_back(batch);
        self.0.news.notify_one();
        Ok(())
    }

    /// Ends the stream after what waits.
    pub(crate) fn finish(self, end: Result<(), Status>) {
        self.0.waiting().end.get_or_insert(end);
    }

    /// Ends the stream at once; what waits is let go.
    pub(crate) fn cut(self, status: Status) {
        let mut waiting = self.0.waiting();
        waiting.batches = VecDeque::new();
        waiting.end.get_or_insert(Err(status));
    }
}

impl<T> Drop for Inlet<T> {
    fn drop(&mut self) {
        self.0.waiting().end.get_or_insert(Ok(()));
        self.0.news.notify_one();
    }
}

impl<T> Outlet<T> {
    /// The task that fills it.
    pub(crate) fn with(mut self, task: AbortHandle) -> Self {
        self.task = Some(task);
        self
    }

    /// The next batch; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<Vec<T>, Status>> {
        loop {
            {
                let mut waiting = self.queue.waiting();
                if let Some(batch) = waiting.batches.pop_front() {
                    self.queue.room.notify_one();
                    return Some(Ok(batch));
                }
                if let Some(end) = &mut waiting.end {
                    return std::mem::replace(end, Ok(())).err().map(Err);
                }
            }
            self.queue.news.notified().await;
        }
    }
}

impl<T> Drop for Outlet<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stopped_frees_what_waits_at_the_deadline_and_learns_why() {
        let (inlet, mut outlet) = outbox();
        let something = Arc::new(());
        let start = tokio::time::Instant::now();
        for _ in 0..BATCHES {
            inlet.push(vec![something.clone()], STALL).await.unwrap();
        }
        assert_eq!(inlet.push(vec![something.clone()], STALL).await, Err(Stalled));
        assert_eq!(start.elapsed(), STALL);
        inlet.cut(Status::resource_exhausted("stalled"));
        assert_eq!(Arc::strong_count(&something), 1);
        assert_eq!(outlet.next().await.unwrap().unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert!(outlet.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_waited_for() {
        let (inlet, mut outlet) = outbox();
        let writer = tokio::spawn(async move {
            for number in 0..100 {
                inlet.push(vec![number], STALL).await.unwrap();
            }
        });
        for number in 0..100 {
            tokio::time::sleep(STALL - Duration::from_secs(1)).await;
            assert_eq!(outlet.next().await.unwrap().unwrap(), [number]);
        }
        assert!(outlet.next().await.is_none());
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_the_task() {
        let (inlet, outlet) = outbox::<()>();
        let task = tokio::spawn(async move {
            let _inlet = inlet;
            std::future::pending::<()>().await;
        });
        drop(outlet.with(task.abort_handle()));
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
