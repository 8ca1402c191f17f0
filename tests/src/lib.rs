//! The harness: a real controller, real agents on simulated boards and the real command line, in one process, on free
//! ports, with a throw-away CA. A test is ten lines.

mod binary;
mod cluster;
mod exec;
mod faketime;
mod gpio;
pub mod history;
mod impostor;
pub mod kernel;
mod lone;
mod plain;
mod proxy;
mod size;
mod trust;

pub use binary::{Running, binary};
pub use cluster::{Cluster, Said, eventually};
pub use exec::{ExecNode, full, running, survivors};
pub use faketime::{clock_at, clock_of};
pub use gpio::{claim, direct, direct_at, keepalive, reason, trusting, write};
pub use impostor::Impostor;
pub use lone::Lone;
pub use plain::refusal;
pub use proxy::{Cut, Proxy};
pub use size::{Sorted, figure, is_full, seed, size};
pub use trust::to_node;
