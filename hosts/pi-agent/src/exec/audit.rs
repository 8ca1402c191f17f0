//! What is kept of each command: a row before it starts and one after, in the audit and in the log. Neither the
//! environment's values nor the input are in them.

use std::sync::Arc;

use proto::agent::v1::CommandResponse;
use tonic::Status;

use super::plan::Ready;
use crate::access::Principal;
use crate::audit::{Auditor, Unended};
use crate::wire;

/// A longer command line is cut.
const BYTES: usize = 1024;
/// So is a longer program's name.
const PROGRAM: usize = 256;

pub(super) struct Audit {
    auditor: Arc<Auditor>,
    who: Principal,
    program: String,
    command: String,
    _unended: Unended,
}

impl Audit {
    /// Comes back when it is on disk who starts what. A command must not start before.
    pub(super) async fn begin(auditor: &Arc<Auditor>, who: Principal, ready: &Ready) -> Result<Self, Status> {
        let command = command_line(&ready.plan.argv);
        let program = ready.plan.argv.first().map(|program| program.chars().take(PROGRAM).collect());
        let (auditor, unended) = (auditor.clone(), auditor.unended());
        let audit = Self { auditor, who, program: program.unwrap_or_default(), command, _unended: unended };
        let (user, input, command) = (&ready.user, ready.stdin.len(), &audit.command);
        let mut variables = ready.variables.join(",");
        variables.truncate((0..=BYTES.min(variables.len())).rfind(|at| variables.is_char_boundary(*at)).unwrap_or(0));
        let detail = format!("{command}; user {user}; variables {variables:?}; input {input} bytes");
        audit.auditor.commit(audit.entry("command.begin", "begun".to_owned(), detail)).await?;
        let who = &audit.who; // with roles and limits
        tracing::info!(audit = "command", %who, command, user, variables, input, "begins");
        Ok(audit)
    }

    pub(super) fn end(self, response: &CommandResponse) {
        let outcome = wire::outcome_word(response);
        let count = |output: &Option<proto::agent::v1::CommandOutput>| output.as_ref().map_or(0, |o| o.total_bytes);
        let (stdout, stderr) = (count(&response.stdout), count(&response.stderr));
        let ms = response.wall_time.map_or(0, |wall| wall.seconds * 1000 + i64::from(wall.nanos) / 1_000_000);
        let (who, command) = (self.who.holder(), &self.command);
        tracing::info!(audit = "command", %who, command, outcome, ms, stdout, stderr, "ended");
        let detail = format!("{command}; {ms} ms; stdout {stdout} bytes; stderr {stderr} bytes");
        self.auditor.record(self.entry("command.end", outcome, detail));
    }

    fn entry(&self, action: &str, outcome: String, detail: String) -> audit::Entry {
        Auditor::entry(&self.who, action, self.program.clone(), outcome, detail)
    }
}

/// As `Debug` shows it: in one line, without anything that a terminal would obey.
pub(super) fn command_line(argv: &[String]) -> String {
    let mut line = String::new();
    for argument in argv {
        if line.len() > BYTES {
            line.push_str(" …");
            break;
        }
        let separator = if line.is_empty() { "" } else { " " };
        let cut = argument.char_indices().map(|(at, _)| at).find(|at| *at > BYTES).unwrap_or(argument.len());
        line.push_str(&format!("{separator}{:?}", &argument[..cut]));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_one_line_of_bounded_length() {
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(command_line(&argv(&["a", "b c", "\u{1b}\n"])), "\"a\" \"b c\" \"\\u{1b}\\n\"");
        assert!(command_line(&argv(&["x", &"é".repeat(9000), "y", "z"])).len() < 4 * BYTES);
        assert!(command_line(&vec!["x".repeat(50); 500]).len() < 2 * BYTES);
    }
}
