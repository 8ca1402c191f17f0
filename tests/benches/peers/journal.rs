//! A journal with many entries, as a service logs them that uses the journal's own protocol.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const SOCKET: &str = "/run/systemd/journal/socket";
const WORDS: [&str; 8] =
    ["connection", "from 192.168.1.17", "closed by peer", "GET /index.html", "200 OK", "after 12 ms", "retry", "done"];

/// Writes `entries` and waits until the journal has them.
///
/// # Panics
///
/// If there is no journald of our own.
pub(crate) fn fill(entries: usize) {
    assert!(std::env::var_os("PI_JOURNALD_PID").is_some(), "to be run by tests/benches/peers/run");
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.connect(SOCKET).expect(SOCKET);
    for number in 0..entries {
        let message: Vec<&str> = (0..2 + number % 5).map(|word| WORDS[(number / 7 + word * 3) % WORDS.len()]).collect();
        let text = format!(
            "MESSAGE={number} {}\nPRIORITY={}\nSYSLOG_IDENTIFIER=web\nSYSLOG_FACILITY=3\nCODE_FILE=src/server.c\n\
             CODE_LINE={}\nCODE_FUNC=serve_request\n",
            message.join(" "),
            3 + number % 5,
            100 + number % 40,
        );
        // waits while journald has enough
        socket.send(text.as_bytes()).expect(SOCKET);
    }
    let last = format!("{} ", entries - 1);
    let start = Instant::now();
    while !newest().starts_with(&last) {
        assert!(start.elapsed() < Duration::from_secs(60), "journald has not all of it");
        thread::sleep(Duration::from_millis(50));
    }
}

fn newest() -> String {
    let journalctl = Command::new("journalctl").args(["--quiet", "--output=cat", "--lines=1"]).output();
    String::from_utf8(journalctl.expect("journalctl").stdout).unwrap_or_default()
}

/// Fields of the newest entry, without those that say where it stands.
pub(crate) fn fields() -> usize {
    let journalctl = Command::new("journalctl").args(["--quiet", "--output=export", "--lines=1"]).output();
    let text = String::from_utf8(journalctl.expect("journalctl").stdout).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("__")).count()
}
