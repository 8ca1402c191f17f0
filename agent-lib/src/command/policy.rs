//! What a node lets callers run, and how.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::{CommandRefusal, Template};

/// What may be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommandMode {
    /// Nothing, whoever asks.
    #[default]
    Off,
    /// The templates of the node's configuration.
    Templates,
    /// Any program that the system lets the user run.
    Any,
}

/// What a caller wants to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// A script with its parameters, or a shell that reads its input if there is none.
    Shell(Vec<String>),
    /// A template with values.
    Template(String, BTreeMap<String, String>),
}

/// What the owner of a node lets callers run, and how. The default runs nothing.
#[derive(Clone, Debug)]
pub struct CommandPolicy {
    /// What may be run.
    pub mode: CommandMode,
    /// Path of the shell; `None`: no scripts.
    pub shell: Option<String>,
    /// By name.
    pub templates: BTreeMap<String, Template>,
    /// Every command's environment begins with it.
    pub environment: BTreeMap<String, String>,
    /// Variables that callers may set.
    pub allowed_environment: BTreeSet<String>,
    /// Users that callers may choose.
    pub users: BTreeSet<String>,
    /// For a command that names none.
    pub default_timeout: Duration,
    /// No command lasts longer.
    pub maximum_timeout: Duration,
    /// Between SIGTERM and SIGKILL: the default, and the longest.
    pub kill_grace: Duration,
    /// Kept bytes of each output stream: the default, and the most.
    pub maximum_output: usize,
}

impl Default for CommandPolicy {
    fn default() -> Self {
        Self {
            mode: CommandMode::Off,
            shell: None,
            templates: BTreeMap::new(),
            environment: BTreeMap::new(),
            allowed_environment: BTreeSet::new(),
            users: BTreeSet::new(),
            default_timeout: Duration::from_secs(20),
            maximum_timeout: Duration::from_secs(3600),
            kill_grace: Duration::from_secs(3),
            maximum_output: 256 * 1024,
        }
    }
}

/// As many arguments as one message can sensibly hold.
const MAXIMUM_ARGUMENTS: usize = 4096;

/// Variables that change what a program is or what it loads: on no allow list.
const NEVER: [&str; 6] = ["PATH", "IFS", "ENV", "BASH_ENV", "GLIBC_TUNABLES", "GCONV_PATH"];

impl CommandPolicy {
    /// Whether a variable can be on an allow list at all: its name is one, and it does not change what a program is.
    pub fn may_be_allowed(name: &str) -> bool {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.bytes().all(word) && !name.starts_with("LD_") && !NEVER.contains(&name)
    }

    /// Program and arguments as they are to be started. `may_shell`: the caller has the role for scripts.
    ///
    /// # Errors
    ///
    /// What is off or not allowed, and which field makes no sense.
    pub fn command(&self, program: Program, caller: &str, may_shell: bool) -> Result<Vec<String>, CommandRefusal> {
        match (self.mode, program) {
            (CommandMode::Off, _) => Err(CommandRefusal::Off),
            (_, Program::Template(name, values)) => {
                let unknown = || CommandRefusal::UnknownTemplate { name: name.clone(), known: self.known() };
                checked(self.templates.get(&name).ok_or_else(unknown)?.fill(&values)?)
            }
            (CommandMode::Templates, _) => Err(CommandRefusal::TemplatesOnly { known: self.known() }),
            (CommandMode::Any, Program::Argv(argv)) => checked(argv),
            (CommandMode::Any, Program::Shell(mut script)) => {
                let shell = self.shell.clone().ok_or(CommandRefusal::NoShell)?;
                if !may_shell {
                    return Err(CommandRefusal::ShellNotAllowed { caller: caller.to_owned() });
                }
                let mut argv = alloc::vec![shell.clone()];
                if !script.is_empty() {
                    // the word after the script is $0
                    argv.extend(["-c".to_owned(), script.remove(0), shell]);
                }
                argv.extend(script);
                checked(argv)
            }
        }
    }

