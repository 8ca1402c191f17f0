//! The main job with nothing to install or configure: a controller and three simulated nodes on loopback, with a
//! throw-away CA and real joins. Prints each step and its answer.

use std::process::ExitCode;

use clap::Parser;
use pictl::Exit;
use tests::{Cluster, Said, eventually};

/// A tour of Pi-Controller on simulated nodes.
#[derive(Parser)]
struct Arguments {
    /// Keep everything running and print the pictl lines to try
    #[arg(long)]
    stay: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if std::env::var_os("PI_LOG").is_some() {
        startup::log();
    }
    println!("A controller and three simulated nodes on loopback. Every connection is mutual TLS 1.3.\n");
    let cluster = Cluster::start().await;
    println!("cluster lab, with a CA of its own; its controller serves on {}", cluster.address);
    let fleet = cluster.nodes(3).await;
    for (name, address, _) in &fleet.nodes {
        println!("{name} joined with a token and serves on {address}");
    }
    println!("on each node a jumper wire connects GPIO18 and GPIO23");

    let metered = async || cluster.pictl(&["metrics", "sim-1"]).await.out.contains("15.2 %");
    eventually(metered).await;
    let toured = tour(&cluster).await;
    if arguments.stay && toured {
        stay(&cluster).await;
    }
    fleet.stop().await;
    if toured { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether every step answered as it should.
async fn tour(cluster: &Cluster) -> bool {
    let mut all_well = true;
    for (why, line, expected) in [
        ("Who is there?", "node list", "sim-3  ready"),
        ("Drive a line of one node.", "gpio set sim-1 18 high", "sim-1 GPIO18 is high"),
        ("The line at the other end of the wire reads the same.", "gpio get sim-1 23", "sim-1 GPIO23 is high"),
        ("The same for a program.", "gpio get sim-1 J8:16 --output json", "\"state\": \"HIGH\""),
        ("The other nodes are not concerned.", "gpio get sim-2 23", "sim-2 GPIO23 is low"),
        ("Readings of the node.", "metrics sim-1", "15.2 %"),
        ("How is it?", "health sim-1", "sim-1 OK"),
        ("Give the line up: it goes to its safe state.", "gpio release sim-1 18", "sim-1 GPIO18 is free"),
        ("The wire follows.", "gpio get sim-1 23", "sim-1 GPIO23 is low"),
    ] {
        println!("\n{why}\n$ pictl {line}");
        let Said { exit, out, err } = cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await;
        print!("{out}{err}");
        if exit != Exit::Done || !out.contains(expected) {
            println!("^ this step failed: expected {expected:?}");
            all_well = false;
        }
    }
    all_well
}

async fn stay(cluster: &Cluster) {
    let context = cluster.admin();
    println!("\nRunning until Ctrl-C. In another terminal:\n");
    println!("  export PICTL_CONTEXT={}", context.display());
    for line in ["node list", "gpio list sim-2", "gpio set sim-2 18 high", "gpio get sim-2 23", "node show sim-3"] {
        println!("  cargo run -q --bin pictl -- {line}");
    }
    if let Ok(stopped) = startup::stop_signal() {
        stopped.await;
    }
}
