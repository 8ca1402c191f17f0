//! The harness: a real controller, real agents on simulated boards and the real command line, in one process, on free
//! ports, with a throw-away CA. A test is ten lines.

mod audit;
mod binary;
mod cluster;
mod exec;
mod gpio;
pub mod history;
mod impostor;
pub mod kernel;
mod lone;
mod operator;
mod plain;
mod proxy;
mod raw;
mod size;
mod trust;

pub use audit::{SmallDisk, audit_rows, audit_verifies, node_audit_rows, node_audit_verifies};
pub use binary::{Running, binary};
pub use cluster::{Cluster, Said, eventually};
pub use exec::{ExecNode, full, running, survivors};
pub use gpio::{claim, direct, direct_at, keepalive, reason, trusting, write};
pub use impostor::Impostor;
pub use lone::Lone;
pub use operator::{ToNode, client_of, operator, proxied};
pub use plain::refusal;
pub use proxy::{Cut, Proxy};
pub use raw::{UNREADABLE, call_raw};
pub use size::{Sorted, figure, is_full, seed, size};
pub use trust::to_node;
