//! What a caller did to lines and buses. Kept on the way of every call: a few words of memory; it becomes text later.

use std::sync::Arc;
use std::time::SystemTime;

use agent_lib::Holder;
use audit::{Entry, Repeats};
use hal_core::SpiDeviceId;
use mtls::PeerIdentity;
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::{GpioRequest, GpioResponse, GpioState};
use tonic::{Code, Status};

use crate::access::Principal;

/// What was asked for, before it is known how it ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    /// An operation on one line.
    Line {
        /// Such as `gpio.write`.
        action: &'static str,
        /// By its number; `None`: by its name, and it has not been found yet.
        pin: Option<u32>,
        /// The name that was given.
        name: String,
        /// The level that was asked for or came of it, as the message has it.
        level: i32,
    },
    /// An operation on several lines, each with a level.
    Lines {
        /// Such as `gpio.write`.
        action: &'static str,
        /// Their numbers and levels; empty while it is not known which they are.
        lines: Vec<(u32, i32)>,
    },
    /// A transaction that writes to a device.
    I2c { bus: u8, address: u8 },
    /// A probe of every allowed address.
    I2cScan { bus: u8 },
    /// A transfer.
    Spi(SpiDeviceId),
}

impl Asked {
    /// `None`: the request only reads, or keeps a lease alive, which changes no line.
    pub(crate) fn of(request: &GpioRequest) -> Option<Self> {
        let line = |action, level| {
            let (pin, name) = (request.pin, request.line.clone());
            Some(Self::Line { action, pin, name, level })
        };
        let lines = |action| Some(Self::Lines { action, lines: Vec::new() });
        match &request.operation {
            None if request.state == 0 => None,
            None => line("gpio.write", request.state),
            Some(Operation::Read(_) | Operation::List(_) | Operation::Keepalive(_)) => None,
            Some(Operation::Write(_)) => lines("gpio.write"),
            Some(Operation::ReleaseAll(_)) => lines("gpio.release-all"),
            Some(Operation::Toggle(_)) => line("gpio.toggle", 0),
            Some(Operation::Claim(_)) => line("gpio.claim", 0),
            Some(Operation::Configure(_)) => line("gpio.configure", 0),
            Some(Operation::Release(_)) => line("gpio.release", 0),
            Some(Operation::Pulse(_)) => line("gpio.pulse", 0),
            Some(Operation::Pwm(_)) => line("gpio.pwm", 0),
        }
    }

    /// Whether it leaves lines safe: that is done even where it cannot be written down.
    pub(crate) fn makes_safe(&self) -> bool {
        matches!(self, Self::Line { action: "gpio.release", .. } | Self::Lines { action: "gpio.release-all", .. })
    }

    /// With what the answer says of lines and levels.
    pub(super) fn answered(&mut self, response: &GpioResponse) {
        match self {
            Self::Line { pin, level, .. } => (*pin, *level) = (response.pin.or(*pin), response.state),
            Self::Lines { lines, .. } => {
                *lines = response.lines.iter().map(|status| (status.pin, status.state)).collect();
            }
            _ => {}
        }
    }

    fn action(&self) -> &'static str {
        match self {
            Self::Line { action, .. } | Self::Lines { action, .. } => action,
            Self::I2c { .. } => "i2c.transfer",
            Self::I2cScan { .. } => "i2c.scan",
            Self::Spi(_) => "spi.transfer",
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Line { pin: Some(pin), .. } => format!("GPIO{pin}"),
            Self::Line { name, .. } => cut(name),
            Self::Lines { lines, .. } => {
                lines.iter().map(|(pin, _)| format!("GPIO{pin}")).collect::<Vec<_>>().join(",")
            }
            Self::I2c { bus, address } => format!("I2C{bus}:0x{address:02x}"),
            Self::I2cScan { bus } => format!("I2C{bus}"),
            Self::Spi(device) => device.to_string(),
        }
    }

    fn levels(&self) -> String {
        match self {
            Self::Line { level, .. } => level_word(*level).to_owned(),
            Self::Lines { lines, .. } => {
                let words: Vec<&str> = lines.iter().map(|(_, level)| level_word(*level)).collect();
                words.join(",").trim_matches(',').to_owned()
            }
            _ => String::new(),
        }
    }
}

/// A name that a caller made up is as long as they like.
fn cut(name: &str) -> String {
    name.chars().take(64).collect()
}

fn level_word(level: i32) -> &'static str {
    match GpioState::try_from(level) {
        Ok(GpioState::High) => "high",
        Ok(GpioState::Low) => "low",
        _ => "",
    }
}

/// Who did what, and how it ended: what is the same is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Deed {
    pub(super) who: Holder,
    /// The controller that called on their behalf.
    pub(super) via: Option<Arc<PeerIdentity>>,
    pub(super) asked: Asked,
    pub(super) ended: i32,
}

impl Deed {
    /// Without making anything of it, for the way of every call.
    pub(super) fn is(&self, who: &Principal, asked: &Asked, ended: Code) -> bool {
        // the cheap and the different first
        self.ended == ended as i32
            && self.asked == *asked
            && self.who == *who.holder()
            && self.via.as_ref() == who.via()
    }

    /// As a row; `repeats` are further ones like it.
    pub(super) fn entry(&self, at: SystemTime, why: &str, repeats: Option<Repeats>) -> Entry {
        let (who, on_behalf_of) = parties(&self.who, self.via.as_deref());
        let outcome = if self.ended == Code::Ok as i32 { "done" } else { "refused" };
        let repeats = repeats.map(|repeats| repeats.told());
        let levels = self.asked.levels();
        let detail: Vec<&str> = [levels.as_str(), why, repeats.as_deref().unwrap_or_default()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        Entry {
            at,
            who,
            on_behalf_of,
            action: self.asked.action().to_owned(),
            subject: self.asked.subject(),
            outcome: outcome.to_owned(),
            detail: detail.join("; "),
        }
    }
}

/// Who was connected, and for whom they called.
pub(crate) fn parties(holder: &Holder, via: Option<&PeerIdentity>) -> (String, String) {
    match via.map(ToString::to_string) {
        None => (holder.to_string(), String::new()),
        Some(via) if via == holder.as_str() => (via, String::new()),
        Some(via) => (via, holder.to_string()),
    }
}

/// What a status says, cut to a sentence's length.
pub(super) fn why(outcome: &Result<GpioResponse, Status>) -> String {
    outcome.as_ref().err().map(|status| status.message().chars().take(200).collect()).unwrap_or_default()
}
