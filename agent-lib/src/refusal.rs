//! Why the agent did not do it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;
use core::time::Duration;

use hal_core::{Fault, FaultKind, LineId};

use crate::Holder;

/// Why the agent refused. Nothing has changed then, except where a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The board has no line of this name.
    #[error("no line is called `{asked}`; {}", suggestion(near))]
    UnknownLine {
        /// The name asked for.
        asked: String,
        /// Names that may have been meant, nearest first; at most three.
        near: Vec<String>,
    },
    /// The node's policy keeps the line to itself.
    #[error("{line} is not allowed on this node; allow it in the agent's policy or choose another line")]
    NotAllowed {
        /// The line.
        line: LineId,
    },
    /// Somebody else holds the line.
    #[error("{line} is held by {holder} for {} s; ask them to release it", held_for.as_secs())]
    Held {
        /// The line.
        line: LineId,
        /// Who holds it.
        holder: Holder,
        /// For how long they have held it.
        held_for: Duration,
    },
    /// Nobody holds the line.
    #[error("{line} is not held by anybody; claim it first")]
    NotHeld {
        /// The line.
        line: LineId,
    },
    /// The caller holds the line, but not as an output.
    #[error("{line} is held, but not as an output; configure it as one first")]
    WrongDirection {
        /// The line.
        line: LineId,
    },
    /// The same line stands twice in one write.
    #[error("{line} is written twice in one call; name each line once")]
    DuplicateLine {
        /// The line.
        line: LineId,
    },
    /// The hardware did not do it. Of a write of several lines see [`Agent::write_all`](crate::Agent::write_all).
    #[error("{line} could not be used: {}", advice(*kind))]
    Hardware {
        /// The line.
        line: LineId,
        /// What kind of fault it was.
        kind: FaultKind,
        /// The board's own error.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Refusal {
    /// The line that the refusal is about; `None` when no line could be told from the name.
    pub fn line(&self) -> Option<LineId> {
        match self {
            Self::UnknownLine { .. } => None,
            Self::NotAllowed { line }
            | Self::Held { line, .. }
            | Self::NotHeld { line }
            | Self::WrongDirection { line }
            | Self::DuplicateLine { line }
            | Self::Hardware { line, .. } => Some(*line),
        }
    }

    pub(crate) fn hardware(line: LineId, fault: impl Fault) -> Self {
        Self::Hardware { line, kind: fault.fault(), source: Box::new(fault) }
    }
}

fn suggestion(near: &[String]) -> String {
    match near {
        [] => "list the lines to see their names".into(),
        near => alloc::format!("did you mean {}?", near.join(", ")),
    }
}

fn advice(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Busy => "another process or a driver uses it; stop that or choose another line",
        FaultKind::NoSuchLine => "the chip has no such line; list the lines",
        FaultKind::Denied => "the agent may not use the chip; give its user access",
        FaultKind::Unsupported => "this board cannot do that; see its capabilities",
        FaultKind::InvalidConfig => "the board rejects this configuration; try another",
        FaultKind::WrongMode => "its configuration does not fit; configure it first",
        FaultKind::Gone => "the chip has disappeared; check the hardware and restart the agent",
        FaultKind::Bus => "the chip did not answer; try again",
        _ => "the board failed; see the agent's log for the cause",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_conflict_names_the_holder_and_the_time() {
        let holder = Holder::new("operator/anna").unwrap();
        let refusal = Refusal::Held { line: LineId(17), holder, held_for: Duration::from_millis(12_900) };
        assert_eq!(refusal.to_string(), "GPIO17 is held by operator/anna for 12 s; ask them to release it");
        assert_eq!(refusal.line(), Some(LineId(17)));
    }

    #[test]
    fn an_unknown_name_comes_with_near_ones() {
        let unknown = |near: &[&str]| {
            let near = near.iter().map(ToString::to_string).collect();
            Refusal::UnknownLine { asked: "heatr".into(), near }.to_string()
        };
        assert_eq!(unknown(&["heater"]), "no line is called `heatr`; did you mean heater?");
        assert_eq!(unknown(&[]), "no line is called `heatr`; list the lines to see their names");
    }
}
