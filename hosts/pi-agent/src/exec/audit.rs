//! What the log says of each command: one line before it starts and one after. Neither the environment's values nor the
//! input are in them.

use proto::agent::v1::CommandResponse;

use super::plan::Ready;
use crate::wire;

/// A longer command line is cut.
const BYTES: usize = 1024;

pub(super) struct Audit {
    who: String,
    command: String,
}

impl Audit {
    pub(super) fn begin(who: &str, ready: &Ready) -> Self {
        let command = command_line(&ready.plan.argv);
        let variables = ready.variables.join(",");
        let (user, input) = (&ready.user, ready.stdin.len());
        tracing::info!(audit = "command", who, command, user, variables, input, "begins");
        Self { who: who.to_owned(), command }
    }

    pub(super) fn end(self, response: &CommandResponse) {
        let Self { who, command } = self;
        let outcome = wire::outcome_word(response);
        let count = |output: &Option<proto::agent::v1::CommandOutput>| output.as_ref().map_or(0, |o| o.total_bytes);
        let (stdout, stderr) = (count(&response.stdout), count(&response.stderr));
        let ms = response.wall_time.map_or(0, |wall| wall.seconds * 1000 + i64::from(wall.nanos) / 1_000_000);
        tracing::info!(audit = "command", who, command, outcome, ms, stdout, stderr, "ended");
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
