//! What an agent is given to run on.

use std::path::Path;
use std::sync::Arc;

use agent_lib::PwmBlock;
use hal_core::linux::{
    CdevError, Identity, Interface, LinuxBoard, LinuxBuses, ProcfsMetrics, PwmError, SysfsPwmChip, find_header,
};
use proto::control::v1::Inventory;

use crate::exec::{LinuxRunner, Runner};
use crate::logs::SystemLog;

/// A board, a source of metrics, and what the machine says of itself.
pub struct Hardware<B, M, U> {
    /// The lines.
    pub board: B,
    /// The PWM block, if one reaches the header.
    pub pwm: PwmBlock,
    /// I²C and SPI.
    pub buses: U,
    /// The sensors.
    pub metrics: M,
    /// Where the machine's log is.
    pub log: SystemLog,
    /// Told to the control plane. The agent adds its own version and what the board says of itself.
    pub inventory: Inventory,
    /// What starts commands, where the configuration allows any.
    pub runner: Arc<dyn Runner>,
}

impl Hardware<LinuxBoard, ProcfsMetrics, LinuxBuses> {
    /// This machine, with the chip of that device file, or the one that carries a Raspberry Pi's header; through this of the
    /// kernel's interfaces, or the better of those it has. PWM channels that an agent before this one left running are
    /// stopped; where none can be had, PWM is made in software.
    ///
    /// # Errors
    ///
    /// If there is no such chip, or it may not be opened.
    pub fn of_this_machine(chip: Option<&Path>, interface: Option<Interface>) -> Result<Self, CdevError> {
        let chip = chip.map_or_else(find_header, |chip| Ok(chip.to_owned()))?;
        Ok(Self {
            board: match interface {
                Some(interface) => LinuxBoard::open_through(interface, &chip)?,
                None => LinuxBoard::open(&chip)?,
            },
            pwm: pwm_block(Path::new("/sys")),
            buses: LinuxBuses::new(Path::new("/dev")),
            metrics: ProcfsMetrics::new(),
            log: SystemLog::Linux,
            inventory: inventory(Identity::read(Path::new("/"))),
            runner: Arc::new(LinuxRunner::this_program()),
        })
    }
}

fn pwm_block(sys: &Path) -> PwmBlock {
    let chip = SysfsPwmChip::open_header(sys).and_then(|mut chip| chip.release_leftovers().map(|()| chip));
    match chip {
        Ok(chip) => PwmBlock::new(chip),
        Err(PwmError::NoHeaderChip) => PwmBlock::NONE,
        Err(error) => {
            tracing::error!(why = %startup::one_line(&error), "no hardware PWM");
            PwmBlock::NONE
        }
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
