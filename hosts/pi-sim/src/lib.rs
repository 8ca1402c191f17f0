//! Adds nothing to the agent: a simulated node is [`pi_agent::serve`] on a simulated board.

mod fleet;
mod log;
mod node;

pub use fleet::{Fleet, UpError, up};
pub use log::NodeLog;
pub use node::{WIRED, hardware};
