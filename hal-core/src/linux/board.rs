//! A chip of the GPIO character device.

use std::path::Path;
use std::vec::Vec;

use gpio_cdev::{Chip, LineDirection};

use super::chip::cause;
use super::{CdevError, CdevLine, chip, fault, monotonic};
use crate::{Board, Caps, ChipInfo, Direction, Instant, Label, LineConfig, LineId, LineInfo};

/// A GPIO chip through the kernel's first interface.
///
/// Outputs that are released stay driven on Raspberry Pi kernels and may change on others; whoever releases a line sets
/// it to a safe state first.
#[derive(Debug)]
pub struct CdevBoard {
    label: Label,
    lines: Vec<gpio_cdev::Line>,
    outputs_persist: Option<bool>,
}

impl CdevBoard {
    /// Opens the chip that carries the Raspberry Pi header, found by its label ([`HEADER_LABELS`](super::HEADER_LABELS)).
    ///
    /// # Errors
    ///
    /// `Gone` if there is none, `Denied` if this user may not open it, `Unsupported` if the kernel lacks the interface.
    pub fn open_header() -> Result<Self, CdevError> {
        Self::open(&chip::find_header()?)
    }

    /// Opens a chip by its device file, for boards that are no Raspberry Pi.
    ///
    /// # Errors
    ///
    /// `Gone` if there is no such file, `Unsupported` if it is no GPIO chip or the kernel lacks the interface, `Denied` if
    /// this user may not open it.
    pub fn open(path: &Path) -> Result<Self, CdevError> {
        let board = Self::new(&chip::open(path)?);
        match board.lines.first().map(|line| line.info().map_err(cause)) {
            Some(Err(source)) if fault::unknown_call(&source) => {
                Err(CdevError::NoInterface { path: path.into(), interface: "first", source })
            }
            _ => Ok(board),
        }
    }

    fn new(chip: &Chip) -> Self {
        let lines = chip.lines().take(usize::from(u16::MAX)).collect();
        let outputs_persist = chip::outputs_persist(chip.label());
        Self { label: Label::new(chip.label()), lines, outputs_persist }
    }

    fn line(&self, id: LineId) -> Result<&gpio_cdev::Line, CdevError> {
        let missing = CdevError::NoSuchLine { line: id, lines: self.chip().lines };
        self.lines.get(usize::from(id.0)).ok_or(missing)
    }
}

impl Board for CdevBoard {
    type Error = CdevError;
    type Line = CdevLine;

    fn caps(&self) -> Caps {
        // all that the first interface has; bias since Linux 5.5
        Caps { bias: true, edge_wakeups: true, outputs_persist: self.outputs_persist, ..Caps::default() }
    }

    fn chip(&self) -> ChipInfo {
        ChipInfo { label: self.label, lines: self.lines.len() as u16, backend: "gpio-cdev" }
    }

    fn info(&self, id: LineId) -> Result<LineInfo, CdevError> {
        let info = self.line(id)?.info().map_err(|error| CdevError::Kernel { line: id, source: cause(error) })?;
        Ok(LineInfo {
            id,
            name: Label::new(info.name().unwrap_or_default()),
            consumer: Label::new(info.consumer().unwrap_or_default()),
            direction: direction(info.direction()),
            active_low: info.is_active_low(),
            // Not `is_used`: it also counts a free output as used. The kernel names a consumer for every request.
            used: info.is_kernel(),
        })
    }

    fn claim(&mut self, id: LineId, config: LineConfig, consumer: &str) -> Result<CdevLine, CdevError> {
        CdevLine::request(self.line(id)?.clone(), id, config, consumer)
    }

    fn now(&self) -> Instant {
        monotonic()
    }
}

fn direction(of: LineDirection) -> Direction {
    match of {
        LineDirection::In => Direction::Input,
        LineDirection::Out => Direction::Output,
    }
}
