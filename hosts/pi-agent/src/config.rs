//! The agent's configuration file, `agent.toml`.

mod bus;
mod operator;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_lib::{BusPolicy, LineName, Policy, PolicyError, Restore, SafeState};
use hal_core::LineId;
use hal_core::linux::Interface;
use mtls::Limits;
use serde::Deserialize;
use startup::ConfigError;
use toml::Spanned;

use crate::access::Right;
use crate::exec::{self, ExecConfig};
use crate::logs::{self, LogConfig};
use crate::scope::Scope;

/// Where a node serves unless its configuration says otherwise.
const PORT: u16 = 7444;

/// A caller's line operations a second unless the configuration says otherwise: beyond what people and programs need, and
/// a fraction of what the node can do.
const OPERATIONS_PER_SECOND: u32 = 20_000;

/// What an agent is told. Every field has a default, so that an empty file is a good one.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the certificate and its key, mode 0700.
    pub state: PathBuf,
    /// Where to serve.
    pub listen: SocketAddr,
    /// `host:port` pairs that the controller is told; empty: found out from the listener.
    pub advertise: Vec<String>,
    /// `host:port` of the control plane; `None`: the one that was joined, or none at all.
    pub controller: Option<String>,
    /// For selecting nodes.
    pub labels: BTreeMap<String, String>,
    /// Device file of the GPIO chip; `None`: the one that carries a Raspberry Pi's header.
    pub chip: Option<PathBuf>,
    /// Which of the kernel's GPIO interfaces to use; `None`: the better of those it has.
    pub interface: Option<Interface>,
    /// Which lines may be used, under which names, and where they go when they are let go.
    pub policy: Policy,
    /// Line operations a second for each caller; 0 is no limit. A write of several lines counts as many, and a second's
    /// worth may come at once. `release` and the emergency stop are never limited.
    pub operations_per_second: u32,
    /// Which buses and devices may be used.
    pub buses: BusPolicy,
    /// Operators whose commands are taken without a controller in between.
    pub operators: Vec<Operator>,
    /// Where the metrics are to be had as text for Prometheus; `None`, or without the feature `prometheus`: nowhere.
    pub prometheus: Option<Prometheus>,
    /// Whether callers may ask which methods there are (gRPC server reflection); never without the feature `reflection`.
    pub reflection: bool,
    /// How many connections are taken on, and how many of one address: `[limits]`.
    pub limits: Limits,
    /// Where the agent looks for the system's journal and time service: `/`, but in tests. Not in the file.
    pub root: PathBuf,
    /// Which logs are served.
    pub logs: LogConfig,
    /// What may be run; nothing unless the file says so.
    pub exec: ExecConfig,
}

/// Where Prometheus finds the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Mutual TLS, with the same certificate and for the same callers as the node's other metrics; plain HTTP is for
    /// loopback alone.
    pub tls: bool,
}

/// An operator that this node trusts by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "operator::Table")]
pub struct Operator {
    /// As in the operator's certificate.
    pub name: String,
    /// What the operator may do here.
    pub roles: Vec<Right>,
    /// How far that reaches.
    pub scope: Scope,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state: PathBuf::from("/var/lib/pi-agent"),
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)),
            advertise: Vec::new(),
            controller: None,
            labels: BTreeMap::new(),
            chip: None,
            interface: None,
            policy: Policy::default(),
            operations_per_second: OPERATIONS_PER_SECOND,
            buses: BusPolicy::default(),
            operators: Vec::new(),
            prometheus: None,
            reflection: false,
            limits: Limits::default(),
            root: PathBuf::from("/"),
            logs: LogConfig::default(),
            exec: ExecConfig::default(),
        }
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    state: PathBuf,
    listen: SocketAddr,
    advertise: Vec<String>,
    controller: Option<String>,
    labels: BTreeMap<String, String>,
    gpio: Gpio,
    bus: bus::Bus,
    operators: Vec<Operator>,
    metrics: Metrics,
    reflection: Option<Spanned<bool>>,
    limits: Limits,
    logs: logs::Table,
    exec: exec::File,
}

