//! The hosts as processes, for what cannot be done to a part of one's own process: kill it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use tokio::process::Child;

/// The path of a host's binary, built with what this test was built from.
///
/// # Panics
///
/// If it does not build.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let hosts = ["pi-agent", "pi-controller", "pictl", "pi-sim"].map(|host| format!("--package={host}"));
        // target/<debug or release>/deps/<this test>
        let own = std::env::current_exe().expect("a path");
        let folder = own.ancestors().nth(2).expect("a target folder").to_owned();
        let release = folder.ends_with("release").then_some("--release");
        let built = Command::new(cargo).args(["build", "--quiet", "--bins"]).args(release).args(hosts).status();
        assert!(built.is_ok_and(|status| status.success()), "the hosts do not build");
        folder
    });
    folder.join(name)
}

/// A process that is killed when its value goes.
pub struct Running(pub Child);

impl Running {
    /// Starts it; its warnings go to this process's standard error.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_with(name, arguments, &[])
    }

    /// The same with more in its environment.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start_with(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = tokio::process::Command::new(binary(name));
        command.args(arguments).env("PI_LOG", "warn").envs(environment.iter().copied()).kill_on_drop(true);
        Self(command.spawn().expect(name))
    }
}
