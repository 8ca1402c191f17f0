//! What there is in a virtual machine with gpio-sim (`tests/vm/run`): a simulated chip, its trace, a controller, and the
//! agent as a process. Wants to be root. All of it panics where something fails: there is no test without.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use hal_core::conformance::kernel::{Act, GpioSim, Told, Trace};
use hal_core::linux::LinuxBoard;
use hal_core::{Board, Instant, LineId};
use mtls::{Dialer, Expect};
use pi_agent::{Config, Hardware, serve};
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{GpioRequest, GpioResponse, GpioState};
use proto::control::v1::Inventory;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tonic::Status;
use tonic::transport::Channel;

use crate::{Cluster, eventually};

/// The chip of all Raspberry Pis before the 4.
const LABEL: &str = "pinctrl-bcm2835";
const LINES: u16 = 54;
/// The highest line that the policy allows, as on a Raspberry Pi's header.
const LAST_ALLOWED: u16 = 27;
/// Where the agent serves.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7444);

/// The lines with a declared safe state, and the raw level of it.
pub const SAFE: [(LineId, bool); 3] = [(LineId(17), false), (LineId(18), true), (LineId(22), false)];

/// All of it.
pub struct World {
    /// The chip.
    pub sim: GpioSim,
    /// `None`: not traced any more.
    trace: Option<Trace>,
    /// Only to look, and for its clock.
    pub board: LinuxBoard,
    cluster: Cluster,
    dialer: Dialer,
    program: PathBuf,
}

/// A running agent; killed when the value goes.
pub struct Agent {
    /// Its process.
    pub process: Child,
    /// A connection to it.
    pub client: NodeAgentClient<Channel>,
}

/// An agent in a thread of this process.
pub struct AgentWithin {
    /// A connection to it.
    pub client: NodeAgentClient<Channel>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl AgentWithin {
    /// Ends it as a signal would.
    ///
    /// # Panics
    ///
    /// If it has failed.
    pub async fn stop(self) {
        drop((self.client, self.stop));
        tokio::task::spawn_blocking(move || self.thread.join()).await.unwrap().unwrap();
    }
}

impl World {
    /// Makes chip and controller, and has a node join; `program` is the agent.
    ///
    /// # Panics
    ///
    /// Without gpio-sim, tracefs or the rights.
    pub async fn make(program: PathBuf) -> Self {
        let sim = GpioSim::new(LABEL, LINES).expect("a kernel with gpio-sim, and root");
        let trace = Some(Trace::of_chip(LABEL, LINES).expect("tracefs"));
        let board = LinuxBoard::open_header().unwrap();
        // What a dead agent leaves looks driven the unsafe way: gpio-sim sets a released line to its pull.
        for (line, safe) in SAFE {
            sim.pull(line, !safe).unwrap();
        }
        let cluster = Cluster::start().await;
        let (token, controller) = (cluster.token(1).await, cluster.address.to_string());
        pi_agent::join(&token, &controller, "pi", Inventory::default(), &cluster.folder("node")).await.unwrap();
        let anna = cluster.credentials(&cluster.issuer(), "operator/anna", SystemTime::now());
        let dialer = cluster.dialer(&anna);
        Self { sim, trace, board, cluster, dialer, program }
    }

    /// Writes the configuration for agents to come, with this of the kernel's interfaces: `v1` or `v2`.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn configure(&self, interface: &str) {
        let text = format!(
            "state = '{}'\nlisten = '{ADDRESS}'\n[gpio]\ninterface = '{interface}'\n\
             safe = {{ GPIO17 = 'low', GPIO18 = 'high', GPIO22 = 'low' }}\n\
             [[operators]]\nname = 'anna'\nroles = ['gpio', 'viewer']\n",
            self.cluster.folder("node").display()
        );
        std::fs::write(self.cluster.folder("agent.toml"), text).unwrap();
    }