impl Default for File {
    fn default() -> Self {
        let Config { state, listen, advertise, controller, labels, operators, .. } = Config::default();
        let (gpio, bus, metrics) = (Gpio::default(), bus::Bus::default(), Metrics::default());
        let (reflection, limits) = (None, Limits::default());
        let (logs, exec) = (logs::Table::default(), exec::File::default());
        Self {
            state,
            listen,
            advertise,
            controller,
            labels,
            gpio,
            bus,
            operators,
            metrics,
            reflection,
            limits,
            logs,
            exec,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Metrics {
    /// Where Prometheus may fetch them; absent: nowhere.
    prometheus: Option<Spanned<SocketAddr>>,
    /// Whether it does so by mutual TLS; plain HTTP only on loopback.
    tls: bool,
}

impl Metrics {
    fn prometheus(self, path: &Path, text: &str) -> Result<Option<Prometheus>, ConfigError> {
        let Self { prometheus: Some(listen), tls } = self else { return Ok(None) };
        if !cfg!(feature = "prometheus") {
            return Err(startup::at(path, text, listen.span(), "this pi-agent was built without `prometheus`"));
        }
        if !tls && !listen.get_ref().ip().is_loopback() {
            let expected =
                format!("plain HTTP on {} would show the metrics to the network: say tls = true", listen.get_ref());
            return Err(startup::at(path, text, listen.span(), expected));
        }
        Ok(Some(Prometheus { listen: *listen.get_ref(), tls }))
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Gpio {
    /// Device file; absent: found by the header's label.
    chip: Option<PathBuf>,
    /// Absent: the second where the kernel has it.
    interface: Option<KernelInterface>,
    /// BCM numbers; absent: GPIO0 to 27.
    allow: Option<BTreeSet<u16>>,
    /// Alias to BCM number.
    aliases: BTreeMap<String, Spanned<u16>>,
    /// Line (alias, "GPIO17" or "17") to the state that it is left in.
    safe: BTreeMap<String, Spanned<Safe>>,
    /// Line to what is done with it when the agent starts.
    restore: BTreeMap<String, Spanned<AtStart>>,
    /// For how long a bare write borrows a line with a declared safe state; absent: 60 s.
    default_lease_s: Option<Spanned<u32>>,
    /// For each caller; 0: no limit; absent: 20,000.
    operations_per_second: Option<u32>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum KernelInterface {
    V1,
    V2,
}

impl From<KernelInterface> for Interface {
    fn from(interface: KernelInterface) -> Self {
        match interface {
            KernelInterface::V1 => Self::V1,
            KernelInterface::V2 => Self::V2,
        }
    }
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Safe {
    Hold,
    Input,
    Low,
    High,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum AtStart {
    Off,
    On,
    Last,
    AsIs,
}

impl From<AtStart> for Restore {
    fn from(at_start: AtStart) -> Self {
        match at_start {
            AtStart::Off => Self::Off,
            AtStart::On => Self::On,
            AtStart::Last => Self::Last,
            AtStart::AsIs => Self::AsIs,
        }
    }
}

impl From<Safe> for SafeState {
    fn from(safe: Safe) -> Self {
        match safe {
            Safe::Hold => Self::Hold,
            Safe::Input => Self::Input,
            Safe::Low => Self::Low,
            Safe::High => Self::High,
        }
    }
}

impl Config {
    /// Reads `agent.toml`.
    ///
    /// # Errors
    ///
    /// One line with file, line and what was expected.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let File {
            state,
            listen,
            advertise,
            controller,
            labels,
            gpio,
            bus,
            operators,
            metrics,
            reflection,
            limits,
            logs,
            exec,
        } = startup::parse(path, &text)?;
        operator::check_once(&operators).map_err(|expected| startup::at(path, &text, 0..0, expected))?;
        let prometheus = metrics.prometheus(path, &text)?;
        let reflection = match reflection {
            Some(wanted) if *wanted.get_ref() && !cfg!(feature = "reflection") => {
                return Err(startup::at(path, &text, wanted.span(), "this pi-agent was built without `reflection`"));
            }
            wanted => wanted.is_some_and(Spanned::into_inner),
        };
        let (chip, interface) = (gpio.chip.clone(), gpio.interface.map(Interface::from));
        let operations_per_second = gpio.operations_per_second.unwrap_or(OPERATIONS_PER_SECOND);
        let policy = gpio.policy(path, &text)?;
        let buses = bus.policy(path, &text)?;
        let logs = logs.check().map_err(|(span, expected)| startup::at(path, &text, span, expected))?;
        let exec = exec.exec(path, &text)?;
        Ok(Self {
            state,
            listen,
            advertise,
            controller,
            labels,
            chip,
            interface,
            policy,
            operations_per_second,
            buses,
            operators,
            prometheus,
            reflection,
            limits,
            root: PathBuf::from("/"),
            logs,
            exec,
        })
    }
}

impl Gpio {
    fn policy(self, path: &Path, text: &str) -> Result<Policy, ConfigError> {
        let Self { allow, aliases, safe, restore, default_lease_s, .. } = self;
        let wrong = |span, expected: &dyn std::fmt::Display| startup::at(path, text, span, expected);
        let lines: BTreeMap<String, LineId> =
            aliases.iter().map(|(alias, line)| (alias.clone(), LineId(*line.get_ref()))).collect();
        let line = |name: &str, span: Range<usize>| {
            let line = lines.get(name).copied().or_else(|| LineName::Text(name).well_known());
            line.ok_or_else(|| wrong(span, &format!("`{name}` is neither an alias nor a line")))
        };
        let allow: BTreeSet<LineId> = match allow {
            Some(allow) => allow.into_iter().map(LineId).collect(),
            None => Policy::default().allowed().collect(),
        };
        let mut policy = Policy::new(allow.clone(), BTreeMap::new(), BTreeMap::new()).map_err(|e| wrong(0..0, &e))?;
        let (mut names, mut states, mut starts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        // One at a time, so that a refusal can be told with its line of the file.
        for (alias, number) in &aliases {
            names.insert(alias.clone(), LineId(*number.get_ref()));
            policy = Policy::new(allow.clone(), names.clone(), states.clone()).map_err(|e| wrong(number.span(), &e))?;
        }
        for (name, state) in &safe {
            states.insert(line(name, state.span())?, SafeState::from(*state.get_ref()));
            policy = Policy::new(allow.clone(), names.clone(), states.clone()).map_err(|e| wrong(state.span(), &e))?;
        }
        for (name, at_start) in &restore {
            starts.insert(line(name, at_start.span())?, Restore::from(*at_start.get_ref()));
            policy = policy.with_restore(starts.clone()).map_err(|e: PolicyError| wrong(at_start.span(), &e))?;
        }
        if let Some(seconds) = default_lease_s {
            let lease = Duration::from_secs((*seconds.get_ref()).into());
            policy = policy.with_default_lease(lease).map_err(|e| wrong(seconds.span(), &e))?;
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_lib::CommandMode;

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| error.to_string().split('/').next_back().unwrap().to_owned())
    }

    #[test]
    fn an_empty_file_is_a_good_one() {
        let config = load("").unwrap();
        assert_eq!(config.listen.port(), PORT);
        assert_eq!(config.operations_per_second, OPERATIONS_PER_SECOND);
        assert!(config.policy.allows(LineId(27)) && !config.policy.allows(LineId(28)));
    }

    #[test]
    fn everything_can_be_said() {
        let config = load(
            "listen = '127.0.0.1:1'\ncontroller = 'c:7443'\nlabels = { room = 'lab' }\n[gpio]\ninterface = 'v1'\nallow = [17, 18]\n\
             aliases = { heater = 17 }\nsafe = { heater = 'low', GPIO18 = 'hold' }\n\
             restore = { heater = 'off', GPIO18 = 'last' }\ndefault_lease_s = 5\noperations_per_second = 7\n\
             [[operators]]\nname = 'anna'\nroles = ['gpio', 'viewer']\nlines = [17, 'heater']\n\
             [limits]\nconnections_per_second = 100\nunthrottled = ['192.0.2.1']\n\
             [logs]\nstall_s = 5\n[logs.files]\nnginx = '/var/log/nginx/access.log'\n",
        )
        .unwrap();
        assert_eq!(config.interface, Some(Interface::V1));
        assert_eq!(config.policy.line_of("heater"), Some(LineId(17)));
        assert_eq!(config.policy.safe_state(LineId(17)), SafeState::Low);
        assert_eq!(config.policy.safe_state(LineId(18)), SafeState::Hold);
        assert_eq!(config.policy.restore(LineId(17)), Restore::Off);
        assert_eq!(config.policy.restore(LineId(18)), Restore::Last);
        assert_eq!(config.operations_per_second, 7);
        assert_eq!(config.policy.default_lease(), Duration::from_secs(5));
        assert_eq!(config.operators[0].roles, [Right::Gpio, Right::Viewer]);
        assert_eq!((config.limits.connections_per_second, config.limits.burst), (100, Limits::default().burst));
        assert_eq!(config.operators[0].scope.to_string(), "lines=17,heater");
        assert_eq!(config.logs.stall, Duration::from_secs(5));
        assert_eq!(config.logs.files["nginx"], Path::new("/var/log/nginx/access.log"));
    }

    #[test]
    fn metrics_go_to_the_network_by_tls_alone() {
        let prometheus = |text| load(text).unwrap().prometheus.map(|to| (to.listen.port(), to.tls));
        assert_eq!(prometheus("[metrics]\nprometheus = '127.0.0.1:9464'"), Some((9464, false)));
        assert_eq!(prometheus("[metrics]\nprometheus = '[::1]:9464'"), Some((9464, false)));
        assert_eq!(prometheus("[metrics]\nprometheus = '0.0.0.0:9464'\ntls = true"), Some((9464, true)));
        assert_eq!(prometheus("[metrics]\ntls = true"), None);
    }

    #[test]
    fn commands_are_off_until_they_are_configured() {
        assert_eq!(load("").unwrap().exec.policy.mode, CommandMode::Off);
        assert_eq!(load("[exec]\nshell = '/bin/sh'\n").unwrap().exec.policy.mode, CommandMode::Off);
        let exec = load(
            "[exec]\nmode = 'templates'\nmaximum_timeout_s = 60\nkill_grace_ms = 10\n\
             [exec.templates.wall]\nargv = ['wall', '-t', '{seconds}', '{text}']\n\
             [exec.templates.wall.parameters]\nseconds = { number = { minimum = 1, maximum = 9 } }\n\
             text = { text = { maximum_bytes = 80 } }\n",
        );
        let policy = exec.unwrap().exec.policy;
        assert_eq!((policy.mode, policy.kill_grace), (CommandMode::Templates, Duration::from_millis(10)));
        assert_eq!(policy.maximum_timeout, Duration::from_secs(60));
        assert!(policy.templates.contains_key("wall"));
    }

    #[test]
    fn mistakes_are_told_with_file_line_and_what_was_expected() {
        let told = |text: &str| load(text).unwrap_err();
        assert!(told("\nlistn = 1").starts_with("agent.toml, line 2: unknown field `listn`, expected one of"));
        assert_eq!(
            told("[gpio]\nsafe = { pump = 'low' }"),
            "agent.toml, line 2: `pump` is neither an alias nor a line"
        );
        assert!(told("[gpio.aliases]\n\nusb = 42").starts_with("agent.toml, line 3: alias `usb` stands for GPIO42"));
        assert!(told("[gpio]\n\ndefault_lease_s = 0").contains("line 3: a default lease of 0 ms is out of range"));
        assert!(told("[gpio]\nallow = [1]\nrestore = { GPIO2 = 'on' }").contains("line 3: GPIO2"));
        assert!(told("[gpio.safe]\n17 = 'off'").contains("line 2: unknown variant `off`, expected one of `hold`"));
        assert_eq!(
            told("[metrics]\nprometheus = '0.0.0.0:9464'"),
            "agent.toml, line 2: plain HTTP on 0.0.0.0:9464 would show the metrics to the network: say tls = true"
        );
        assert!(told("[logs.files]\n'..x' = '/x'").contains("line 2: `..x` must be a name"));
        assert!(told("[logs.files]\nx = '..'").contains("line 2: expected an absolute path"));
        assert!(told("[logs]\nstall_s = 0").contains("line 2: `stall_s` must be 1 to 3600"));
        assert!(told("[exec]\n\nuser = 'no-such-user'").contains("line 3: this machine has no user"));
        assert!(told("[exec]\nallow_environment = [\n'LD_PRELOAD']").contains("line 3: \"LD_PRELOAD\" would change"));
        assert!(told("[exec]\nshell = 'sh'").contains("line 2: an absolute path is expected"));
        assert!(told("[exec]\nmaximum_running = 0").contains("line 2: 1 to 1024 is expected"));
        assert!(told("[exec.templates.x]\nargv = ['{p}']").contains("the program holds a parameter"));
        let operator = |rest: &str| told(&format!("\n[[operators]]\nname = 'a'\n{rest}"));
        assert!(operator("roles = ['king']").contains("line 4: unknown variant `king`"));
        assert!(operator("roles = ['gpio']\nlights = [1]").contains("line 5: unknown field `lights`"));
        assert!(operator("roles = ['gpio']\nlines = []").contains("line 2: lines must name at least one"));
        assert!(operator("roles = ['viewer']\nlines = [1]").contains("line 2: lines are for the role gpio"));
        assert!(operator("roles = ['admin', 'gpio']\nlines = [1]").contains("line 2: an admin is not limited"));
        assert!(operator("roles = ['logs']\nunits = ['a b']").contains("line 2: \"a b\" must be a unit's name"));
        assert!(operator("roles = []\n[[operators]]\nname = 'a'\nroles = []").contains("a stands there twice"));
    }
}
