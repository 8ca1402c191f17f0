//! One simulated Raspberry Pi.

use hal_core::LineId;
use pi_agent::Hardware;
use proto::control::v1::Inventory;
use sim::{Bench, Clock, SimBoard, SimMetrics};

/// Two header lines that a jumper wire connects on every simulated node, so that driving one shows on the other.
pub const WIRED: (LineId, LineId) = (LineId(18), LineId(23));

/// A board with the header's 28 lines and one jumper wire, its sensors, and the hands that reach in from outside. Its
/// clock follows the real one.
pub fn hardware(name: &str) -> (Hardware<SimBoard, SimMetrics>, Bench) {
    let clock = Clock::paced();
    let board = SimBoard::builder().clock(clock.clone()).wire(WIRED.0, WIRED.1).build();
    let bench = board.bench();
    let inventory = Inventory {
        model: "Simulated Raspberry Pi".to_owned(),
        serial: name.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        kernel: "simulated".to_owned(),
        os: "simulated".to_owned(),
        ram_bytes: Some(4 << 30),
        boot_id: format!("{name}-{}", std::process::id()),
        ..Inventory::default()
    };
    (Hardware { board, metrics: SimMetrics::new(clock), inventory }, bench)
}
