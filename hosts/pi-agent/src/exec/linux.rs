//! Commands as Linux processes, each under a supervisor of its own (see `stage`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use super::cgroup::Cgroup;
use super::runner::{Order, Process, Runner, WindowSize};
use super::stage::{self, Ended, Plan};
use super::terminal::Terminal;

/// No report of a supervisor is larger.
const REPORT_BYTES: u32 = 64 * 1024;

/// Runs commands on this machine. One supervisor waits, so that a command need not wait for one.
pub struct LinuxRunner(Arc<Shared>);

struct Shared {
    /// The agent's own binary.
    program: PathBuf,
    waiting: Mutex<Option<Stage>>,
}

/// A supervisor with its launcher, which have no command yet.
struct Stage {
    socket: StdUnixStream,
    process: Child,
}

impl LinuxRunner {
    /// With the running program's own binary, whatever has become of its file since.
    pub fn this_program() -> Self {
        Self::new(Path::new("/proc/self/exe"))
    }

    /// With another program that has `run-command`.
    pub fn new(program: &Path) -> Self {
        Self(Arc::new(Shared { program: program.to_owned(), waiting: Mutex::new(None) }))
    }
}

impl Runner for LinuxRunner {
    fn start(&self, mut plan: Plan, terminal: Option<WindowSize>) -> io::Result<Process> {
        let cgroup = plan.cgroup.take().map(|parent| Cgroup::create(Path::new(&parent), plan.processes)).transpose()?;
        plan.cgroup = cgroup.as_ref().map(|cgroup| cgroup.folder().display().to_string());
        plan.terminal = terminal.is_some();
        let (orders, ordered) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let (left, gone) = oneshot::channel();
        let (process, terminal, theirs) = match terminal {
            Some(size) => {
                let (own, theirs) = Terminal::open(size)?;
                let (stdin, stdout) = (Box::pin(own.clone()), Box::pin(own.clone()));
                (Process { stdin, stdout, stderr: None, orders, ended, gone }, Some(own), vec![theirs])
            }
            None => {
                let (theirs_in, stdin) = io::pipe()?;
                let (stdout, theirs_out) = io::pipe()?;
                let (stderr, theirs_err) = io::pipe()?;
                let stdin = Box::pin(pipe::Sender::from_owned_fd(stdin.into())?);
                let stdout = Box::pin(pipe::Receiver::from_owned_fd(stdout.into())?);
                let stderr = Box::pin(pipe::Receiver::from_owned_fd(stderr.into())?);
                let theirs = vec![theirs_in.into(), theirs_out.into(), theirs_err.into()];
                (Process { stdin, stdout, stderr: Some(stderr), orders, ended, gone }, None, theirs)
            }
        };
        let passed: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
        let mut stage = self.0.take()?;
        if stage::pass_descriptors(&stage.socket, &passed).is_err() {
            // somebody has killed the one that waited
            stage = Stage::start(&self.0.program)?;
            stage::pass_descriptors(&stage.socket, &passed)?;
        }
        let shared = self.0.clone();
        tokio::spawn(async move {
            if let Err(error) = stage.drive(&plan, ordered, terminal, (end, left), shared).await {
                tracing::warn!(%error, "the supervisor of a command cannot be heard");
            }
            drop(cgroup);
        });
        Ok(process)
    }

    fn prepare(&self) {
        self.0.clone().refill();
    }
}

impl Shared {
    fn take(&self) -> io::Result<Stage> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        waiting.map_or_else(|| Stage::start(&self.program), Ok)
    }

    /// The next one, on a thread that may wait for the kernel.
    fn refill(self: Arc<Self>) {
        tokio::task::spawn_blocking(move || {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.is_none() {
                *waiting = Stage::start(&self.program).ok(); // told when a command needs one
            }
        });
    }
}

impl Stage {
    fn start(program: &Path) -> io::Result<Self> {
        let (socket, theirs) = StdUnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let mut command = Command::new(program);
        // it needs nothing of the agent's environment; its messages go where the agent's go
        command.arg(stage::SUPERVISE).env_clear().stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        Ok(Self { socket, process: command.spawn()? })
    }

    /// Until nothing of the command is left.
    async fn drive(
        self,
        plan: &Plan,
        mut orders: mpsc::UnboundedReceiver<Order>,
        terminal: Option<Terminal>,
        (end, left): (oneshot::Sender<Ended>, oneshot::Sender<()>),
        shared: Arc<Shared>,
    ) -> io::Result<()> {
        let Self { socket, mut process } = self;
        let (mut reader, mut writer) = UnixStream::from_std(socket)?.into_split();
        writer.write_all(&stage::frame(plan)).await?;
        shared.refill();
        let mut reports = pin!(async move {
            let ended = report(&mut reader).await;
            let mut left = Some(left);
            if let Ok(ended) = ended {
                // the agent goes on with the answer while the supervisor ends
                left = left.filter(|_| ended.left);
                let _ = end.send(ended);
            }
            let end = reader.read(&mut [0]).await;
            drop(left);
            end
        });
        let mut writer = Some(writer);
        loop {
            tokio::select! {
                _ = &mut reports => break,
                order = orders.recv(), if writer.is_some() => match (order, &mut writer) {
                    (Some(Order::Resize(size)), _) => {
                        terminal.as_ref().map(|terminal| terminal.resize(size)).transpose()?;
                    }
                    (Some(order), Some(writer)) => {
                        // a supervisor that ended does not listen, and its end is read next
                        let _ = writer.write_all(&stage::frame(&wire(order))).await;
                    }
                    // closed: it kills everything
                    _ => writer = None,
                },
            }
        }
        process.wait().await.map(drop)
    }
}

async fn report(reader: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Ended> {
    let length = reader.read_u32_le().await?;
    if length > REPORT_BYTES {
        return Err(io::Error::other("a report that is too long"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    reader.read_exact(&mut bytes).await?;
    prost::Message::decode(bytes.as_slice()).map_err(io::Error::other)
}

fn wire(order: Order) -> stage::Order {
    match order {
        Order::Signal(signal) => stage::Order { signal: Some(signal), stop_ms: None },
        Order::Stop(grace) => {
            stage::Order { signal: None, stop_ms: Some(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)) }
        }
        Order::Resize(_) => stage::Order::default(), // a matter between the agent and the terminal
    }
}
