//! The agent as it ships on a kernel's own GPIO driver, through either of the kernel's interfaces: `tests/vm/agent` runs this
//! in a virtual machine. It makes a chip with gpio-sim, joins a controller, and starts, signals and kills `pi-agent` as a
//! service manager would; what the chip's driver was told is read from the kernel's trace.
//!
//! It wants to be root in a machine that may be played with. Panics, and so ends with 101, at the first promise not kept.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ends;
mod kills;
mod lines;
mod watching;

use std::path::PathBuf;

use clap::Parser;
use tests::kernel::World;

/// Holds pi-agent against its promises on a kernel's GPIO driver.
#[derive(Parser)]
struct Arguments {
    /// The agent's binary, linked statically
    #[arg(long, default_value = "/pi-agent")]
    agent: PathBuf,
    /// How often it is killed, through each interface
    #[arg(long, default_value_t = 20)]
    kills: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Arguments { agent, kills } = Arguments::parse();
    // for the moments at which it is killed
    let mut random = fastrand::Rng::with_seed(tests::seed());
    let mut world = World::make(agent).await;
    for (interface, backend) in [("v1", "gpio-cdev"), ("v2", "gpiocdev")] {
        world.configure(interface);
        println!("{interface}, {backend}:");
        lines::used(&mut world, backend).await;
        lines::reserved(&mut world).await;
        watching::in_order(&mut world).await;
        watching::overflow(&mut world, interface).await;
        ends::lease(&mut world).await;
        ends::terminated(&mut world).await;
        ends::outputs_off(&mut world).await;
        ends::stands_still(&mut world).await;
        kills::kills(&mut world, kills, &mut random).await;
    }
}
