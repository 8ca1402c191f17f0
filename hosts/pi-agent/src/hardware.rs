//! What an agent is given to run on.

use std::path::Path;
use std::sync::Arc;

use hal_core::linux::{CdevError, Identity, LinuxBoard, LinuxBuses, ProcfsMetrics};
use proto::control::v1::Inventory;

use crate::exec::{LinuxRunner, Runner};

/// A board, a source of metrics, and what the machine says of itself.
pub struct Hardware<B, M, U> {
    /// The lines.
    pub board: B,
    /// I²C and SPI.
    pub buses: U,
    /// The sensors.
    pub metrics: M,
    /// Told to the control plane. The agent adds its own version and what the board says of itself.
    pub inventory: Inventory,
    /// What starts commands, where the configuration allows any.
    pub runner: Arc<dyn Runner>,
}

impl Hardware<LinuxBoard, ProcfsMetrics, LinuxBuses> {
    /// This machine, with the chip of that device file, or the one that carries a Raspberry Pi's header.
    ///
    /// # Errors
    ///
    /// If there is no such chip, or it may not be opened.
    pub fn of_this_machine(chip: Option<&Path>) -> Result<Self, CdevError> {
        Ok(Self {
            board: chip.map_or_else(LinuxBoard::open_header, LinuxBoard::open)?,
            buses: LinuxBuses::new(Path::new("/dev")),
            metrics: ProcfsMetrics::new(),
            inventory: inventory(Identity::read(Path::new("/"))),
            runner: Arc::new(LinuxRunner::this_program()),
        })
    }
}

/// What a Linux machine says of itself, as the control plane is told.
pub fn inventory(identity: Identity) -> Inventory {
    let Identity { model, serial, revision, machine_id, boot_id, kernel, os, architecture, ram_bytes } = identity;
    Inventory {
        model: model.unwrap_or_default(),
        serial: serial.unwrap_or_default(),
        revision: revision.map(|code| format!("{code:x}")).unwrap_or_default(),
        kernel: kernel.unwrap_or_default(),
        os: os.unwrap_or_default(),
        architecture: architecture.unwrap_or_default(),
        ram_bytes,
        machine_id: machine_id.unwrap_or_default(),
        boot_id: boot_id.unwrap_or_default(),
        ..Inventory::default()
    }
}
