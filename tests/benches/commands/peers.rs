//! An sshd of our own on loopback, under as many names as there are nodes, each with a connection of its own; ssh and ansible that call it.

use std::error::Error;
use std::fmt::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// How ssh agrees on its keys.
pub(crate) enum Kex {
    /// As its version prefers it.
    Usual,
    Curve25519,
}

/// How ansible runs a command.
pub(crate) enum Module {
    /// As ssh would.
    Raw,
    /// With its own Python on the node.
    Command,
}

pub(crate) struct Peers {
    folder: PathBuf,
    _sshd: Child,
    /// Keeps its connection for others.
    _master: Child,
}

impl Peers {
    pub(crate) async fn start(folder: &Path, count: usize) -> Result<Self, Box<dyn Error>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        configure(folder, port, count).await?;
        // it insists on its absolute path
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config")).kill_on_drop(true);
        let sshd = sshd.stderr(std::fs::File::create(folder.join("sshd.log"))?).spawn()?;
        let mut master = ssh_command(folder);
        master.arg("-o").arg(control_path(folder)).args(["-M", "-N", "node1"]).kill_on_drop(true);
        // until it listens
        for _ in 0..100 {
            if done(with(ssh_command(folder), &["node1", "true"])).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let master = master.spawn()?;
        let peers = Self { folder: folder.to_owned(), _sshd: sshd, _master: master };
        for _ in 0..100 {
            if folder.join("master").exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        peers.ssh_on_master().await?;
        Ok(peers)
    }

    /// A connection of its own.
    pub(crate) async fn ssh(&self, kex: Kex) -> Result<(), Box<dyn Error>> {
        let kex: &[&str] = match kex {
            Kex::Usual => &[],
            Kex::Curve25519 => &["-o", "KexAlgorithms=curve25519-sha256"],
        };
        done(with(with(ssh_command(&self.folder), kex), &["node1", "true"])).await
    }

    pub(crate) async fn ssh_on_master(&self) -> Result<(), Box<dyn Error>> {
        let mut command = ssh_command(&self.folder);
        command.arg("-o").arg(control_path(&self.folder)).args(["node1", "true"]);
        done(command).await
    }

    /// On all nodes at once; its connections stay open for the next time.
    pub(crate) async fn ansible(&self, module: Module) -> Result<(), Box<dyn Error>> {
        let module = match module {
            Module::Raw => "raw",
            Module::Command => "command",
        };
        let mut command = Command::new("ansible");
        command.args(["all", "-m", module, "-a", "true"]).env("ANSIBLE_CONFIG", self.folder.join("ansible.cfg"));
        command.env("HOME", &self.folder).env("LC_ALL", "C.UTF-8");
        done(command).await
    }
}

fn ssh_command(folder: &Path) -> Command {
    let mut command = Command::new("ssh");
    command.arg("-F").arg(folder.join("ssh_config"));
    command
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

fn control_path(folder: &Path) -> String {
    format!("ControlPath={}", folder.join("master").display())
}

/// Runs it to its end, which must be a good one.
pub(crate) async fn done(mut command: Command) -> Result<(), Box<dyn Error>> {
    let ended =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?.wait_with_output().await?;
    if ended.status.success() {
        return Ok(());
    }
    let said = [ended.stdout, ended.stderr].concat();
    Err(format!("{:?} failed: {}", command.as_std(), String::from_utf8_lossy(&said)).into())
}

async fn configure(folder: &Path, port: u16, count: usize) -> Result<(), Box<dyn Error>> {
    for key in ["host_key", "key"] {
        done(with(Command::new("ssh-keygen"), &["-q", "-t", "ed25519", "-N", "", "-f", &file(folder, key)])).await?;
    }
    std::fs::copy(folder.join("key.pub"), folder.join("authorized_keys"))?;
    let user = String::from_utf8(Command::new("id").arg("-un").output().await?.stdout)?;
    let sshd = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 200\nMaxSessions 200\nSetEnv HOME={}\n",
        file(folder, "host_key"),
        file(folder, "authorized_keys"),
        // a shell that sshd starts reads its user's ~/.bashrc, whatever stands there: we measure ssh, not that
        folder.display(),
    );
    let mut inventory = "[all]\n".to_owned();
    for number in 1..=count {
        writeln!(inventory, "node{number} ansible_python_interpreter=/usr/bin/python3")?;
    }
    let ssh = format!(
        "Host *\n  HostName 127.0.0.1\n  Port {port}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n\
         \x20 UserKnownHostsFile /dev/null\n  LogLevel ERROR\n",
        user.trim(),
        file(folder, "key")
    );
    let ansible = format!(
        "[defaults]\ninventory = {}\nforks = {count}\nhost_key_checking = False\nremote_tmp = {}\nlocal_tmp = {}\n\
         [ssh_connection]\nssh_args = -F {} -o ControlMaster=auto -o ControlPersist=600s\ncontrol_path_dir = {}\n",
        file(folder, "inventory"),
        file(folder, "remote"),
        file(folder, "local"),
        file(folder, "ssh_config"),
        file(folder, "cp"),
    );
    let files = [("sshd_config", sshd), ("ssh_config", ssh), ("inventory", inventory), ("ansible.cfg", ansible)];
    for (name, text) in files {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn file(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}
