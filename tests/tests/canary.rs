//! S19, I7: secrets go through a whole cluster of processes that log all they can, and are then looked for in everything that
//! was written, printed or shown.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mtls::{Context, Credentials, JoinToken};
use proto::agent::v1::execute_stream_request::Input;
use proto::agent::v1::{CommandRequest, ExecuteStreamRequest};
use tests::{Hosts, all_below, eventually, figure, survivors};

const AGENT: &str = env!("CARGO_BIN_EXE_bench-sim-agent");

/// A secret, and the one file in which it may be.
struct Canary {
    name: &'static str,
    bytes: Vec<u8>,
    at_home: Option<&'static str>,
}

impl Canary {
    fn new(name: &'static str, bytes: impl Into<Vec<u8>>, at_home: Option<&'static str>) -> Self {
        Self { name, bytes: bytes.into(), at_home }
    }

    /// As it is, and as logs, dumps and `Debug` would have it.
    fn forms(&self) -> Vec<Vec<u8>> {
        let (mut hex, mut list) = (String::new(), String::new());
        for byte in &self.bytes {
            write!(hex, "{byte:02x}").unwrap();
            write!(list, "{byte}, ").unwrap();
        }
        let pem = mtls::write_pem("X", &self.bytes);
        let base64 = pem.lines().nth(1).unwrap().trim_end_matches('=');
        let base64 = &base64[..base64.len() - 1]; // the last letter depends on what follows
        vec![self.bytes.clone(), hex.into(), list.trim_end_matches(", ").into(), base64.into()]
    }
}

/// The private number of a P-256 key in PKCS #8, where it always begins at the same place.
fn private_number(pkcs8: &[u8]) -> Vec<u8> {
    pkcs8[36..68].to_vec()
}

fn key_of(file: &Path) -> Vec<u8> {
    private_number(mtls::parse_pem(&std::fs::read(file).unwrap()).unwrap().key.unwrap().secret_der())
}

/// Which canary is in which of these files, other than its home in the folder.
fn escaped(folder: &Path, files: &[PathBuf], canaries: &[Canary]) -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    for file in files.iter().filter(|path| path.is_file()) {
        let content = std::fs::read(file).unwrap();
        let home = file.strip_prefix(folder).unwrap();
        for canary in canaries.iter().filter(|canary| canary.at_home.map(Path::new) != Some(home)) {
            if canary.forms().iter().any(|form| contains(&content, form)) {
                found.push((canary.name, file.clone()));
            }
        }
    }
    found
}

fn contains(content: &[u8], form: &[u8]) -> bool {
    memchr::memmem::find(content, form).is_some()
}

/// As `tests::Hosts` runs `pictl`, with the secrets in its environment.
struct Operator<'a> {
    hosts: &'a Hosts,
    secrets: Vec<(&'static str, &'a str)>,
}

impl Operator<'_> {
    fn pictl(&self, arguments: &[&str], input: Option<&str>) -> bool {
        let context = self.hosts.text("controller/admin.context.toml");
        let all = [&["--context", context.as_str()][..], arguments].concat();
        self.hosts.run("pictl", &all, input, &self.secrets).success()
    }
}

