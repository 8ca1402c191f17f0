//! Hosts as processes of their own, as people start them: with files for all that they say, and the loosest umask there is.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::{binary, eventually};

/// A folder for a cluster of processes, and the address of its controller.
pub struct Hosts {
    folder: TempDir,
    /// Where the controller serves.
    pub address: String,
}

/// A process that is killed when its value goes.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Hosts {
    /// A folder, and a free port.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let hosts = Self { folder, address: port.expect("a port").to_string() };
        std::fs::create_dir(hosts.path("said")).expect("a folder");
        hosts
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The file of the CA's key, below the folder.
    ///
    /// # Panics
    ///
    /// If there is not exactly one.
    pub fn ca_key(&self) -> String {
        let files = std::fs::read_dir(self.path("controller/ca")).expect("the CA's folder").flatten();
        let names: Vec<String> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
        let [name] = &names[..] else { panic!("{names:?}") };
        format!("controller/ca/{name}")
    }

    /// What will say `said/<name>.out` and `.err` and logs everything.
    fn command(&self, name: &str, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(program).args(arguments);
        let file = |end: &str| {
            let path = self.path("said").join(format!("{name}.{end}"));
            File::options().create(true).append(true).open(path).expect("a file")
        };
        command.env("PI_LOG", "trace").env("RUST_BACKTRACE", "1").stdin(Stdio::null());
        command.stdout(file("out")).stderr(file("err"));
        command
    }

    /// Runs a host to its end; with this input, if there is one.
    ///
    /// # Panics
    ///
    /// If it cannot be run.
    pub fn run(&self, host: &str, arguments: &[&str], input: Option<&str>, environment: &[(&str, &str)]) -> ExitStatus {
        let mut command = self.command(host, &binary(host), arguments);
        command.envs(environment.iter().copied());
        if let Some(input) = input {
            let path = self.path("input");
            mtls::write_private(&path, input.as_bytes()).expect("a file");
            command.stdin(File::open(&path).expect("a file"));
            std::fs::remove_file(path).expect("a file");
        }
        command.status().expect(host)
    }

    /// Starts a program that goes on.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(&self, name: &str, program: &Path, arguments: &[&str], input: Stdio) -> Process {
        Process(self.command(name, program, arguments).stdin(input).spawn().expect(name))
    }

    /// Makes the cluster `lab`.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn init(&self) {
        let (state, address) = (self.text("controller"), self.address.clone());
        let init = ["init", "--cluster", "lab", "--state", &state, "--listen", &address, "--advertise", &address];
        assert!(self.run("pi-controller", &init, None, &[]).success(), "{}", self.said("pi-controller"));
    }

    /// Starts the controller, and waits until it serves.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub async fn serve_controller(&self) -> Process {
        let state = self.text("controller");
        let controller =
            self.start("controller", &binary("pi-controller"), &["serve", "--state", &state], Stdio::null());
        eventually(async || tokio::net::TcpStream::connect(&self.address).await.is_ok()).await;
        controller
    }

    /// Makes a join token in this file.
    ///
    /// # Panics
    ///
    /// If the controller refuses.
    pub fn make_token(&self, file: &str) {
        let (state, file) = (self.text("controller"), self.text(file));
        let create = ["token", "create", "--context", &state, "--out", &file];
        assert!(self.run("pi-controller", &create, None, &[]).success(), "{}", self.said("pi-controller"));
    }

    /// What all processes of this name have said on standard error.
    ///
    /// # Panics
    ///
    /// If none has been started.
    pub fn said(&self, name: &str) -> String {
        let bytes = std::fs::read(self.path("said").join(format!("{name}.err"))).expect("a file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What all processes of this name have said on standard output.
    ///
    /// # Panics
    ///
    /// If none has been started.
    pub fn printed(&self, name: &str) -> String {
        let bytes = std::fs::read(self.path("said").join(format!("{name}.out"))).expect("a file");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Default for Hosts {
    fn default() -> Self {
        Self::new()
    }
}

/// Every file below a folder, without following links; folders first, the folder itself among them.
///
/// # Panics
///
/// If one cannot be read.
pub fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(all_below(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}
