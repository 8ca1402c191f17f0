//! How many files and connections a process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open descriptors as far as this process may: systems start programs with 1,024, for the sake of those
/// that use `select`. Not for programs that start others, which would inherit it.
///
/// Where the system refuses, the limit stays as it is: a listener keeps to it.
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
