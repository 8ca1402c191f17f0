//! Adds nothing to the agent: a simulated node is [`pi_agent::serve`] on a simulated board.

mod commands;
mod fleet;
mod log;
mod node;

pub use commands::{SimRunner, all_commands};
pub use fleet::{Fleet, UpError, up};
pub use log::NodeLog;
pub use node::{WIRED, hardware};
