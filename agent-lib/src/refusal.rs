//! Why the agent did not do it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;
use core::time::Duration;

use hal_core::{Fault, FaultKind, LineId, PwmChannelId};

use crate::{Bus, Holder, PwmRefusal, Token};

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
    /// A bus that the agent uses needs the line.
    #[error("{line} belongs to {bus}, which this agent has in use; choose another line, or forbid the bus and restart")]
    OnBus {
        /// The line.
        line: LineId,
        /// The bus.
        bus: Bus,
    },
    /// Somebody else holds the line.
    #[error("{line} is held by {holder} for {} s{}", held_for.as_secs(), way_out(*lease_left))]
    Held {
        /// The line.
        line: LineId,
        /// Who holds it.
        holder: Holder,
        /// For how long they have held it.
        held_for: Duration,
        /// For how long they still hold it unless they renew; `None` if they hold it until they release it.
        lease_left: Option<Duration>,
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
    /// The caller held the line until their lease ran out. It has been made safe (or is about to be), and nothing they
    /// do on it counts until somebody claims it: a call that arrives late must not start anything again.
    #[error("the lease on {line} ran out {:.1} s ago; claim the line again", ago.as_secs_f32())]
    LeaseExpired {
        /// The line.
        line: LineId,
        /// How long ago.
        ago: Duration,
    },
    /// The call carries the token of another hold than the one in force.
    #[error("token {given} is not the one that {line} is held under now; claim the line again")]
    StaleToken {
        /// The line.
        line: LineId,
        /// The token of the call.
        given: Token,
        /// The token in force; `None` if nobody holds the line.
        current: Option<Token>,
    },
    /// A lease is too short or too long.
    #[error("a lease of {} ms on {line} is out of range; ask for 100 ms to 24 h", ttl.as_millis())]
    LeaseOutOfRange {
        /// The line.
        line: LineId,
        /// The lease asked for.
        ttl: Duration,
    },
    /// Nothing says how a leased line is to be left.
    #[error("{line} has no declared safe state; say with the lease how to leave it: hold, input, low or high")]
    SafeStateRequired {
        /// The line.
        line: LineId,
    },
    /// The caller may not hold a line with a declared safe state without a lease.
    #[error("{line} may not be held for good by this caller; claim it with a lease")]
    PermanentNotAllowed {
        /// The line.
        line: LineId,
    },
    /// The caller may not take lines from others.
    #[error("{line} is held by {holder} and may not be taken from them by this caller; ask them to release it")]
    StealNotAllowed {
        /// The line.
        line: LineId,
        /// Who holds it.
        holder: Holder,
    },
    /// A pulse is too short, too long, or too many.
    #[error(
        "the pulse on {line} is out of range; ask for 1 to 10000 pulses of 1 ms to 1 h, as far apart, and 24 h in all"
    )]
    PulseOutOfRange {
        /// The line.
        line: LineId,
    },
    /// A signal is out of range.
    #[error(transparent)]
    Pwm(#[from] PwmRefusal),
    /// Another line has the PWM channel.
    #[error(
        "{line} and {other} share {channel}, which {other} uses, held by {holder} for {} s; release {other} first",
        held_for.as_secs()
    )]
    SharedChannel {
        /// The line asked for.
        line: LineId,
        /// The line that has the channel.
        other: LineId,
        /// The channel.
        channel: PwmChannelId,
        /// Who holds the other line.
        holder: Holder,
        /// For how long they have held it.
        held_for: Duration,
    },
    /// The PWM block drives the line, and can only drive it low, high, or with a signal.
    #[error("{line} is driven by its PWM channel, as a plain output only; release it before you set it up otherwise")]
    CarriesPwm {
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
            Self::Pwm(refusal) => Some(refusal.line()),
            Self::NotAllowed { line }
            | Self::OnBus { line, .. }
            | Self::Held { line, .. }
            | Self::NotHeld { line }
            | Self::WrongDirection { line }
            | Self::DuplicateLine { line }
            | Self::LeaseExpired { line, .. }
            | Self::StaleToken { line, .. }
            | Self::LeaseOutOfRange { line, .. }
            | Self::SafeStateRequired { line }
            | Self::PermanentNotAllowed { line }
            | Self::StealNotAllowed { line, .. }
            | Self::PulseOutOfRange { line }
            | Self::SharedChannel { line, .. }
            | Self::CarriesPwm { line }
            | Self::Hardware { line, .. } => Some(*line),
        }
    }

    pub(crate) fn hardware(line: LineId, fault: impl Fault) -> Self {
        Self::Hardware { line, kind: fault.fault(), source: Box::new(fault) }
    }
}

fn way_out(lease_left: Option<Duration>) -> String {
    match lease_left {
        None => "; ask them to release it".into(),
        Some(left) => alloc::format!(", lease {} s left; ask them to release it or wait", left.as_secs()),
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
        let held_for = Duration::from_millis(12_900);
        let refusal = |lease_left| Refusal::Held { line: LineId(17), holder: holder.clone(), held_for, lease_left };
        let told = "GPIO17 is held by operator/anna for 12 s; ask them to release it";
        assert_eq!(refusal(None).to_string(), told);
        let told = "GPIO17 is held by operator/anna for 12 s, lease 3 s left; ask them to release it or wait";
        assert_eq!(refusal(Some(Duration::from_millis(3_100))).to_string(), told);
        assert_eq!(refusal(None).line(), Some(LineId(17)));
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
