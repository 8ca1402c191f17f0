//! `pictl shell` and `pictl exec -t`, the real program on a real terminal: what it makes of that terminal, and how it leaves
//! it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tests::{Cluster, ExecNode, Proxy, eventually, survivors};
use tokio::process::{Child, Command};

const PROBE: &str = env!("CARGO_BIN_EXE_exec-probe");
const SHELL: &str = "mode = 'any'\nshell = '/bin/sh'\nkill_grace_ms = 200\n";

/// A person at a terminal.
struct Person {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// The program's end, which a terminal has for as long as its window is open.
    terminal: OwnedFd,
    pictl: Child,
}

impl Person {
    fn sits_down(context: &std::path::Path, arguments: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let own = openpt(flags).unwrap();
        grantpt(&own).unwrap();
        unlockpt(&own).unwrap();
        let terminal = ioctl_tiocgptpeer(&own, flags).unwrap();
        tcsetwinsize(&own, size(91, 33)).unwrap();
        let end = || terminal.try_clone().unwrap();
        let mut command = Command::new(tests::binary("pictl"));
        command.arg("--context").arg(context).args(arguments).env("TERM", "vt100").kill_on_drop(true);
        let pictl = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keyboard = File::from(own);
        let (mut reader, screen) = (keyboard.try_clone().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut chunk) {
                shown.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        Self { keyboard, screen, terminal, pictl }
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    async fn sees(&self, text: &str) {
        let seen = async || String::from_utf8_lossy(&self.screen.lock().unwrap()).contains(text);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(15), eventually(seen)).await;
        assert!(waited.is_ok(), "no {text:?} in {:?}", String::from_utf8_lossy(&self.screen.lock().unwrap()));
    }

    /// As the kernel tells it, which is all that stty can show.
    fn settings(&self) -> String {
        format!("{:?}", tcgetattr(&self.terminal).unwrap())
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal)
            .unwrap()
            .local_modes
            .intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    fn resizes(&self, columns: u16, rows: u16) {
        tcsetwinsize(&self.keyboard, size(columns, rows)).unwrap();
        // from the kernel it comes to whoever has this as its controlling terminal, which a test's child has not
        self.signals(Signal::WINCH);
    }

    fn signals(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pictl.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn leaves(&mut self) -> Option<i32> {
        let waited = tokio::time::timeout(std::time::Duration::from_secs(60), self.pictl.wait()).await;
        waited.expect("pictl ends").unwrap().code()
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}

/// The settings of a terminal that nobody has touched.
fn untouched() -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let own = openpt(flags).unwrap();
    grantpt(&own).unwrap();
    unlockpt(&own).unwrap();
    format!("{:?}", tcgetattr(ioctl_tiocgptpeer(&own, flags).unwrap()).unwrap())
}

async fn ready(cluster: &Cluster) -> ExecNode {
    let node = ExecNode::start(cluster, PROBE, SHELL).await;
    eventually(async || cluster.pictl(&["node", "show", &node.name]).await.out.contains("ready")).await;
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_has_the_persons_window_and_leaves_the_terminal_as_it_was() {
    let cluster = Cluster::start().await;
    let node = ready(&cluster).await;
    let before = untouched();
    let mut person = Person::sits_down(&cluster.admin(), &["shell", "pi-1"]);
    eventually(async || person.is_raw()).await;
    assert_ne!(person.settings(), before);
    person.types("stty size; echo $TERM\r");
    person.sees("33 91\r\n").await;
    person.sees("vt100\r\n").await;
    person.resizes(100, 40);
    // pictl sends the size before the keys, but the agent has a queue for each: it may take the first keys first
    let mut seen = false;
    for _ in 0..20 {
        person.types("stty size\r");
        seen = tokio::time::timeout(std::time::Duration::from_millis(500), person.sees("40 100\r\n")).await.is_ok();
        if seen {
            break;
        }
    }
    assert!(seen, "the new size did not come");
    // Ctrl-C is the command's, not pictl's
    person.types("sleep 862001\r");
    eventually(async || survivors("862001").iter().any(|line| line.starts_with("sleep"))).await;
    person.types("\x03");
    eventually(async || survivors("862001").is_empty()).await;
    person.types("exit 7\r");
    assert_eq!(person.leaves().await, Some(7));
    assert_eq!(person.settings(), before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_on_a_terminal_ends_with_its_own_code() {
    let cluster = Cluster::start().await;
    let node = ready(&cluster).await;
    let before = untouched();
    let script = ["exec", "pi-1", "-t", "-i", "--script", "test -t 0 && test -t 1 && test -t 2 && read x && exit $x"];
    let mut person = Person::sits_down(&cluster.admin(), &script);
    eventually(async || person.is_raw()).await;
    person.types("9\r");
    assert_eq!(person.leaves().await, Some(9));
    assert_eq!(person.settings(), before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_as_it_was_after_sigterm_too() {
    let cluster = Cluster::start().await;
    let node = ready(&cluster).await;
    let before = untouched();
    let mut person = Person::sits_down(&cluster.admin(), &["exec", "pi-1", "-t", "-i", "--", "sleep", "862002"]);
    eventually(async || person.is_raw() && survivors("sleep 862002").iter().any(|l| l.starts_with("sleep"))).await;
    person.signals(Signal::TERM);
    assert_eq!(person.leaves().await, Some(128 + 15));
    assert_eq!(person.settings(), before);
    eventually(async || survivors("sleep 862002").is_empty()).await;
    // an interactive shell ignores SIGTERM: who ends pictl ends it all the same
    let mut person = Person::sits_down(&cluster.admin(), &["shell", "pi-1"]);
    eventually(async || person.is_raw()).await;
    person.types("echo rea''dy; trap '' TERM\r");
    person.sees("ready\r\n").await;
    person.signals(Signal::TERM);
    person.leaves().await;
    assert_eq!(person.settings(), before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_as_it_was_after_the_connection_is_cut() {
    let cluster = Cluster::start().await;
    let node = ready(&cluster).await;
    let before = untouched();
    let proxy = Proxy::to(node.address.parse().unwrap()).await;
    let bob = cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now());
    let context = cluster.context("bob.toml", &bob);
    let address = proxy.address.to_string();
    let mut person = Person::sits_down(&context, &["--direct", &address, "shell", "pi-1"]);
    eventually(async || person.is_raw()).await;
    person.types("echo rea''dy; sleep 862003\r");
    person.sees("ready\r\n").await;
    drop(proxy);
    assert_eq!(person.leaves().await, Some(6));
    assert_eq!(person.settings(), before);
    person.sees("pictl: ").await;
    eventually(async || survivors("sleep 862003").is_empty()).await;
    node.stop().await;
}
