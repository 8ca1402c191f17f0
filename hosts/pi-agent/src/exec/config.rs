//! `[exec]` in `agent.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_lib::{CommandMode, CommandPolicy, Parameter, Template};
use serde::Deserialize;
use startup::ConfigError;
use toml::Spanned;

use super::user::RunAs;

/// What the owner of a node says of commands. By default none is run.
#[derive(Clone, Debug)]
pub struct ExecConfig {
    /// What callers may run, and its limits.
    pub policy: CommandPolicy,
    /// As whom commands run unless their caller chooses; `None`: the agent's own user.
    pub user: Option<String>,
    /// Where programs are looked for.
    pub path: String,
    /// Where commands start.
    pub working_directory: String,
    /// Commands at once.
    pub maximum_running: usize,
    /// For how long outcomes of jobs and of requests with an id are kept.
    pub keep: Duration,
    /// Processes of one command where it has a cgroup, of its user where it has none.
    pub maximum_processes: Option<u64>,
    /// Folder of a cgroup v2 that is delegated to the agent; each command gets one below.
    pub cgroup: Option<PathBuf>,
}

impl Default for ExecConfig {
    fn default() -> Self {
        Self {
            policy: CommandPolicy::default(),
            user: None,
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            working_directory: "/".to_owned(),
            maximum_running: 16,
            keep: Duration::from_secs(3600),
            maximum_processes: Some(256),
            cgroup: None,
        }
    }
}

/// The section as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    mode: Mode,
    shell: Option<Spanned<String>>,
    user: Option<Spanned<String>>,
    users: Vec<Spanned<String>>,
    path: Option<Spanned<String>>,
    working_directory: Option<Spanned<String>>,
    environment: BTreeMap<String, String>,
    allow_environment: Vec<Spanned<String>>,
    default_timeout_s: Option<u32>,
    maximum_timeout_s: Option<u32>,
    kill_grace_ms: Option<u32>,
    maximum_output_bytes: Option<Spanned<usize>>,
    maximum_running: Option<Spanned<usize>>,
    maximum_processes: Option<u64>,
    keep_s: Option<u32>,
    cgroup: Option<PathBuf>,
    templates: BTreeMap<String, Spanned<TemplateFile>>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Off,
    Templates,
    Any,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct TemplateFile {
    argv: Vec<String>,
    #[serde(default)]
    parameters: BTreeMap<String, ParameterFile>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ParameterFile {
    OneOf(BTreeSet<String>),
    Number { minimum: i64, maximum: i64 },
    Text { maximum_bytes: usize },
}

impl From<ParameterFile> for Parameter {
    fn from(file: ParameterFile) -> Self {
        match file {
            ParameterFile::OneOf(choices) => Self::OneOf(choices),
            ParameterFile::Number { minimum, maximum } => Self::Number { minimum, maximum },
            ParameterFile::Text { maximum_bytes } => Self::Text { maximum_bytes },
        }
    }
}

/// Two outputs of this size fit one answer.
const MOST_OUTPUT_BYTES: usize = 1 << 20;

impl File {
    pub(crate) fn exec(self, path: &Path, text: &str) -> Result<ExecConfig, ConfigError> {
        let wrong = |span, expected: &dyn std::fmt::Display| startup::at(path, text, span, expected);
        let absolute = |value: Spanned<String>| match value.get_ref().starts_with('/') {
            true => Ok(value.into_inner()),
            false => Err(wrong(value.span(), &"an absolute path is expected")),
        };
        let between = |value: Spanned<usize>, least: usize, most: usize| match (least..=most).contains(value.get_ref())
        {
            true => Ok(value.into_inner()),
            false => Err(wrong(value.span(), &format!("{least} to {most} is expected"))),
        };
        let known = |user: &Spanned<String>| match RunAs::find(user.get_ref()) {
            Some(_) => Ok(user.get_ref().clone()),
            None => Err(wrong(user.span(), &format!("this machine has no user {:?}", user.get_ref()))),
        };
        let or = |seconds: Option<u32>, default| seconds.map_or(default, |seconds| Duration::from_secs(seconds.into()));
        let variable = |name: Spanned<String>| match CommandPolicy::may_be_allowed(name.get_ref()) {
            true => Ok(name.into_inner()),
            false => {
                let why = format!("{:?} would change what a program is, or is no variable", name.get_ref());
                Err(wrong(name.span(), &why))
            }
        };
        let default = ExecConfig::default();
        let mut templates = BTreeMap::new();
        for (name, template) in self.templates {
            let span = template.span();
            let TemplateFile { argv, parameters } = template.into_inner();
            let parameters = parameters.into_iter().map(|(name, file)| (name, file.into())).collect();
            templates.insert(name, Template::new(&argv, parameters).map_err(|error| wrong(span, &error))?);
        }
        let limits = default.policy;
        let policy = CommandPolicy {
            mode: match self.mode {
                Mode::Off => CommandMode::Off,
                Mode::Templates => CommandMode::Templates,
                Mode::Any => CommandMode::Any,
            },
            shell: self.shell.map(absolute).transpose()?,
            templates,
            environment: self.environment,
            allowed_environment: self.allow_environment.into_iter().map(variable).collect::<Result<_, _>>()?,
            users: self.users.iter().map(known).collect::<Result<_, _>>()?,
            default_timeout: or(self.default_timeout_s, limits.default_timeout),
            maximum_timeout: or(self.maximum_timeout_s, limits.maximum_timeout),
            kill_grace: self.kill_grace_ms.map_or(limits.kill_grace, |ms| Duration::from_millis(ms.into())),
            maximum_output: match self.maximum_output_bytes {
                Some(bytes) => between(bytes, 1, MOST_OUTPUT_BYTES)?,
                None => limits.maximum_output,
            },
        };
        Ok(ExecConfig {
            policy,
            user: self.user.as_ref().map(known).transpose()?,
            path: self.path.map(absolute).transpose()?.unwrap_or(default.path),
            working_directory: self.working_directory.map(absolute).transpose()?.unwrap_or(default.working_directory),
            maximum_running: self.maximum_running.map_or(Ok(default.maximum_running), |most| between(most, 1, 1024))?,
            keep: or(self.keep_s, default.keep),
            maximum_processes: self.maximum_processes.or(default.maximum_processes),
            cgroup: self.cgroup,
        })
    }
}
