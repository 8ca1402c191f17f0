//! The harness: a real controller, real agents on simulated boards and the real command line, in one process, on free
//! ports, with a throw-away CA. A test is ten lines.

mod audit;
mod binary;
mod cluster;
mod exec;
mod gpio;
pub mod history;
pub mod kernel;
mod lone;
mod plain;
mod proxy;
mod size;
mod trust;

pub use audit::{SmallDisk, audit_rows, audit_verifies, node_audit_rows, node_audit_verifies};
pub use binary::{Running, binary};
pub use cluster::{Cluster, Said, eventually};
pub use exec::{ExecNode, full, running, survivors};
pub use gpio::{claim, direct, direct_at, keepalive, reason, trusting, write};
pub use lone::Lone;
pub use plain::refusal;
pub use proxy::Proxy;
pub use size::{Sorted, figure, is_full, seed, size};
pub use trust::to_node;