fn unique(what: &str) -> String {
    format!("canary-{what}-{:016x}", fastrand::u64(..))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_was_written_or_said() {
    let hosts = Hosts::new();
    let (variable, stdin, configured, logged) = (unique("variable"), unique("stdin"), unique("config"), unique("log"));
    hosts.init();
    let controller = hosts.serve_controller().await;

    // tokens: a used one, a damaged one, one that nobody has made
    hosts.make_token("token");
    let text = std::fs::read_to_string(hosts.path("token")).unwrap();
    let token: JoinToken = text.parse().unwrap();
    let guessed = JoinToken::new("lab", token.ca_pin(), token.id(), JoinToken::new_seed().unwrap()).unwrap().to_text();
    let seed = |text: &str| text.trim().split('.').nth(4).unwrap().to_owned();
    let (token_seed, guessed_seed) = (seed(&text), seed(&guessed));
    let (state, address) = (hosts.text("pi-1"), hosts.address.clone());
    let join = |file: &str| {
        let file = hosts.text(file);
        let join = ["join", &file, "--controller", &address, "--name", "pi-1", "--state", &state];
        hosts.run("pi-agent", &join, None, &[]).success()
    };
    let other = if token_seed.starts_with('a') { 'b' } else { 'a' };
    let damaged = text.trim().replace(&token_seed, &format!("{other}{}", &token_seed[1..]));
    for wrong in [damaged.as_str(), &*guessed] {
        mtls::write_private(&hosts.path("wrong"), wrong.as_bytes()).unwrap();
        assert!(!join("wrong"));
        std::fs::remove_file(hosts.path("wrong")).unwrap();
    }
    assert!(join("token"), "{}", hosts.said("pi-agent"));

    let config = format!(
        "[logs.files]\napp = '{}'\n[exec]\nmode = 'any'\nallow_environment = ['SECRET']\nenvironment = {{ CONFIGURED = '{configured}' }}\n",
        hosts.text("app.log")
    );
    mtls::write_private(&hosts.path("pi-1/agent.toml"), config.as_bytes()).unwrap();
    std::fs::write(hosts.path("app.log"), format!("begun\nlogin with password={logged} failed\n")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let agent = hosts.start("agent", Path::new(AGENT), &[&state], OwnedFd::from(listener).into());
    let admin = Operator { hosts: &hosts, secrets: vec![("SECRET", &variable), ("FORBIDDEN", &variable)] };
    eventually(async || admin.pictl(&["node", "show", "pi-1"], None) && hosts.printed("pictl").contains("ready")).await;

    // commands: with everything, in the background, and those that cannot be
    let all_there = "test -n \"$SECRET\" && test -n \"$CONFIGURED\" && test -n \"$(cat)\"";
    assert!(admin.pictl(&["exec", "pi-1", "--env", "SECRET", "-i", "--", "sh", "-c", all_there], Some(&stdin)));
    assert!(
        admin.pictl(
            &["exec", "pi-1", "--env", "SECRET", "--detach", "--request-id", "r1", "--", "sleep", "861919"],
            None
        )
    );
    eventually(async || !survivors("861919").is_empty()).await;
    for secret in [&variable, &configured, &token_seed] {
        let lines = survivors(secret);
        assert!(lines.is_empty(), "on a command line: {lines:?}");
    }
    assert!(!admin.pictl(&["exec", "pi-1", "--env", "SECRET", "--", "/no/such/program"], None));
    assert!(!admin.pictl(&["exec", "pi-1", "--env", "FORBIDDEN", "--", "true"], None));
    assert!(!admin.pictl(&["exec", "pi-2", "--env", "SECRET", "--", "true"], None));
    assert!(admin.pictl(&["job", "list", "pi-1", "-o", "json"], None), "{}", hosts.said("pictl"));
    // logs
    assert!(admin.pictl(&["logs", "pi-1", "--file", "app"], None), "{}", hosts.said("pictl"));
    assert!(hosts.printed("pictl").contains("password=[redacted] failed"), "{}", hosts.printed("pictl"));
    drop((agent, controller));
    eventually(async || survivors("861919").is_empty()).await;

    let canaries = [
        Canary::new("token", text.trim(), None),
        Canary::new("token's seed", token_seed, None),
        Canary::new("guessed seed", guessed_seed, None),
        Canary::new("variable", variable, None),
        Canary::new("standard input", stdin, None),
        Canary::new("configured variable", configured, Some("pi-1/agent.toml")),
        Canary::new("logged password", logged, Some("app.log")),
        Canary::new("node's key", key_of(&hosts.path("pi-1/identity.pem")), None),
        Canary::new("CA's key", key_of(&hosts.path(&hosts.ca_key())), None),
        Canary::new(
            "operator's key",
            {
                let context = Context::load(&hosts.path("controller/admin.context.toml")).unwrap();
                private_number(context.credentials.key.secret_der())
            },
            None,
        ),
    ];
    let said: u64 = all_below(&hosts.path("said")).iter().map(|path| path.metadata().unwrap().len()).sum();
    figure(format!(
        "{} canaries, {} KiB of logs at level trace, {} files",
        canaries.len(),
        said / 1024,
        all_below(&hosts.path(".")).len()
    ));
    assert!(hosts.said("agent").contains("TRACE") && hosts.said("controller").contains("TRACE"), "logs at their most");
    let all = all_below(&hosts.path(""));
    let found = escaped(&hosts.path(""), &all, &canaries);
    assert!(found.is_empty(), "{found:#?}");
    // the keys are at home as PEM, which wraps their base64 elsewhere than `forms` does
    let homes = [("pi-1/identity.pem", 7), (&hosts.ca_key(), 8)];
    for (home, number) in homes {
        assert_eq!(key_of(&hosts.path(home)), canaries[number].bytes);
    }

    // control: each canary in each form would be found, wherever it is
    for canary in &canaries {
        for form in canary.forms() {
            let leak = [b"a line with ", &*form, b" in it\n"].concat();
            std::fs::write(hosts.path("said/planted.err"), leak).unwrap();
            let found = escaped(&hosts.path(""), &all_below(&hosts.path("said")), &canaries);
            assert!(
                found.iter().any(|(name, file)| *name == canary.name && file.ends_with("planted.err")),
                "{}",
                canary.name
            );
        }
    }
    let mut planted = std::process::Command::new("sleep").args(["0.861920", "3"]).spawn().unwrap();
    eventually(async || !survivors("0.861920").is_empty()).await;
    planted.kill().unwrap();
    planted.wait().unwrap();
}

/// What may hold secrets shows none of them when it is printed for debugging.
#[test]
fn debug_shows_no_secret() {
    let hosts = Hosts::new();
    hosts.init();
    let context = Context::load(&hosts.path("controller/admin.context.toml")).unwrap();
    let seed = JoinToken::new_seed().unwrap();
    let token = JoinToken::new("lab", [7; 32], "abc", seed.clone()).unwrap();
    let command = CommandRequest {
        argv: vec!["true".to_owned()],
        environment: BTreeMap::from([("NAME".to_owned(), "canary-variable".to_owned())]),
        parameters: BTreeMap::from([("text".to_owned(), "canary-parameter".to_owned())]),
        stdin: b"canary-stdin".to_vec(),
        ..CommandRequest::default()
    };
    let stdin = ExecuteStreamRequest { input: Some(Input::Stdin(b"canary-stdin".to_vec())) };
    let start = ExecuteStreamRequest { input: Some(Input::Start(command.clone())) };
    let own: &Credentials = &context.credentials;
    let shown = format!(
        "{context:?} {own:?} {token:?} {command:?} {stdin:?} {start:?} {:?}",
        tonic::Request::new(command.clone())
    );
    assert!(shown.contains("NAME") && shown.contains("[12 bytes]"), "{shown}");
    let canaries = [
        Canary::new("key", private_number(own.key.secret_der()), None),
        Canary::new("seed", seed.to_vec(), None),
        Canary::new("seed", token.to_text().split('.').nth(4).unwrap(), None),
        Canary::new("variable", "canary-variable", None),
        Canary::new("parameter", "canary-parameter", None),
        Canary::new("stdin", "canary-stdin", None),
    ];
    for canary in canaries {
        for form in canary.forms() {
            assert!(!contains(shown.as_bytes(), &form), "{}: {shown}", canary.name);
        }
    }
}
