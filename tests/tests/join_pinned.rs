//! S2: nobody can join, or serve, without the CA that the token pins: no flag, no variable, no feature, no text.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tests::{Cluster, binary, figure};

const HOSTS: [&str; 4] = ["pi-agent", "pi-controller", "pictl", "pi-sim"];

/// Words for what must not be.
const WAYS_ROUND: [&str; 14] = [
    "insecure",
    "no-verify",
    "noverify",
    "skip-verify",
    "skip-tls",
    "no-tls",
    "plaintext",
    "unpinned",
    "no-pin",
    "tofu",
    "first use",
    "accept-any",
    "trust-any",
    "unsafe",
];

fn ways_round(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    WAYS_ROUND.into_iter().filter(|word| text.contains(word)).collect()
}

/// The help of a command and of all below it.
fn help(host: &str, command: &[String]) -> Vec<(String, String)> {
    let output = Command::new(binary(host)).args(command).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("Usage:"), "{host} {command:?}: {text}");
    let below = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // a description may go on in the next line, further to the right
    let names = below.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let names: Vec<_> = names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help").collect();
    let deeper = names.into_iter().flat_map(|name| help(host, &[command, &[name.to_owned()]].concat()));
    let deeper: Vec<_> = deeper.collect();
    [vec![(format!("{host} {}", command.join(" ")), text)], deeper].concat()
}

#[test]
fn no_help_names_a_way_round() {
    let helps: Vec<_> = HOSTS.iter().flat_map(|host| help(host, &[])).collect();
    let commands: Vec<_> = helps.iter().map(|(command, _)| command.trim().to_owned()).collect();
    for known in ["pi-agent join", "pi-controller token create", "pictl node approve", "pi-sim up"] {
        assert!(commands.iter().any(|command| command == known), "{known} is not in {commands:?}");
    }
    for (command, text) in &helps {
        assert_eq!(ways_round(text), [""; 0], "{command}:\n{text}");
    }
    figure(format!("the help of {} commands names no way round", helps.len()));
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, files),
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            false => {}
        }
    }
}

#[test]
fn one_place_opens_connections_one_accepts_them_and_no_feature_changes_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for host in std::fs::read_dir(root.join("hosts")).unwrap() {
        let host = host.unwrap().path();
        sources(&host.join("src"), &mut files);
        let manifest = std::fs::read_to_string(host.join("Cargo.toml")).unwrap();
        assert_eq!(ways_round(&manifest), [""; 0], "{}", host.display());
    }
    let with = |word: &str| {
        let has = |file: &&PathBuf| std::fs::read_to_string(file).unwrap().contains(word);
        let names = files.iter().filter(has).map(|file| file.file_name().unwrap().to_string_lossy().into_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(with("ClientConfig::builder"), ["dialer.rs"], "one place opens connections");
    assert_eq!(with("ServerConfig::builder"), ["acceptor.rs"], "one place accepts them");
    assert_eq!(with("with_no_client_auth"), [""; 0]);
    for tonics_own in ["ServerTlsConfig", "ClientTlsConfig", ".tls_config(", "Endpoint::connect", ".connect_lazy("] {
        assert_eq!(with(tonics_own), [""; 0], "{tonics_own}");
    }
    // the only doors of the dialer: a trust, or the pin of a token
    let dialer = std::fs::read_to_string(root.join("hosts/mtls/src/dialer.rs")).unwrap();
    assert!(dialer.contains("pub fn new(own: Arc<OwnCertificate>, trust: Arc<Trust>"));
    assert!(dialer.contains("pub fn joining(own: Arc<OwnCertificate>, token: &JoinToken"));
    figure(format!("{} files: one opens connections, one accepts them", files.len()));
}

fn agent(arguments: &[&str], input: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary("pi-agent"));
    command.args(arguments).env_clear().envs(variables.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_joins_without_the_pin() {
    let cluster = Cluster::start().await;
    let text = cluster.token(1).await.to_text().to_string();
    let (address, state) = (cluster.address.to_string(), cluster.folder("state").display().to_string());
    let arguments = ["join", "-", "--controller", &address, "--state", &state, "--name", "pi-1", "--timeout", "1"];
    let mut tried = 0;
    let mut fails = |more: &[&str], input: &str, variables: &[(&str, &str)], code: i32| {
        let output = agent(&[&arguments[..], more].concat(), input, variables);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{more:?}: {said}");
        tried += 1;
        said
    };
    for flag in ["--insecure", "--no-verify", "--skip-verify", "--plaintext", "--no-tls", "--no-pin", "-k", "--force"] {
        fails(&[flag], &text, &[], 2);
    }
    // a token with another pin, with an empty one, and without; whatever the environment says
    let parts: Vec<&str> = text.split('.').collect();
    let without = [&parts[..2], &parts[3..]].concat().join(".");
    let empty = [&parts[..2], &[""], &parts[3..]].concat().join(".");
    let variables = ["INSECURE", "PI_INSECURE", "SSL_CERT_FILE", "NODE_TLS_REJECT_UNAUTHORIZED", "RUSTLS_INSECURE"];
    let variables: Vec<_> = variables.iter().map(|name| (*name, "1")).collect();
    for broken in [&without, &empty, "", "pijoin1", &text[..text.len() - 1]] {
        let said = fails(&[], broken, &variables, 1);
        assert!(said.contains("join token") && said.lines().count() == 1, "{said}");
    }
    // the control: the whole token joins
    let output = tokio::task::spawn_blocking({
        let (arguments, text) = (arguments.map(str::to_owned), text.clone());
        move || agent(&arguments.each_ref().map(String::as_str), &text, &[])
    });
    let output = output.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    figure(format!("{tried} runs without the pin failed, the one with it joined"));
}
