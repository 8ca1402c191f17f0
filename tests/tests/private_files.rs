//! S16: every file and folder that a host writes is its owner's alone, whatever the umask, after each step and after kills;
//! and what was loosened is refused by name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{Permissions, metadata, set_permissions};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use mtls::{Context, Credentials, Expect};
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{CommandRequest, GpioRequest, GpioState};
use tests::{Hosts, Process, all_below, eventually};

const AGENT: &str = env!("CARGO_BIN_EXE_bench-sim-agent");

fn mode(path: &Path) -> u32 {
    metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Files 0600, folders 0700; how many there are.
fn all_private(when: &str, folder: &Path) -> usize {
    let all = all_below(folder);
    for path in &all {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(path), expected, "{when}: {} has {:04o}", path.display(), mode(path));
    }
    all.len()
}

struct Agent {
    process: Process,
    address: String,
}

fn serve_agent(hosts: &Hosts) -> Agent {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let process = hosts.start("agent", Path::new(AGENT), &[&hosts.text("pi-1")], OwnedFd::from(listener).into());
    Agent { process, address }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_writes_is_its_owners_alone() {
    let hosts = Hosts::new();
    let (controller_state, node) = (hosts.path("controller"), hosts.path("pi-1"));
    hosts.init();
    all_private("init", &controller_state);
    let mut controller = hosts.serve_controller().await;
    hosts.make_token("token");
    assert_eq!(mode(&hosts.path("token")), 0o600);
    let (token, state, address) = (hosts.text("token"), hosts.text("pi-1"), hosts.address.clone());
    let join = ["join", &token, "--controller", &address, "--name", "pi-1", "--state", &state];
    assert!(hosts.run("pi-agent", &join, None, &[]).success(), "{}", hosts.said("pi-agent"));
    assert!(!hosts.path("token").exists(), "the token is used up and gone");
    let joined = all_private("join", &node);
    assert!(all_private("a running controller", &controller_state) > 5);

    let config = "[gpio]\nrestore = { GPIO18 = 'last' }\n[exec]\nmode = 'any'\n[[operators]]\nname = 'admin'\nroles = ['gpio', 'exec']\n";
    mtls::write_private(&node.join("agent.toml"), config.as_bytes()).unwrap();
    let context = Context::load(&controller_state.join("admin.context.toml")).unwrap();
    // what it writes while it works: starts, levels, requests; killed in between, three times
    for round in 0..3 {
        let mut agent = serve_agent(&hosts);
        let channel = context.dialer().unwrap().channel(&agent.address, Expect::Node("pi-1".to_owned())).unwrap();
        let mut client = NodeAgentClient::new(channel);
        let state = if round % 2 == 0 { GpioState::High } else { GpioState::Low };
        let write = GpioRequest { pin: Some(18), state: state.into(), ..GpioRequest::default() };
        eventually(async || client.clone().control_gpio(write.clone()).await.is_ok()).await;
        let command = CommandRequest {
            argv: vec!["true".to_owned()],
            request_id: format!("r-{round}"),
            ..CommandRequest::default()
        };
        client.execute_command(command).await.unwrap();
        eventually(async || node.join("last-levels").exists()).await;
        assert!(all_private("a running agent", &node) >= joined + 3);
        agent.process.0.kill().unwrap();
        agent.process.0.wait().unwrap();
        all_private("a killed agent", &node);
    }
    controller.0.kill().unwrap();
    controller.0.wait().unwrap();
    all_private("a killed controller", &controller_state);
    let _controller = hosts.serve_controller().await;
    all_private("a controller after that", &controller_state);

    // new credentials in the place of the old, as a renewal writes them
    let half_written = node.join("identity.pem.new");
    std::fs::write(&half_written, "half").unwrap();
    set_permissions(&half_written, Permissions::from_mode(0o666)).unwrap();
    Credentials::load(&node).unwrap().store(&node).unwrap();
    all_private("new credentials", &node);
    assert!(Credentials::load(&node).is_ok());
}

/// What is refused until it is private again, and by which name.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_can_read_is_refused_by_name() {
    let hosts = Hosts::new();
    hosts.init();
    let controller = hosts.serve_controller().await;
    hosts.make_token("token");
    let (token, state, address) = (hosts.text("token"), hosts.text("pi-1"), hosts.address.clone());
    let join = ["join", &token, "--controller", &address, "--name", "pi-1", "--state", &state];
    set_permissions(hosts.path("token"), Permissions::from_mode(0o640)).unwrap();
    assert!(!hosts.run("pi-agent", &join, None, &[]).success());
    assert!(hosts.said("pi-agent").contains("/token can be read by others (mode 0640)"), "{}", hosts.said("pi-agent"));
    set_permissions(hosts.path("token"), Permissions::from_mode(0o600)).unwrap();
    assert!(hosts.run("pi-agent", &join, None, &[]).success());
    mtls::write_private(&hosts.path("pi-1/agent.toml"), b"").unwrap();
    drop(controller);

    let serve = ["serve", "--state", &hosts.text("controller")];
    let ends = async |process: &mut Process| {
        let mut ended = None;
        for _ in 0..400 {
            ended = process.0.try_wait().unwrap();
            if ended.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!ended.expect("it refuses to start").success());
    };
    for (file, loose, tight) in [
        ("pi-1/identity.pem", 0o644, 0o600),
        ("pi-1", 0o750, 0o700),
        (&hosts.ca_key(), 0o644, 0o600),
        ("controller", 0o755, 0o700),
    ] {
        set_permissions(hosts.path(file), Permissions::from_mode(loose)).unwrap();
        let name = match file.starts_with("pi-1") {
            true => {
                ends(&mut serve_agent(&hosts).process).await;
                "agent"
            }
            false => {
                let program = tests::binary("pi-controller");
                ends(&mut hosts.start("refused", &program, &serve, std::process::Stdio::null())).await;
                "refused"
            }
        };
        let expected = format!("{} can be read by others (mode {loose:04o})", hosts.text(file));
        assert!(hosts.said(name).contains(&expected), "{expected}: {}", hosts.said(name));
        set_permissions(hosts.path(file), Permissions::from_mode(tight)).unwrap();
    }
    // control: now nothing is refused
    let _controller = hosts.serve_controller().await;
    let agent = serve_agent(&hosts);
    eventually(async || tokio::net::TcpStream::connect(&agent.address).await.is_ok()).await;
    eventually(async || hosts.said("agent").contains("serving")).await;
}
