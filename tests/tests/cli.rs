//! What people see. A change of these texts is a change for them: look at it, then accept it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use insta::assert_snapshot;
use pictl::Exit;
use tests::{Cluster, eventually};

/// Ports differ from run to run, and so does what counts seconds.
fn steady(text: &str) -> String {
    let port = |word: &str| match word.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok_and(|port| port > 1023) => format!("{host}:PORT"),
        _ => word.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(port).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn answers() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(2).await;
    eventually(async || cluster.pictl(&["metrics", "sim-1"]).await.out.contains("15.2")).await;
    let said = async |line: &str| steady(&cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await.out);

    assert_snapshot!("node_list", said("node list").await.replace("1s", "0s"));
    assert_snapshot!("gpio_set", said("gpio set sim-1 18 high").await);
    assert_snapshot!("gpio_get_as_json", said("gpio get sim-1 23 -o json").await);
    let list = said("gpio list sim-1").await;
    assert_snapshot!(
        "gpio_list",
        list.lines().filter(|line| !line.contains('-') || line.contains("18")).collect::<Vec<_>>().join("\n")
    );
    assert_snapshot!("metrics", said("metrics sim-1").await.lines().take(5).collect::<Vec<_>>().join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes() {
    let cluster = Cluster::start().await;
    let err = async |line: &str| {
        let said = cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(said.out, "", "an error goes to standard error");
        (said.exit, steady(&said.err))
    };
    assert_snapshot!("wrong_level", err("gpio set pi-1 17 up").await.1);
    assert_snapshot!("no_such_node", err("gpio get pi-1 17").await.1);
    assert_snapshot!("no_such_address", err("health pi-1 --direct nowhere").await.1);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = pictl::run(["pictl", "--context", "/nowhere/c.toml", "node", "list"], &mut out, &mut err).await;
    assert_eq!(exit, Exit::Usage);
    assert_snapshot!("no_context", String::from_utf8(err).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn help() {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(pictl::run(["pictl", "--help"], &mut out, &mut err).await, Exit::Done);
    assert_snapshot!("help", String::from_utf8(out).unwrap());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(pictl::run(["pictl", "completions", "bash"], &mut out, &mut err).await, Exit::Done);
    assert!(String::from_utf8(out).unwrap().contains("_pictl()"));
}
