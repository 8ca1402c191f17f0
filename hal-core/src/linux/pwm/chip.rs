//! Which of a machine's PWM chips reaches the header, and who has its channels.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::output::Channel;
use super::{PwmError, SysfsPwm, pins};
use crate::{LineId, PI_1_TO_4_PWM_LINES, PI_5_PWM_LINES, PwmChannelId, PwmChip, PwmLines, PwmTiming};

/// The devices that reach the header, with the lines of their channels: RP1's first block, and the first block of every
/// model before by its address as the processor sees it (Pi 4; Pi 2 and 3; Pi 1 and Zero).
///
/// Never by the number of the chip: the header of a Pi 5 was pwmchip2 on 6.6 kernels and is pwmchip0 on 6.12
/// (raspberrypi/linux#6818). The second blocks are no business of ours: that of a Pi 5 (`1f0009c000.pwm`) drives the fan,
/// that of a Pi 4 (`fe20c800.pwm`) the headphones.
const HEADER_DEVICES: [(&str, PwmLines); 4] = [
    ("1f00098000.pwm", PI_5_PWM_LINES),
    ("fe20c000.pwm", PI_1_TO_4_PWM_LINES),
    ("3f20c000.pwm", PI_1_TO_4_PWM_LINES),
    ("2020c000.pwm", PI_1_TO_4_PWM_LINES),
];

/// Which line has which channel, shared with the outputs so that dropping one frees its channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken(Arc<Mutex<BTreeMap<PwmChannelId, LineId>>>);

impl Taken {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<PwmChannelId, LineId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The PWM block of the header, through sysfs.
#[derive(Debug)]
pub struct SysfsPwmChip {
    folder: PathBuf,
    lines: Vec<(LineId, PwmChannelId)>,
    taken: Taken,
}

impl SysfsPwmChip {
    /// Finds the block below `sys`, which is `/sys` but in tests, by the device that its chip belongs to. Lines have channels
    /// if the device tree leads their pins to it; where there is no device tree, all that could.
    ///
    /// # Errors
    ///
    /// `Unsupported` if there is none, or none that any pin of the header is led to: no Raspberry Pi, or no overlay.
    pub fn open_header(sys: &Path) -> Result<Self, PwmError> {
        let chips = chips(&sys.join("class/pwm"));
        let reaching = |(device, lines): &(&str, PwmLines)| {
            let chip = chips.iter().find(|chip| device_of(chip).as_deref() == Some(*device))?;
            let led = pins::led(sys, chip);
            let led = |line: &LineId| led.as_ref().is_none_or(|led| led.contains(line));
            let lines: Vec<_> = lines.iter().copied().filter(|(line, _)| led(line)).collect();
            let reaches = !lines.is_empty();
            reaches.then(|| Self { folder: chip.clone(), lines, taken: Taken::default() })
        };
        HEADER_DEVICES.iter().find_map(reaching).ok_or(PwmError::NoHeaderChip)
    }

    /// Stops and frees every channel that is exported and not claimed here. Exports outlive the program that made them,
    /// so an agent that was killed leaves its channels running and busy; who knows that nobody else uses PWM calls this
    /// at start.
    ///
    /// # Errors
    ///
    /// `Denied`, `Gone`. Channels before the one that failed are free then.
    pub fn release_leftovers(&mut self) -> Result<(), PwmError> {
        let taken = self.taken.lock();
        let mine = |channel: &PwmChannelId| taken.contains_key(channel);
        let left = (0..=3).map(PwmChannelId).filter(|channel| !mine(channel));
        left.map(|channel| Channel::new(&self.folder, channel)).filter(Channel::is_exported).try_for_each(|channel| {
            channel.stop()?;
            channel.unexport()
        })
    }

    /// Notes that the line has the channel, unless one has it already.
    fn take(&self, line: LineId, channel: PwmChannelId) -> Result<(), PwmError> {
        let mut taken = self.taken.lock();
        if let Some(&other) = taken.get(&channel) {
            return Err(PwmError::Shared { line, other, channel });
        }
        taken.insert(channel, line);
        Ok(())
    }
}

impl PwmChip for SysfsPwmChip {
    type Error = PwmError;
    type Pwm = SysfsPwm;

    fn channel_for(&self, line: LineId) -> Option<PwmChannelId> {
        self.lines.iter().find(|(carrier, _)| *carrier == line).map(|(_, channel)| *channel)
    }

    /// Waits for up to half a second if this user may write the files only after udev has seen to it.
    fn claim_pwm(&mut self, line: LineId, timing: PwmTiming) -> Result<SysfsPwm, PwmError> {
        let missing = PwmError::NoChannel { line, lines: self.lines.clone() };
        let channel = self.channel_for(line).ok_or(missing)?;
        self.take(line, channel)?;
        let claimed = SysfsPwm::export(line, channel, Channel::new(&self.folder, channel), timing, self.taken.clone());
        claimed.inspect_err(|_| _ = self.taken.lock().remove(&channel))
    }
}

/// The chips' folders, sorted so that "first" means the same at every start.
fn chips(class: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let chips = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("pwmchip"));
    let mut folders: Vec<_> = chips.map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

/// The name of the device that a chip belongs to: the end of its `device` link.
fn device_of(chip: &Path) -> Option<String> {
    let target = fs::read_link(chip.join("device")).ok()?;
    target.file_name().map(|name| name.to_string_lossy().into_owned())
}