    /// `pi-agent`, about to be run.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(subcommand).arg("--config").arg(self.cluster.folder("agent.toml"));
        command.env("PI_LOG", "warn").kill_on_drop(true);
        command
    }

    /// Starts an agent and waits until it answers.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub async fn agent(&self) -> Agent {
        let process = self.command("serve").spawn().expect("pi-agent");
        let agent = Agent { process, client: self.client() };
        answers(&agent.client).await;
        agent
    }

    /// Has an agent serve in a thread of this process, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub async fn agent_within(&self) -> AgentWithin {
        let config = self.file("agent.toml");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let config = Config::load(&config).unwrap();
                let hardware = Hardware::of_this_machine(None, config.interface).unwrap();
                let listener = TcpListener::bind(config.listen).await.unwrap();
                serve(config, hardware, listener, async { drop(stopped.await) }).await.unwrap();
            });
        });
        let client = self.client();
        answers(&client).await;
        AgentWithin { client, stop, thread }
    }

    /// A connection of its own.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn client(&self) -> NodeAgentClient<Channel> {
        let channel = self.dialer.channel(&ADDRESS.to_string(), Expect::Node("pi".to_owned()));
        NodeAgentClient::new(channel.unwrap())
    }

    /// Where a file of this test may lie.
    pub fn file(&self, name: &str) -> PathBuf {
        self.cluster.folder(name)
    }

    /// Now, on the kernel's clock.
    pub fn now(&self) -> Instant {
        self.board.now()
    }

    /// What the driver was told since the last look. None of it concerns a reserved line, whatever is tested.
    ///
    /// # Panics
    ///
    /// If it does, or the trace has ended or is not whole.
    pub fn told(&mut self) -> Vec<Told> {
        let told = self.trace.as_mut().expect("a trace").take().unwrap();
        let reserved = told.iter().find(|told| told.line.0 > LAST_ALLOWED);
        assert!(reserved.is_none(), "a reserved line was touched: {reserved:?}");
        told
    }

    /// Ends the trace, which makes every act at a line dearer.
    pub fn untraced(&mut self) {
        self.trace = None;
    }

    /// The level of a wire.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn wire(&self, pin: u16) -> bool {
        self.sim.value(LineId(pin)).unwrap()
    }
}

impl Drop for Agent {
    /// The next one needs its port and its lines: it has ended when this returns.
    fn drop(&mut self) {
        _ = self.process.start_kill(); // fails only if it has ended
        while matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Agent {
    /// Its process; the one thread that uses lines has the same number.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn pid(&self) -> Pid {
        pid(&self.process)
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// One `ControlGPIO`.
    ///
    /// # Errors
    ///
    /// What the agent answers.
    pub async fn call(&self, request: GpioRequest) -> Result<GpioResponse, Status> {
        Ok(self.client.clone().control_gpio(request).await?.into_inner())
    }

    /// Sets a line.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub async fn set(&self, pin: u16, high: bool) {
        self.call(set(pin, high)).await.unwrap();
    }
}

async fn answers(client: &NodeAgentClient<Channel>) {
    eventually(async || client.clone().health_check(()).await.is_ok()).await;
}

/// The number of a running process.
///
/// # Panics
///
/// If it has ended.
pub fn pid(process: &Child) -> Pid {
    Pid::from_raw(i32::try_from(process.id().expect("it runs")).unwrap()).unwrap()
}

/// A bare write.
pub fn set(pin: u16, high: bool) -> GpioRequest {
    let state = if high { GpioState::High } else { GpioState::Low };
    GpioRequest { pin: Some(pin.into()), state: state.into(), ..GpioRequest::default() }
}

/// The levels that were set at one line, in order.
pub fn levels(told: &[Told], line: LineId) -> Vec<bool> {
    let at = told.iter().filter(|told| told.line == line);
    at.filter_map(|told| if let Act::Set(level) = told.act { Some(level) } else { None }).collect()
}

/// Asserts that these acts are those of an agent that makes every line safe and does nothing else: level and direction in
/// one step, line by line.
///
/// # Panics
///
/// If they are not.
pub fn assert_makes_safe(told: &[Told], thread: Pid) {
    let expected: Vec<_> =
        SAFE.iter().flat_map(|(line, level)| [(*line, Act::Set(*level)), (*line, Act::Output)]).collect();
    let seen: Vec<_> = told.iter().map(|told| (told.line, told.act)).collect();
    assert_eq!(seen, expected);
    let other = told.iter().find(|told| i64::from(told.thread) != i64::from(thread.as_raw_nonzero().get()));
    assert!(other.is_none(), "by another: {other:?}");
}
