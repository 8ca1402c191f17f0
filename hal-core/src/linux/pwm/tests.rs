//! On made-up sysfs trees: folders with plain files, and a thread that does what the kernel does on export and unexport.
//! What a real kernel refuses, they do not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::vec::Vec;
use std::{format, println};

use embedded_hal::pwm::SetDutyCycle;
use tempfile::TempDir;

use super::*;
use crate::{Fault, FaultKind, LineId, Pwm, PwmChip, PwmTiming};

/// A made-up `/sys` with PWM chips.
struct Sys {
    root: TempDir,
    over: Arc<AtomicBool>,
    kernel: Option<JoinHandle<()>>,
}

impl Sys {
    /// Chips by number with the devices that they belong to.
    fn with(chips: &[(u8, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let class = root.path().join("class/pwm");
        fs::create_dir_all(&class).unwrap();
        let folders: Vec<_> = chips.iter().map(|(number, device)| chip(root.path(), &class, *number, device)).collect();
        let over = Arc::new(AtomicBool::new(false));
        let kernel = thread::spawn({
            let over = over.clone();
            move || {
                while !over.load(Ordering::SeqCst) {
                    folders.iter().for_each(|folder| serve(folder));
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Self { root, over, kernel: Some(kernel) }
    }

    /// The header's block has moved behind the fan's, as on 6.6 kernels.
    fn pi_5() -> Self {
        Self::with(&[(0, "1f0009c000.pwm"), (2, "1f00098000.pwm")])
    }

    fn pi_4() -> Self {
        Self::with(&[(0, "fe20c000.pwm"), (1, "fe20c800.pwm")])
    }

    fn open(&self) -> SysfsPwmChip {
        SysfsPwmChip::open_header(self.root.path()).unwrap()
    }

    fn path(&self, chip: u8, file: &str) -> PathBuf {
        self.root.path().join(format!("class/pwm/pwmchip{chip}/{file}"))
    }

    fn read(&self, chip: u8, file: &str) -> String {
        fs::read_to_string(self.path(chip, file)).unwrap()
    }

    /// Until the thread has seen the unexport.
    fn wait_until_gone(&self, chip: u8, channel: &str) -> bool {
        let gone = || !self.path(chip, channel).exists();
        (0..1_000).any(|_| {
            gone() || {
                thread::sleep(Duration::from_millis(2));
                false
            }
        })
    }
}

impl Drop for Sys {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if self.kernel.take().is_some_and(|kernel| kernel.join().is_err()) {
            println!("the made-up kernel has panicked");
        }
    }
}

/// As the kernel has it: the class holds links into the devices, and each chip links back to its device.
fn chip(root: &Path, class: &Path, number: u8, device: &str) -> PathBuf {
    let folder = root.join(format!("devices/platform/{device}/pwm/pwmchip{number}"));
    fs::create_dir_all(&folder).unwrap();
    symlink(format!("../../../{device}"), folder.join("device")).unwrap();
    symlink(&folder, class.join(format!("pwmchip{number}"))).unwrap();
    for file in ["export", "unexport"] {
        fs::write(folder.join(file), "").unwrap();
    }
    folder
}

fn serve(chip: &Path) {
    if let Some(number) = taken(&chip.join("export")) {
        export(chip, &number);
    }
    if let Some(number) = taken(&chip.join("unexport")) {
        fs::remove_dir_all(chip.join(format!("pwm{number}"))).unwrap();
    }
}

fn export(chip: &Path, number: &str) {
    let folder = chip.join(format!("pwm{number}"));
    fs::create_dir(&folder).unwrap();
    for file in ["period", "duty_cycle", "enable"] {
        fs::write(folder.join(file), "0\n").unwrap();
    }
}

fn taken(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok().filter(|text| !text.is_empty())?;
    fs::write(file, "").unwrap();
    Some(text)
}

const HALF: PwmTiming = PwmTiming::new(1_000_000, 500_000).unwrap();

#[test]
fn a_pi_5_is_found_by_its_device_and_never_the_fan() {
    let sys = Sys::pi_5();
    let mut chip = sys.open();
    let mut pwm = chip.claim_pwm(LineId(18), HALF).unwrap();
    assert_eq!((pwm.line(), pwm.channel().0, pwm.timing()), (LineId(18), 2, HALF));
    assert_eq!((sys.read(2, "pwm2/period"), sys.read(2, "pwm2/duty_cycle")), ("1000000".into(), "500000".into()));
    assert_eq!(sys.read(2, "pwm2/enable").trim(), "0");
    pwm.enable().unwrap();
    assert_eq!(sys.read(2, "pwm2/enable"), "1");
    assert!(!sys.path(0, "pwm2").exists());
}

#[test]
fn a_pi_4_has_two_channels() {
    let sys = Sys::pi_4();
    let chip = sys.open();
    let channels = [12, 13, 14, 18, 19].map(|line| chip.channel_for(LineId(line)).map(|channel| channel.0));
    assert_eq!(channels, [Some(0), Some(1), None, Some(0), Some(1)]);
}

#[test]
fn two_lines_of_one_channel_conflict_and_the_message_names_the_other() {
    let sys = Sys::pi_4();
    let mut chip = sys.open();
    let first = chip.claim_pwm(LineId(18), HALF).unwrap();
    let refused = chip.claim_pwm(LineId(12), HALF).unwrap_err();
    assert_eq!(refused.fault(), FaultKind::Busy);
    assert_eq!(refused.to_string(), "GPIO12 and GPIO18 share PWM0, which GPIO18 uses; release that first");
    drop(first);
    assert!(sys.wait_until_gone(0, "pwm0"));
    assert!(chip.claim_pwm(LineId(12), HALF).is_ok());
}

#[test]
fn a_change_reaches_the_files_and_full_is_full() {
    let sys = Sys::pi_5();
    let mut pwm = sys.open().claim_pwm(LineId(13), HALF).unwrap();
    pwm.set_duty_cycle(u16::MAX).unwrap();
    assert_eq!(sys.read(2, "pwm1/duty_cycle"), "1000000");
    let achieved = pwm.set_period_ns(40_000.try_into().unwrap()).unwrap();
    assert_eq!((achieved.period_ns(), achieved.duty_ns()), (40_000, 40_000));
    assert_eq!((sys.read(2, "pwm1/period"), pwm.max_duty_cycle()), ("40000".into(), u16::MAX));
}

#[test]
fn a_dropped_channel_is_unexported() {
    let sys = Sys::pi_5();
    let mut pwm = sys.open().claim_pwm(LineId(12), HALF).unwrap();
    pwm.enable().unwrap();
    drop(pwm);
    assert!(sys.wait_until_gone(2, "pwm0"));
}

#[test]
fn what_a_killed_program_left_is_busy_until_it_is_released() {
    let sys = Sys::pi_5();
    let mut chip = sys.open();
    std::mem::forget(chip.claim_pwm(LineId(12), HALF).unwrap());
    let mut restarted = sys.open();
    assert_eq!(restarted.claim_pwm(LineId(12), HALF).unwrap_err().fault(), FaultKind::Busy);
    restarted.release_leftovers().unwrap();
    assert!(sys.wait_until_gone(2, "pwm0"));
    assert!(restarted.claim_pwm(LineId(12), HALF).is_ok());
}

#[test]
fn stopping_takes_the_high_part_down_first() {
    let sys = Sys::pi_5();
    let pwm = sys.open().claim_pwm(LineId(12), HALF).unwrap();
    let folder = sys.path(2, "").canonicalize().unwrap();
    output::Channel::new(&folder, pwm.channel()).stop().unwrap();
    assert_eq!((sys.read(2, "pwm0/duty_cycle"), sys.read(2, "pwm0/enable")), ("0".into(), "0".into()));
}

#[test]
fn lines_without_pwm_and_machines_without_it_are_refused() {
    let sys = Sys::pi_4();
    let refused = sys.open().claim_pwm(LineId(17), HALF).unwrap_err();
    assert_eq!(refused.fault(), FaultKind::Unsupported);
    assert_eq!(refused.to_string(), "GPIO17 has no PWM channel; choose GPIO12, GPIO13, GPIO18, GPIO19");
    for chips in [&[(0, "1f0009c000.pwm")][..], &[]] {
        let missing = SysfsPwmChip::open_header(Sys::with(chips).root.path()).unwrap_err();
        assert_eq!(missing.fault(), FaultKind::Unsupported);
    }
}

/// Leads pins to the block of a chip, as an overlay does: through groups of pins that the block's node refers to.
fn lead(sys: &Sys, chip: u8, groups: &[(&str, &[u8])]) {
    let tree = sys.root.path().join("firmware/devicetree/base");
    let node = tree.join("soc/pwm");
    fs::create_dir_all(&node).unwrap();
    let handles: Vec<u8> = (0x51u32..).take(groups.len()).flat_map(u32::to_be_bytes).collect();
    for ((group, pins), handle) in groups.iter().zip(handles.chunks(4)) {
        let (folder, property) = group.rsplit_once('/').unwrap();
        let folder = tree.join("soc/gpio").join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(property), pins).unwrap();
        let group = folder.components().take(tree.components().count() + 3).collect::<PathBuf>();
        fs::write(group.join("phandle"), handle).unwrap();
    }
    // another group, of another block
    fs::create_dir_all(tree.join("soc/gpio/i2s")).unwrap();
    fs::write(tree.join("soc/gpio/i2s/brcm,pins"), [0, 0, 0, 19]).unwrap();
    fs::write(tree.join("soc/gpio/i2s/phandle"), [0, 0, 0, 0x50]).unwrap();
    fs::write(node.join("pinctrl-0"), handles).unwrap();
    let folder = sys.path(chip, "device");
    fs::create_dir_all(&folder).unwrap();
    symlink(&node, folder.join("of_node")).unwrap();
}

fn led(chip: &SysfsPwmChip) -> Vec<u16> {
    (0..28).filter(|line| chip.channel_for(LineId(*line)).is_some()).collect()
}

#[test]
fn only_lines_whose_pins_are_led_to_the_block_have_channels() {
    let sys = Sys::pi_4();
    lead(&sys, 0, &[("pwm_pins/brcm,pins", &[0, 0, 0, 18])]);
    let mut chip = sys.open();
    assert_eq!(led(&chip), [18]);
    let refused = chip.claim_pwm(LineId(12), HALF).unwrap_err();
    assert_eq!(refused.to_string(), "GPIO12 has no PWM channel; choose GPIO18");
    // two groups, by name and in a child, as RP1 has them
    let sys = Sys::pi_5();
    lead(&sys, 2, &[("fan/pin_pwm/pins", b"gpio12\0gpio13\0"), ("servo/pins", b"gpio19\0")]);
    assert_eq!(led(&sys.open()), [12, 13, 19]);
}

#[test]
fn a_block_that_drives_only_the_headphones_is_none_of_the_header() {
    let sys = Sys::pi_4();
    lead(&sys, 0, &[("pwm0_gpio40/brcm,pins", &[0, 0, 0, 40]), ("pwm1_gpio41/brcm,pins", &[0, 0, 0, 41])]);
    assert_eq!(SysfsPwmChip::open_header(sys.root.path()).unwrap_err().fault(), FaultKind::Unsupported);
    let sys = Sys::pi_4();
    lead(&sys, 0, &[]);
    assert_eq!(SysfsPwmChip::open_header(sys.root.path()).unwrap_err().fault(), FaultKind::Unsupported);
}
