//! One exported PWM channel and its files.

use std::format;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::string::ToString;
use std::thread;
use std::time::Duration;

use embedded_hal::pwm::{ErrorType, SetDutyCycle};

use super::PwmError;
use super::chip::Taken;
use super::fault::kind_of;
use crate::{FaultKind, LineId, Pwm, PwmChannelId, PwmTiming};

/// How often and how long to wait for udev, which gives new files to the group `gpio` some time after the export
/// (Raspberry Pi OS, `99-com.rules`).
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// The files of one channel.
#[derive(Debug)]
pub(super) struct Channel {
    chip: PathBuf,
    number: u8,
    folder: PathBuf,
}

impl Channel {
    pub(super) fn new(chip: &Path, channel: PwmChannelId) -> Self {
        Self { chip: chip.into(), number: channel.0, folder: chip.join(format!("pwm{}", channel.0)) }
    }

    pub(super) fn is_exported(&self) -> bool {
        self.folder.exists()
    }

    /// Takes the high part to 0, then disables: the level of a disabled output is the driver's choice, and some keep the
    /// last. A channel without a period has nothing to take down.
    pub(super) fn stop(&self) -> Result<(), PwmError> {
        let lowered =
            self.read("period").and_then(|period| if period == 0 { Ok(()) } else { self.write("duty_cycle", 0) });
        self.write("enable", 0).and(lowered)
    }

    pub(super) fn unexport(&self) -> Result<(), PwmError> {
        put(&self.chip.join("unexport"), self.number.into())
    }

    fn export(&self) -> Result<(), PwmError> {
        put(&self.chip.join("export"), self.number.into())
    }

    /// Waits until the files are there and may be written. If they never may, the write that follows tells.
    fn wait_for_files(&self) {
        let open = || OpenOptions::new().write(true).open(self.folder.join("enable"));
        let later = |error: io::Error| matches!(kind_of(&error), FaultKind::Denied | FaultKind::Gone);
        for _ in 0..TRIES {
            if !open().is_err_and(later) {
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    fn set(&self, timing: PwmTiming) -> Result<PwmTiming, PwmError> {
        in_order(self.read("duty_cycle")?, timing)
            .into_iter()
            .try_for_each(|(name, number)| self.write(name, number))?;
        self.timing()
    }

    fn timing(&self) -> Result<PwmTiming, PwmError> {
        let timing = PwmTiming::new(self.read("period")?, self.read("duty_cycle")?);
        timing.ok_or_else(|| PwmError::Garbled { path: self.folder.join("period") })
    }

    fn read(&self, name: &str) -> Result<u64, PwmError> {
        let path = self.folder.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| PwmError::Garbled { path }),
            Err(source) => Err(PwmError::File { path, source }),
        }
    }

    fn write(&self, name: &str, number: u64) -> Result<(), PwmError> {
        put(&self.folder.join(name), number)
    }
}

/// What to write in which order: the kernel refuses a high part longer than the period also in between.
fn in_order(duty_before: u64, timing: PwmTiming) -> [(&'static str, u64); 2] {
    let (period, duty) = (("period", timing.period_ns()), ("duty_cycle", timing.duty_ns()));
    if timing.period_ns() < duty_before { [duty, period] } else { [period, duty] }
}

/// Writes a number into a file that is there already: sysfs has no others.
fn put(path: &Path, number: u64) -> Result<(), PwmError> {
    let file = OpenOptions::new().write(true).truncate(true).open(path);
    let written = file.and_then(|mut file| file.write_all(number.to_string().as_bytes()));
    written.map_err(|source| PwmError::File { path: path.into(), source })
}

/// A PWM channel of the header.
#[derive(Debug)]
pub struct SysfsPwm {
    line: LineId,
    id: PwmChannelId,
    channel: Channel,
    timing: PwmTiming,
    taken: Taken,
}

impl SysfsPwm {
    /// Exports the channel and sets it up; what was exported is given back if that fails. The caller has noted the line
    /// in `taken`.
    pub(super) fn export(
        line: LineId,
        id: PwmChannelId,
        channel: Channel,
        timing: PwmTiming,
        taken: Taken,
    ) -> Result<Self, PwmError> {
        if channel.is_exported() {
            return Err(PwmError::Exported { line, channel: id });
        }
        channel.export()?;
        channel.wait_for_files();
        match channel.set(timing) {
            Ok(timing) => Ok(Self { line, id, channel, timing, taken }),
            Err(error) => {
                _ = channel.unexport();
                Err(error)
            }
        }
    }

    /// The channel that the line carries.
    pub fn channel(&self) -> PwmChannelId {
        self.id
    }
}

impl ErrorType for SysfsPwm {
    type Error = PwmError;
}

impl SetDutyCycle for SysfsPwm {
    fn max_duty_cycle(&self) -> u16 {
        u16::MAX
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), PwmError> {
        self.set(self.timing.with_duty(duty)).map(drop)
    }
}

impl Pwm for SysfsPwm {
    fn line(&self) -> LineId {
        self.line
    }

    fn timing(&self) -> PwmTiming {
        self.timing
    }

    fn set(&mut self, timing: PwmTiming) -> Result<PwmTiming, PwmError> {
        let achieved = self.channel.set(timing);
        // After a failure half of it may be in force.
        self.timing = achieved.as_ref().ok().copied().or_else(|| self.channel.timing().ok()).unwrap_or(self.timing);
        achieved
    }

    fn enable(&mut self) -> Result<(), PwmError> {
        self.channel.write("enable", 1)
    }

    fn disable(&mut self) -> Result<(), PwmError> {
        self.channel.write("enable", 0)
    }
}

impl Drop for SysfsPwm {
    fn drop(&mut self) {
        _ = self.channel.stop(); // as far as the hardware lets us; nobody is left to tell
        _ = self.channel.unexport();
        self.taken.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(duty_before: u64, period: u64, duty: u64) -> [&'static str; 2] {
        in_order(duty_before, PwmTiming::new(period, duty).unwrap()).map(|(name, _)| name)
    }

    #[test]
    fn the_high_part_is_never_the_longer_one() {
        assert_eq!(order(0, 1_000, 500), ["period", "duty_cycle"]);
        assert_eq!(order(500, 2_000, 1_500), ["period", "duty_cycle"]);
        assert_eq!(order(500, 500, 500), ["period", "duty_cycle"]);
        assert_eq!(order(500, 400, 400), ["duty_cycle", "period"]);
    }
}
