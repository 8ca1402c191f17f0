//! `pi-agent join` as a process: where it takes the token from, what it says meanwhile, and that it does not give up
//! at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use mtls::{Credentials, JoinToken};
use tests::{Cluster, Proxy, binary};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// A machine that is to join as `name`.
fn machine(cluster: &Cluster, name: &str, address: &str) -> Command {
    let mut command = Command::new(binary("pi-agent"));
    let state = cluster.folder(name);
    command.args(["join", "--controller", address, "--name", name, "--state"]).arg(state).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Whether it ended well, and what it said: standard output and error.
async fn end(child: Child) -> (bool, String, String) {
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn write(cluster: &Cluster, name: &str, token: &JoinToken, mode: u32) -> PathBuf {
    let file = cluster.folder(name);
    fs::write(&file, &*token.to_text()).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_comes_by_file_by_standard_input_or_as_a_credential() {
    let cluster = Cluster::start().await;
    let (token, address) = (cluster.token(3).await, cluster.address.to_string());

    let loose = write(&cluster, "loose.token", &token, 0o640);
    let (joined, _, said) = end(machine(&cluster, "pi-1", &address).arg(&loose).spawn().unwrap()).await;
    assert!(!joined && said.contains("loose.token can be read by others (mode 0640)"), "{said}");
    let file = write(&cluster, "join.token", &token, 0o600);
    let (joined, said, err) = end(machine(&cluster, "pi-1", &address).arg(&file).spawn().unwrap()).await;
    assert!(joined && said == "joined lab as node pi-1; next: pi-agent serve\n", "{said}{err}");
    assert!(!file.exists() && loose.exists(), "deleted after the join, and only then");

    let mut child = machine(&cluster, "pi-2", &address).arg("-").spawn().unwrap();
    child.stdin.take().unwrap().write_all(token.to_text().as_bytes()).await.unwrap();
    assert!(end(child).await.0);

    let credentials = cluster.folder("credentials");
    fs::create_dir(&credentials).unwrap();
    write(&cluster, "credentials/join-token", &token, 0o440);
    let mut child = machine(&cluster, "pi-3", &address);
    let (joined, _, said) = end(child.env("CREDENTIALS_DIRECTORY", &credentials).spawn().unwrap()).await;
    assert!(joined, "{said}");

    // once more: an error, or nothing to do where a boot may come twice
    let file = write(&cluster, "again.token", &token, 0o600);
    let (joined, _, said) = end(machine(&cluster, "pi-1", &address).arg(&file).spawn().unwrap()).await;
    assert!(!joined && said.contains("this machine has joined") && file.exists(), "{said}");
    let again = machine(&cluster, "pi-1", &address).arg("--if-needed").arg(&file).spawn().unwrap();
    assert!(end(again).await.0 && !file.exists());

    // nowhere else
    let text = token.to_text();
    let seed = text.split('.').nth(4).unwrap();
    let (joined, _, said) = end(machine(&cluster, "pi-4", &address).arg(&*text).spawn().unwrap()).await;
    assert!(!joined && said.contains("pictl token revoke") && !said.contains(seed), "{said}");
    let mut child = machine(&cluster, "pi-4", &address);
    let (joined, _, said) = end(child.env("PI_JOIN_TOKEN", &*text).spawn().unwrap()).await;
    assert!(!joined && said.contains("name a file with the join token"), "{said}");
    assert!(!Credentials::exist(&cluster.folder("pi-4")));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_a_network_that_comes_late() {
    let cluster = Cluster::start().await;
    let (token, way) = (cluster.token(1).await, Proxy::to(cluster.address).await);
    way.hold();
    let file = write(&cluster, "join.token", &token, 0o600);
    let mut child = machine(&cluster, "pi-1", &way.address.to_string()).arg(&file).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = errors.next_line().await.unwrap().unwrap();
    let told =
        said.starts_with("cannot join through 127.0.0.1:") && said.contains("no answer within 5 s; trying again");
    assert!(told, "{said}");
    way.let_go();
    let (joined, said, _) = end(child).await;
    assert!(joined && said.starts_with("joined lab as node pi-1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_try_again_what_is_in_vain() {
    let cluster = Cluster::start().await;
    let token = cluster.token(1).await;
    let elsewhere = JoinToken::new("lab", [7; 32], token.id(), JoinToken::new_seed().unwrap()).unwrap();
    let file = write(&cluster, "join.token", &elsewhere, 0o600);
    let child = machine(&cluster, "pi-1", &cluster.address.to_string()).arg(&file).spawn().unwrap();
    let (joined, _, said) = end(child).await;
    assert!(!joined && said.lines().count() == 1 && said.contains("not the one that the join token names"), "{said}");
    assert!(file.exists(), "a token that was not used stays");
}
