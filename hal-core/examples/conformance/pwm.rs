//! Hardware PWM on the kernel's own driver (pwm-bcm2835). The emulated block makes no signal, so what is held against the
//! promises is what the kernel has in force, and where the pins are led: GPFSEL (BCM2835 ARM Peripherals, chapter 6).

use std::error::Error;
use std::fs;
use std::path::Path;

use hal_core::linux::{LinuxBoard, SysfsPwmChip};
use hal_core::{Board, Fault, FaultKind, LineConfig, LineId, Pwm, PwmChip, PwmTiming};

use crate::registers::devmem;

/// The device tree of the virtual machine leads GPIO18 and GPIO19 to the block, as `dtoverlay=pwm-2chan` does.
const FAN: LineId = LineId(18);

const OTHER: LineId = LineId(19);

/// GPFSEL of GPIO10 to 19.
const GPFSEL1: &str = "0x3f200004";
const ALTERNATE_5: u32 = 2;

/// 25 kHz, two fifths of it high.
const FORTY: PwmTiming = PwmTiming::new(40_000, 16_000).expect("a period");

/// Prints what held; an error is what did not.
pub(crate) fn on_kernel() -> Result<(), Box<dyn Error>> {
    let sys = Path::new("/sys");
    let mut chip = SysfsPwmChip::open_header(sys)?;
    let led: Vec<u16> = (0..54).filter(|line| chip.channel_for(LineId(*line)).is_some()).collect();
    holds("only lines that the device tree leads to the block have channels", led == [18, 19])?;
    holds("the pin of one is led there", function_of(FAN)? == ALTERNATE_5)?;

    let mut pwm = chip.claim_pwm(FAN, FORTY)?;
    pwm.enable()?;
    holds("a signal is in force as asked for", in_force()? == (40_000, 16_000, 1) && pwm.timing() == FORTY)?;
    for (period_ns, duty_ns) in [(2_000_000_000, 1_000_000_000), (100_000, 99_999), (99_000, 0), (1_000_000, 1_000_000)]
    {
        let timing = PwmTiming::new(period_ns, duty_ns).ok_or("no timing")?;
        let achieved = pwm.set(timing)?;
        holds("a change is in force, and never off", achieved == timing && in_force()? == (period_ns, duty_ns, 1))?;
    }
    let busy = |chip: &mut SysfsPwmChip| chip.claim_pwm(FAN, FORTY).err().map(|error| error.fault());
    let mut other = SysfsPwmChip::open_header(sys)?;
    holds("another claim is refused", [busy(&mut chip), busy(&mut other)] == [Some(FaultKind::Busy); 2])?;

    std::mem::forget(pwm);
    other.release_leftovers()?;
    holds("what was left behind is stopped and free", !exported())?;
    let pwm = other.claim_pwm(FAN, FORTY)?;
    let refused = LinuxBoard::open_header()?.claim(LineId(17), LineConfig::as_is(), "pwm").is_err();
    holds("other lines are none of its business", !refused)?;
    drop(pwm);
    holds("a dropped channel is free", !exported())?;

    holds("the pin is still led to the block", function_of(FAN)? == ALTERNATE_5)?;
    match LinuxBoard::open_header()?.claim(FAN, LineConfig::output(false), "pwm") {
        Ok(line) => {
            drop(line);
            holds("a GPIO request leads it away, for good", function_of(FAN)? != ALTERNATE_5)?;
        }
        Err(error) => holds("a GPIO request is refused", error.fault() == FaultKind::Busy)?,
    }
    // Even one that wants nothing but to read: its end makes an input of the pin.
    drop(LinuxBoard::open_header()?.claim(OTHER, LineConfig::as_is(), "pwm"));
    holds("so does a read", function_of(OTHER)? != ALTERNATE_5)?;
    Ok(())
}

fn holds(what: &str, held: bool) -> Result<(), String> {
    println!("PWM: {what}: {}", if held { "yes" } else { "NO" });
    if held { Ok(()) } else { Err(format!("it does not hold that {what}")) }
}

/// Period, high part and enabled, as the kernel has them.
fn in_force() -> Result<(u64, u64, u64), Box<dyn Error>> {
    let chip = fs::read_dir("/sys/class/pwm")?.next().ok_or("no PWM chip")??.path();
    let number = |file: &str| -> Result<u64, Box<dyn Error>> {
        Ok(fs::read_to_string(chip.join("pwm0").join(file))?.trim().parse()?)
    };
    Ok((number("period")?, number("duty_cycle")?, number("enable")?))
}

fn exported() -> bool {
    let chips = fs::read_dir("/sys/class/pwm").into_iter().flatten().flatten();
    chips.into_iter().any(|chip| chip.path().join("pwm0").exists())
}

fn function_of(line: LineId) -> Result<u32, Box<dyn Error>> {
    let functions = devmem(&[GPFSEL1, "32"])?;
    let functions = u32::from_str_radix(functions.trim().trim_start_matches("0x"), 16)?;
    Ok(functions >> (3 * (line.0 - 10)) & 7)
}
