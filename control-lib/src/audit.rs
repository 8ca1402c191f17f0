//! What was done, by whom, to what.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done.
    Allowed,
    /// Refused.
    Denied,
    /// Refused, and a person should look at it: somebody may be using what is not theirs.
    Alarm,
}

impl Outcome {
    /// The word that is stored and shown: `allowed`, `denied` or `alarm`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
            Outcome::Alarm => "alarm",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(word: &str) -> Result<Outcome, UnknownOutcome> {
        let all = [Outcome::Allowed, Outcome::Denied, Outcome::Alarm];
        all.into_iter().find(|outcome| outcome.as_str() == word).ok_or(UnknownOutcome)
    }
}

/// The word is no [`Outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write allowed, denied or alarm")]
pub struct UnknownOutcome;

/// One line of the audit. Never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When it was decided, by the control plane's clock.
    pub at: SystemTime,
    /// Who asked: an identity (`operator/anna`) or a join token (`token/…`).
    pub who: String,
    /// What was asked, as a word: `join`, `renew`, `token.create`, or the path of a method.
    pub action: String,
    /// What it was about, `node/pi-7` or `token/…`; empty if about nothing in particular.
    pub subject: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The rest in one sentence; empty if there is none.
    pub detail: String,
}

/// How often a call that goes on to a node leaves a row here. The node's own audit says what each call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// Never: it reads.
    Never,
    /// Each time, before it goes on.
    Each,
    /// The first time in a minute that somebody calls it on a node, before it goes on; then how often it was repeated.
    Minutely,
}

/// How calls of `method`, a full path, are recorded. What is not known is recorded each time.
pub fn recording(method: &str) -> Recording {
    let Some(method) = method.strip_prefix("/pi.agent.v1.NodeAgent/") else { return Recording::Each };
    match method {
        "GetJob" | "GetSystemMetrics" | "HealthCheck" | "ListJobs" | "StreamLogs" | "StreamMetrics" | "WatchGPIO" => {
            Recording::Never
        }
        // as often as a program likes, and reads are among them: the message is not decoded here
        "ControlGPIO" | "ScanI2c" | "TransferI2c" | "TransferSpi" => Recording::Minutely,
        _ => Recording::Each,
    }
}
