//! The messages, and nothing else: what they mean stands in the `.proto` files, how they turn into our own types in
//! the `wire.rs` of each host.

// Generated code is not ours to tidy.
#![allow(clippy::all, missing_docs, unreachable_pub)]

mod methods;
mod redacted;

pub use methods::{METHODS, twice, without_row};

/// What a node does.
pub mod agent {
    /// First version.
    pub mod v1 {
        tonic::include_proto!("pi.agent.v1");
    }
}

/// What nodes and other instances ask of the control plane.
pub mod control {
    /// First version.
    pub mod v1 {
        tonic::include_proto!("pi.control.v1");
    }
}

/// What people ask of the control plane.
pub mod fleet {
    /// First version.
    pub mod v1 {
        tonic::include_proto!("pi.fleet.v1");
    }
}

/// All of the above as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
