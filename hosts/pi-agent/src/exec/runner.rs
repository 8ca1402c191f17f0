//! What starts commands: Linux, or a simulation.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::stage::{Ended, Plan};

/// Starts commands.
pub trait Runner: Send + Sync + 'static {
    /// Starts one, on a terminal if it has a size. That the program does not exist is told by [`Process::ended`].
    ///
    /// # Errors
    ///
    /// If the system has no room for another one.
    fn start(&self, plan: Plan, terminal: Option<WindowSize>) -> io::Result<Process>;

    /// Commands may come from now on.
    fn prepare(&self) {}
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// Bytes out of a command.
pub type Output = Pin<Box<dyn AsyncRead + Send>>;
/// Bytes into a command; dropped, they end.
pub type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// A command under way. Dropped, it is killed with all that descends from it.
pub struct Process {
    /// Its standard input or its terminal.
    pub stdin: Input,
    /// Its standard output or its terminal.
    pub stdout: Output,
    /// Its standard error; `None` on a terminal.
    pub stderr: Option<Output>,
    /// What is to be done with it.
    pub orders: mpsc::UnboundedSender<Order>,
    /// How it ended. The sender gone without a word: nobody knows.
    pub ended: oneshot::Receiver<Ended>,
    /// The sender goes when nothing of it is left.
    pub gone: oneshot::Receiver<()>,
}

/// What can be done with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To its process group, by number.
    Signal(i32),
    /// End all of it: SIGTERM, and after so long SIGKILL.
    Stop(Duration),
    /// Its terminal has another size.
    Resize(WindowSize),
}
