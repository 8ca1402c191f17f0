//! The agent's configuration file, `agent.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use agent_lib::{LineName, Policy, PolicyError, SafeState};
use hal_core::LineId;
use serde::Deserialize;
use startup::ConfigError;
use toml::Spanned;

use crate::access::Right;

/// Where a node serves unless its configuration says otherwise.
const PORT: u16 = 7444;

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
    /// Which lines may be used, under which names, and where they go when they are let go.
    pub policy: Policy,
    /// Operators whose commands are taken without a controller in between.
    pub operators: Vec<Operator>,
}

/// An operator that this node trusts by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// As in the operator's certificate.
    pub name: String,
    /// What the operator may do here.
    pub roles: Vec<Right>,
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
            policy: Policy::default(),
            operators: Vec::new(),
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
    operators: Vec<Operator>,
}

impl Default for File {
    fn default() -> Self {
        let Config { state, listen, advertise, controller, labels, chip: _, policy: _, operators } = Config::default();
        Self { state, listen, advertise, controller, labels, gpio: Gpio::default(), operators }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Gpio {
    /// Device file; absent: found by the header's label.
    chip: Option<PathBuf>,
    /// BCM numbers; absent: GPIO0 to 27.
    allow: Option<BTreeSet<u16>>,
    /// Alias to BCM number.
    aliases: BTreeMap<String, Spanned<u16>>,
    /// Line (alias, "GPIO17" or "17") to the state that it is left in.
    safe: BTreeMap<String, Spanned<Safe>>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Safe {
    Hold,
    Input,
    Low,
    High,
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
        let File { state, listen, advertise, controller, labels, gpio, operators } = startup::parse(path, &text)?;
        let chip = gpio.chip.clone();
        let policy = gpio.policy(path, &text)?;
        Ok(Self { state, listen, advertise, controller, labels, chip, policy, operators })
    }
}

impl Gpio {
    fn policy(self, path: &Path, text: &str) -> Result<Policy, ConfigError> {
        let Self { chip: _, allow, aliases, safe } = self;
        let wrong = |span, expected: &dyn std::fmt::Display| startup::at(path, text, span, expected);
        let lines = aliases.iter().map(|(alias, line)| (alias.clone(), LineId(*line.get_ref()))).collect();
        let mut states = BTreeMap::new();
        for (name, state) in &safe {
            let line = line_called(name, &lines);
            let line = line.ok_or_else(|| wrong(state.span(), &format!("`{name}` is neither an alias nor a line")))?;
            states.insert(line, SafeState::from(*state.get_ref()));
        }
        let allow = match allow {
            Some(allow) => allow.into_iter().map(LineId).collect(),
            None => Policy::default().allowed().collect(),
        };
        Policy::new(allow, lines.clone(), states).map_err(|error| {
            let alias = match &error {
                PolicyError::MisleadingAlias { alias, .. } | PolicyError::AliasNotAllowed { alias, .. } => alias,
                _ => "",
            };
            let safe_of = |line| safe.iter().find(|(name, _)| line_called(name, &lines) == Some(line));
            let span = match &error {
                PolicyError::SafeNotAllowed { line } => safe_of(*line).map(|(_, state)| state.span()),
                _ => aliases.get(alias).map(Spanned::span),
            };
            wrong(span.unwrap_or_default(), &error)
        })
    }
}

fn line_called(name: &str, aliases: &BTreeMap<String, LineId>) -> Option<LineId> {
    aliases.get(name).copied().or_else(|| LineName::Text(name).well_known())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(config.policy.allows(LineId(27)) && !config.policy.allows(LineId(28)));
    }

    #[test]
    fn everything_can_be_said() {
        let config = load(
            "listen = '127.0.0.1:1'\ncontroller = 'c:7443'\nlabels = { room = 'lab' }\n[gpio]\nallow = [17, 18]\n\
             aliases = { heater = 17 }\nsafe = { heater = 'low', GPIO18 = 'hold' }\n\
             [[operators]]\nname = 'anna'\nroles = ['gpio', 'viewer']\n",
        )
        .unwrap();
        assert_eq!(config.policy.line_of("heater"), Some(LineId(17)));
        assert_eq!(config.policy.safe_state(LineId(17)), SafeState::Low);
        assert_eq!(config.policy.safe_state(LineId(18)), SafeState::Hold);
        assert_eq!(config.operators[0].roles, [Right::Gpio, Right::Viewer]);
    }

    #[test]
    fn mistakes_are_told_with_file_line_and_what_was_expected() {
        let told = |text| load(text).unwrap_err();
        assert!(told("\nlistn = 1").starts_with("agent.toml, line 2: unknown field `listn`, expected one of"));
        assert_eq!(
            told("[gpio]\nsafe = { pump = 'low' }"),
            "agent.toml, line 2: `pump` is neither an alias nor a line"
        );
        assert!(told("[gpio.aliases]\n\nusb = 42").starts_with("agent.toml, line 3: alias `usb` stands for GPIO42"));
        assert!(told("[gpio.safe]\n17 = 'off'").contains("line 2: unknown variant `off`, expected one of `hold`"));
        assert!(told("[[operators]]\nname = 'a'\nroles = ['king']").contains("line 3: unknown variant `king`"));
    }
}