    /// The node's base and what the caller adds.
    ///
    /// # Errors
    ///
    /// The name of a variable that is not allowed.
    pub fn environment(&self, added: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, CommandRefusal> {
        let mut environment = self.environment.clone();
        for (name, value) in added {
            if !self.allowed_environment.contains(&name) {
                return Err(CommandRefusal::Environment { name });
            }
            if value.contains('\0') {
                return Err(CommandRefusal::invalid(format!("environment.{name}"), "holds a NUL byte"));
            }
            environment.insert(name, value);
        }
        Ok(environment)
    }

    /// The time of a command that asks for `wished`.
    ///
    /// # Errors
    ///
    /// If it is zero or longer than the node allows.
    pub fn timeout(&self, wished: Option<Duration>) -> Result<Duration, CommandRefusal> {
        let timeout = wished.unwrap_or(self.default_timeout.min(self.maximum_timeout));
        let why = || format!("is more than 0 s and at most {} s on this node", self.maximum_timeout.as_secs());
        let right = !timeout.is_zero() && timeout <= self.maximum_timeout;
        right.then_some(timeout).ok_or_else(|| CommandRefusal::invalid("timeout", why()))
    }

    /// The grace of a command that asks for `wished`.
    ///
    /// # Errors
    ///
    /// If it is longer than the node allows.
    pub fn grace(&self, wished: Option<Duration>) -> Result<Duration, CommandRefusal> {
        let grace = wished.unwrap_or(self.kill_grace);
        let why = || format!("is at most {} ms on this node", self.kill_grace.as_millis());
        (grace <= self.kill_grace).then_some(grace).ok_or_else(|| CommandRefusal::invalid("kill_grace", why()))
    }

    /// Kept bytes of a command that asks for `wished`; 0 is the node's own limit.
    ///
    /// # Errors
    ///
    /// If it is more than the node allows.
    pub fn output(&self, wished: u64) -> Result<usize, CommandRefusal> {
        let why = || format!("is at most {} on this node", self.maximum_output);
        match usize::try_from(wished) {
            Ok(0) => Ok(self.maximum_output),
            Ok(wished) if wished <= self.maximum_output => Ok(wished),
            _ => Err(CommandRefusal::invalid("output_limit", why())),
        }
    }

    /// Whether callers may choose this user.
    ///
    /// # Errors
    ///
    /// If they may not.
    pub fn user(&self, name: &str) -> Result<(), CommandRefusal> {
        self.users.contains(name).then_some(()).ok_or_else(|| CommandRefusal::User { name: name.to_owned() })
    }

    fn known(&self) -> String {
        let names: Vec<&str> = self.templates.keys().map(String::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

fn checked(argv: Vec<String>) -> Result<Vec<String>, CommandRefusal> {
    let wrong = |why: &str| Err(CommandRefusal::invalid("argv", why));
    match argv.first() {
        None => return wrong("is empty: begin with the program"),
        Some(program) if program.is_empty() => return wrong("begins with nothing: name the program"),
        Some(program) if program.contains('/') && !program.starts_with('/') => {
            return wrong("begins with a relative path: give an absolute one, or a bare name");
        }
        Some(_) => {}
    }
    if argv.len() > MAXIMUM_ARGUMENTS {
        return wrong("has more than 4096 arguments: send a file, or several commands");
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        return wrong("holds a NUL byte, which ends an argument");
    }
    Ok(argv)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn argv(words: &[&str]) -> Program {
        Program::Argv(words.iter().map(|word| (*word).to_string()).collect())
    }

    fn any() -> CommandPolicy {
        CommandPolicy { mode: CommandMode::Any, shell: Some("/bin/sh".to_string()), ..CommandPolicy::default() }
    }

    #[test]
    fn nothing_runs_unless_the_owner_says_so() {
        let policy = CommandPolicy::default();
        for program in [argv(&["true"]), Program::Shell(vec![]), Program::Template("t".to_string(), BTreeMap::new())] {
            assert_eq!(policy.command(program, "operator/admin", true), Err(CommandRefusal::Off));
        }
    }

    #[test]
    fn only_templates_means_only_templates() {
        let reboot = Template::new(&["reboot".to_string()], BTreeMap::new()).unwrap();
        let templates = BTreeMap::from([("reboot".to_string(), reboot)]);
        let policy = CommandPolicy { mode: CommandMode::Templates, templates, ..any() };
        let run = |program| policy.command(program, "operator/admin", true);
        assert!(matches!(run(argv(&["reboot"])), Err(CommandRefusal::TemplatesOnly { .. })));
        assert!(matches!(run(Program::Shell(vec![])), Err(CommandRefusal::TemplatesOnly { .. })));
        assert_eq!(run(Program::Template("reboot".to_string(), BTreeMap::new())), Ok(vec!["reboot".to_string()]));
        let other = run(Program::Template("halt".to_string(), BTreeMap::new())).unwrap_err();
        assert_eq!(other.to_string(), "no template is called \"halt\": this node has reboot");
    }

    #[test]
    fn a_shell_is_a_right_of_its_own() {
        let script = || Program::Shell(vec!["echo $1".to_string(), "a".to_string()]);
        assert!(matches!(any().command(script(), "anna", false), Err(CommandRefusal::ShellNotAllowed { .. })));
        assert_eq!(any().command(script(), "anna", true).unwrap(), ["/bin/sh", "-c", "echo $1", "/bin/sh", "a"]);
        assert_eq!(any().command(Program::Shell(vec![]), "anna", true).unwrap(), ["/bin/sh"]);
        let none = CommandPolicy { shell: None, ..any() };
        assert_eq!(none.command(script(), "anna", true), Err(CommandRefusal::NoShell));
    }

    #[test]
    fn arguments_that_cannot_be_are_refused() {
        let long: Vec<&str> = core::iter::repeat_n("x", 4097).collect();
        for words in [&[][..], &[""], &["./x"], &["a/b"], &["a", "b\0"], &long] {
            let refused = any().command(argv(words), "anna", false);
            assert!(
                matches!(refused, Err(CommandRefusal::Invalid { ref field, .. }) if field == "argv"),
                "{refused:?}"
            );
        }
        assert!(any().command(argv(&["/bin/x", "", "../y", "-r", "$(z)\n;"]), "anna", false).is_ok());
    }

    #[test]
    fn only_listed_variables_are_added() {
        let list = BTreeSet::from(["TZ".to_string()]);
        let base = BTreeMap::from([("LANG".to_string(), "C".to_string())]);
        let policy = CommandPolicy { allowed_environment: list, environment: base, ..any() };
        let add = |name: &str| policy.environment(BTreeMap::from([(name.to_string(), "v".to_string())]));
        assert_eq!(add("TZ").unwrap().into_keys().collect::<Vec<_>>(), ["LANG", "TZ"]);
        for name in ["LD_PRELOAD", "PATH", "TZ ", ""] {
            assert_eq!(add(name), Err(CommandRefusal::Environment { name: name.to_string() }));
            assert!(!CommandPolicy::may_be_allowed(name));
        }
    }

    #[test]
    fn limits_are_the_nodes() {
        let policy = any();
        assert_eq!(policy.timeout(None), Ok(policy.default_timeout));
        assert!(policy.timeout(Some(Duration::ZERO)).is_err());
        assert!(policy.timeout(Some(Duration::from_secs(3601))).is_err());
        assert!(policy.grace(Some(Duration::from_secs(4))).is_err());
        assert_eq!((policy.output(0), policy.output(7)), (Ok(256 * 1024), Ok(7)));
        assert!(policy.output(u64::MAX).is_err());
        assert!(policy.user("root").is_err());
    }
}
