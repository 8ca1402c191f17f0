//! Remote commands against ssh and ansible, on one machine: `tests/benches/commands/run`.
//!
//! Everybody takes turns in every round, another one first each time. It prints; it fails only where something does not work.

mod ours;
mod peers;
mod table;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use ours::Ours;
use peers::{Kex, Module, Peers};
use table::Table;

/// Nodes of ours, and names of the one sshd.
const NODES: usize = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // what a program leaves behind stays among our descendants, and its processor time is counted
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("the first argument is a folder")?);
    let rounds: usize = arguments.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(40);
    let fleet_rounds: usize = rounds.div_ceil(5);
    let ours = Ours::start(NODES).await?;
    let peers = Peers::start(&folder, NODES).await?;
    one_node(&ours, &peers, rounds).await?;
    fleet(&ours, &peers, fleet_rounds).await
}

/// P5 and P6.
async fn one_node(ours: &Ours, peers: &Peers, rounds: usize) -> Result<(), Box<dyn Error>> {
    const KEPT: &str = "ExecuteCommand, kept connection, direct";
    const PROXIED: &str = "ExecuteCommand, kept connection, through the controller";
    const FRESH: &str = "fresh pictl exec, through the controller";
    const DIRECT: &str = "fresh pictl exec --direct";
    const MASTER: &str = "ssh on a ControlMaster";
    const SSH: &str = "fresh ssh";
    const CURVE: &str = "fresh ssh, curve25519";
    let names = [KEPT, PROXIED, FRESH, DIRECT, MASTER, SSH, CURVE];
    let mut table = Table::new(&names);
    for round in 0..rounds {
        for turn in 0..names.len() {
            let name = names[(round + turn) % names.len()];
            // what is quick is repeated, so that each has some share of the time
            for _ in 0..if matches!(name, SSH | CURVE) { 1 } else { 5 } {
                let began = Instant::now();
                match name {
                    KEPT => ours.execute(&ours.direct).await?,
                    PROXIED => ours.execute(&ours.proxied).await?,
                    FRESH => ours.pictl(&["exec", "node-1", "--", "true"]).await?,
                    DIRECT => ours.pictl_direct(&["exec", "node-1", "--", "true"]).await?,
                    MASTER => peers.ssh_on_master().await?,
                    SSH => peers.ssh(Kex::Usual).await?,
                    _ => peers.ssh(Kex::Curve25519).await?,
                }
                table.add(round, name, began.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    println!("\n`true` on one node, ms ({rounds} rounds)\n\n{}", table.figures());
    println!("\n| ratio | median of the rounds | goal |\n| --- | ---: | ---: |");
    for (what, name, peer, goal) in [
        ("P5, direct", KEPT, MASTER, "1/8"),
        ("P5, through the controller", PROXIED, MASTER, ""),
        ("P6", FRESH, SSH, "1/40"),
        ("P6", FRESH, CURVE, "1/25"),
        ("P6", FRESH, MASTER, "1/2"),
        ("P6, direct", DIRECT, SSH, "1/40"),
        ("P6, direct", DIRECT, CURVE, "1/25"),
        ("P6, direct", DIRECT, MASTER, "1/2"),
    ] {
        println!("| {what}: {name} ÷ {peer} | 1/{:.1} | {goal} |", table.how_many_times(peer, name));
    }
    Ok(())
}

/// P9.
async fn fleet(ours: &Ours, peers: &Peers, rounds: usize) -> Result<(), Box<dyn Error>> {
    const OURS: &str = "pictl exec --nodes all";
    const RAW: &str = "ansible raw, warm";
    const COMMAND: &str = "ansible command, warm";
    let names = [OURS, RAW, COMMAND];
    peers.ansible(Module::Raw).await?; // connections are kept from here on
    peers.ansible(Module::Command).await?;
    let (mut wall, mut cpu) = (Table::new(&names), Table::new(&names));
    for round in 0..rounds {
        for turn in 0..names.len() {
            let name = names[(round + turn) % names.len()];
            let repeats = if name == OURS { 10 } else { 1 };
            let before = table::processor_ms()?;
            for _ in 0..repeats {
                let began = Instant::now();
                match name {
                    OURS => ours.pictl(&["exec", "--nodes", "all", "--", "true"]).await?,
                    RAW => peers.ansible(Module::Raw).await?,
                    _ => peers.ansible(Module::Command).await?,
                }
                wall.add(round, name, began.elapsed().as_secs_f64() * 1e3);
            }
            cpu.add(round, name, (table::processor_ms()? - before) / f64::from(repeats));
        }
    }
    println!("\n`true` on {NODES} nodes, wall, ms ({rounds} rounds)\n\n{}", wall.figures());
    println!("\nthe same, processor time of all processes on both sides, ms\n\n{}", cpu.figures());
    println!("\n| ratio | median of the rounds | goal |\n| --- | ---: | ---: |");
    for (what, table, peer, goal) in [
        ("wall", &wall, RAW, "1/100"),
        ("wall", &wall, COMMAND, "1/300"),
        ("processor", &cpu, RAW, "1/100"),
        ("processor", &cpu, COMMAND, "1/100"),
    ] {
        println!("| P9, {what}: {OURS} ÷ {peer} | 1/{:.0} | {goal} |", table.how_many_times(peer, OURS));
    }
    Ok(())
}
