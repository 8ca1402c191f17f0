//! A chip of the kernel module gpio-sim (kernel documentation, "Configfs GPIO Simulator").

use std::borrow::ToOwned;
use std::format;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};

use crate::LineId;

const CONFIGFS: &str = "/sys/kernel/config/gpio-sim";

/// A chip that the kernel simulates, and the world outside it. It outlives its value; [`GpioSim::unplug`] ends it.
#[derive(Debug)]
pub struct GpioSim {
    device: PathBuf,
    sysfs: PathBuf,
}

impl GpioSim {
    /// Makes a chip whose lines are named as the Linux of a Raspberry Pi does, all pulled down.
    ///
    /// # Errors
    ///
    /// If the kernel lacks the module, configfs is not mounted, there is such a chip already, or this user is not root.
    pub fn new(label: &str, lines: u16) -> io::Result<Self> {
        let chip = Path::new(CONFIGFS).join("pi");
        let bank = chip.join("bank0");
        fs::create_dir_all(&bank)?;
        fs::write(bank.join("label"), label)?;
        fs::write(bank.join("num_lines"), lines.to_string())?;
        for number in 0..lines {
            let line = bank.join(format!("line{number}"));
            fs::create_dir_all(&line)?;
            fs::write(line.join("name"), LineId(number).to_string())?;
        }
        fs::write(chip.join("live"), "1")?;
        let name = read(&bank.join("chip_name"))?;
        let sysfs = Path::new("/sys/devices/platform").join(read(&chip.join("dev_name"))?).join(&name);
        Ok(Self { device: Path::new("/dev").join(name), sysfs })
    }

    /// The chip's device file.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Pulls a line from outside. An output does not mind; a pull of the chip's own takes this one's place.
    ///
    /// # Errors
    ///
    /// If there is no such line, or the chip is gone.
    pub fn pull(&self, line: LineId, high: bool) -> io::Result<()> {
        fs::write(self.line(line).join("pull"), if high { "pull-up" } else { "pull-down" })
    }

    /// The level of a line's wire.
    ///
    /// # Errors
    ///
    /// If there is no such line, or the chip is gone.
    pub fn value(&self, line: LineId) -> io::Result<bool> {
        Ok(read(&self.line(line).join("value"))? == "1")
    }

    /// Takes the chip away, whoever has its lines.
    ///
    /// # Errors
    ///
    /// If it is gone already.
    pub fn unplug(self) -> io::Result<()> {
        fs::write(Path::new(CONFIGFS).join("pi/live"), "0")
    }

    fn line(&self, line: LineId) -> PathBuf {
        self.sysfs.join(format!("sim_gpio{}", line.0))
    }
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}
