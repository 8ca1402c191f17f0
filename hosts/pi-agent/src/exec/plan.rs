//! From a request to a plan: everything is checked before anything is started.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_lib::{CommandPolicy, CommandRefusal, Program};
use proto::agent::v1::{CommandRequest, ResourceLimits};
use tonic::Status;

use super::audit::command_line;
use super::run::Limits;
use super::runner::WindowSize;
use super::stage::Plan;
use super::user::RunAs;
use super::{ExecConfig, ExecError};
use crate::access::Principal;
use crate::wire;

/// A unary call ends after 30 s, wherever it passes; this leaves time for the answer.
const LONGEST_UNARY: Duration = Duration::from_secs(25);

/// How a command was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Unary,
    Live,
}

/// A command that may be started.
pub(super) struct Ready {
    pub(super) plan: Plan,
    pub(super) limits: Limits,
    pub(super) stdin: Vec<u8>,
    pub(super) terminal: Option<WindowSize>,
    /// For people.
    pub(super) program: String,
    pub(super) user: String,
    /// Names of the variables that the caller has set.
    pub(super) variables: Vec<String>,
}

/// The node's configuration, ready for use.
pub(super) struct Planner {
    config: ExecConfig,
    user: RunAs,
    users: BTreeMap<String, RunAs>,
}

impl Planner {
    pub(super) fn new(config: ExecConfig) -> Result<Self, ExecError> {
        let find = |name: &String| RunAs::find(name).ok_or_else(|| ExecError::User(name.clone()));
        let user = config.user.as_ref().map_or_else(|| Ok(RunAs::agent()), find)?;
        let users = config.policy.users.iter().map(|name| Ok((name.clone(), find(name)?))).collect::<Result<_, _>>()?;
        Ok(Self { config, user, users })
    }

    pub(super) fn longest_grace(&self) -> Duration {
        self.config.policy.kill_grace
    }

    pub(super) fn plan(&self, who: &Principal, request: CommandRequest, way: Way) -> Result<Ready, Status> {
        let CommandRequest {
            argv,
            environment,
            working_directory,
            stdin,
            timeout,
            request_id,
            shell,
            template,
            parameters,
            detach,
            user,
            umask,
            nice,
            limits,
            kill_grace,
            output_limit,
            terminal,
        } = request;
        let policy = &self.config.policy;
        let refused = wire::command_refusal;
        let caller = who.holder().as_str();
        let program = program(argv, shell, template, parameters)?;
        who.check_program(&program)?;
        let is_template = matches!(program, Program::Template(..));
        let argv = policy.command(program, caller, who.may_shell()).map_err(refused)?;
        if way == Way::Live && (detach || !request_id.is_empty()) {
            return Err(wire::invalid("detach", "and request_id are for ExecuteCommand"));
        }
        if way == Way::Unary && terminal.is_some() {
            return Err(wire::invalid("terminal", "is for ExecuteStream"));
        }
        let run_as = self.run_as(policy, &user).map_err(refused)?;
        let mut variables: Vec<String> = environment.keys().cloned().collect();
        variables.sort();
        let mut whole = run_as.environment(&self.config.path);
        whole.extend(policy.environment(environment).map_err(refused)?);
        let terminal = terminal.map(wire::terminal).transpose()?;
        if let Some((_, name)) = &terminal {
            whole.insert("TERM".to_owned(), name.clone());
        }
        let time = Limits {
            timeout: self.timeout(wire::optional_duration("timeout", timeout)?, way, detach, terminal.is_some())?,
            grace: policy.grace(wire::optional_duration("kill_grace", kill_grace)?).map_err(refused)?,
            keep: policy.output(output_limit).map_err(refused)?,
        };
        let ResourceLimits { cpu_seconds, memory_bytes, open_files, file_bytes, processes } =
            limits.unwrap_or_default();
        let own = self.config.maximum_processes;
        let plan = Plan {
            environment: whole,
            working_directory: self.working_directory(working_directory, is_template)?,
            identity: run_as.identity(),
            umask: wire::below("umask", umask.unwrap_or(0o022), 0o777)?,
            nice: wire::below("nice", nice, 19)?.cast_signed(),
            cpu_seconds,
            memory_bytes,
            open_files,
            file_bytes,
            processes: processes.map(|wished| own.map_or(wished, |own| wished.min(own))).or(own),
            terminal: terminal.is_some(),
            cgroup: self.config.cgroup.as_ref().map(|folder| folder.display().to_string()),
            grace_ms: u64::try_from(time.grace.as_millis()).unwrap_or(u64::MAX),
            argv,
        };
        let program = command_line(&plan.argv);
        let (terminal, user) = (terminal.map(|(size, _)| size), run_as.name().to_owned());
        Ok(Ready { plan, limits: time, stdin, terminal, program, user, variables })
    }

    fn run_as(&self, policy: &CommandPolicy, name: &str) -> Result<&RunAs, CommandRefusal> {
        if name.is_empty() {
            return Ok(&self.user);
        }
        policy.user(name)?;
        self.users.get(name).ok_or_else(|| CommandRefusal::User { name: name.to_owned() })
    }

    fn timeout(&self, wished: Option<Duration>, way: Way, detach: bool, terminal: bool) -> Result<Duration, Status> {
        if terminal && wished.is_none() {
            return Ok(self.config.policy.maximum_timeout); // somebody works there
        }
        let timeout = self.config.policy.timeout(wished).map_err(wire::command_refusal)?;
        if way == Way::Live || detach || timeout <= LONGEST_UNARY {
            return Ok(timeout);
        }
        match wished {
            None => Ok(LONGEST_UNARY),
            Some(_) => Err(wire::invalid("timeout", "is at most 25 s in this call: detach, or use ExecuteStream")),
        }
    }

    fn working_directory(&self, wished: String, is_template: bool) -> Result<String, Status> {
        match wished.as_bytes() {
            [] => Ok(self.config.working_directory.clone()),
            _ if is_template => Err(wire::invalid("working_directory", "is not for templates")),
            [b'/', ..] if !wished.contains('\0') => Ok(wished),
            _ => Err(wire::invalid("working_directory", "is an absolute path")),
        }
    }
}

fn program(
    argv: Vec<String>,
    shell: bool,
    template: String,
    parameters: BTreeMap<String, String>,
) -> Result<Program, Status> {
    match (template.is_empty(), shell) {
        (true, _) if !parameters.is_empty() => Err(wire::invalid("parameters", "are for a template: name one")),
        (true, true) => Ok(Program::Shell(argv)),
        (true, false) => Ok(Program::Argv(argv)),
        (false, false) if argv.is_empty() => Ok(Program::Template(template, parameters)),
        (false, _) => Err(wire::invalid("template", "goes with neither argv nor shell")),
    }
}
