//! A chip of the GPIO character device, through the second interface.

use std::path::{Path, PathBuf};

use gpiocdev::chip::Chip;
use gpiocdev::line::Direction as KernelDirection;

use super::{Cdev2Line, cause};
use crate::linux::{CdevError, chip, fault, monotonic};
use crate::{Board, Caps, ChipInfo, Direction, Instant, Label, LineConfig, LineId, LineInfo};

/// A GPIO chip through the kernel's second interface.
///
/// Outputs that are released stay driven on Raspberry Pi kernels and may change on others
/// ([`persist_outputs`](crate::linux::persist_outputs)); whoever releases a line sets it to a safe state first.
#[derive(Debug)]
pub struct Cdev2Board {
    chip: Chip,
    label: Label,
    lines: u16,
    outputs_persist: Option<bool>,
}

impl Cdev2Board {
    /// Opens the chip that carries the Raspberry Pi header, found by its label
    /// ([`HEADER_LABELS`](crate::linux::HEADER_LABELS)).
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
        let refused = |error| CdevError::Open { path: path.into(), source: cause(error) };
        let chip = Chip::from_path(path).map_err(refused)?;
        let info = chip.info().map_err(refused)?;
        match chip.line_info(0).map_err(cause) {
            Err(source) if fault::unknown_call(&source) => {
                Err(CdevError::NoInterface { path: path.into(), interface: "second", source })
            }
            _ => {
                let lines = info.num_lines.try_into().unwrap_or(u16::MAX);
                let outputs_persist = chip::outputs_persist(&info.label);
                Ok(Self { chip, label: Label::new(&info.label), lines, outputs_persist })
            }
        }
    }

    fn offset(&self, id: LineId) -> Result<u32, CdevError> {
        let missing = CdevError::NoSuchLine { line: id, lines: self.lines };
        if id.0 < self.lines { Ok(id.0.into()) } else { Err(missing) }
    }
}

impl Board for Cdev2Board {
    type Error = CdevError;
    type Line = Cdev2Line;

    fn caps(&self) -> Caps {
        Caps {
            bias: true,
            kernel_debounce: true,
            edge_seq: true,
            edge_wakeups: true,
            reconfigure_in_place: true,
            outputs_persist: self.outputs_persist,
            ..Caps::default()
        }
    }

    fn chip(&self) -> ChipInfo {
        ChipInfo { label: self.label, lines: self.lines, backend: "gpiocdev" }
    }

    fn info(&self, id: LineId) -> Result<LineInfo, CdevError> {
        let info = self.chip.line_info(self.offset(id)?);
        let info = info.map_err(|error| CdevError::Kernel { line: id, source: cause(error) })?;
        Ok(LineInfo {
            id,
            name: Label::new(&info.name),
            consumer: Label::new(&info.consumer),
            direction: direction(info.direction),
            active_low: info.active_low,
            used: info.used,
        })
    }

    fn claim(&mut self, id: LineId, config: LineConfig, consumer: &str) -> Result<Cdev2Line, CdevError> {
        self.offset(id)?;
        Cdev2Line::request(PathBuf::from(self.chip.path()), id, config, consumer)
    }

    fn now(&self) -> Instant {
        monotonic()
    }
}

fn direction(of: KernelDirection) -> Direction {
    match of {
        KernelDirection::Input => Direction::Input,
        KernelDirection::Output => Direction::Output,
    }
}
