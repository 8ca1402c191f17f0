//! From a source to its stream: batches, and waiting while the stream does not want more.

use tokio::sync::mpsc;

use super::entry::Event;

/// Entries of a batch.
pub(crate) const BATCH: usize = 64;
/// Bytes of a batch, about.
const BATCH_BYTES: usize = 48 << 10;

/// A source cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// Nobody reads any more.
    #[error("the stream has ended")]
    Gone,
    #[error("{0}")]
    Failed(String),
    #[error("cannot read the log")]
    Io(#[from] std::io::Error),
}

/// The source's end. What is put is sent when a batch is full, or by [`Lane::flush`].
#[derive(Debug)]
pub(crate) struct Lane {
    sender: mpsc::Sender<Vec<Event>>,
    batch: Vec<Event>,
    bytes: usize,
}

impl Lane {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Vec<Event>>) {
        // one batch waits while the next is made
        let (sender, receiver) = mpsc::channel(1);
        (Self { sender, batch: Vec::new(), bytes: 0 }, receiver)
    }

    /// Waits as long as the stream has enough.
    pub(crate) async fn put(&mut self, event: Event) -> Result<(), SourceError> {
        self.bytes += if let Event::Entry(entry) = &event { entry.weight() } else { 0 };
        self.batch.push(event);
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// To be called before a source waits for more.
    pub(crate) async fn flush(&mut self) -> Result<(), SourceError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        self.sender.send(std::mem::take(&mut self.batch)).await.map_err(|_| SourceError::Gone)
    }
}
