//! What an output drives.

use alloc::format;
use alloc::vec::Vec;

use embedded_hal::digital::{OutputPin, StatefulOutputPin};

use super::stand::{Stand, Unmet, Verdict, check, is_set, reads, works};
use super::{Case, Harness, Need};
use crate::{Bias, Drive, Line, LineConfig};

pub(super) fn cases<H: Harness>() -> Vec<Case<H>> {
    Vec::from([
        Case { name: "write", attempt: write },
        Case { name: "write, active low", attempt: write_active_low },
        Case { name: "first level", attempt: first_level },
        Case { name: "first level without a glitch", attempt: no_glitch },
        Case { name: "open drain", attempt: open_drain },
        Case { name: "open source", attempt: open_source },
        Case { name: "what each drive drives", attempt: drives },
        Case { name: "a released output stays driven", attempt: outlives },
    ])
}

fn write<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    writes(stand, LineConfig::output(false))
}

fn write_active_low<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    writes(stand, LineConfig::output(false).active_low())
}

fn writes<H: Harness>(stand: &mut Stand<'_, H>, config: LineConfig) -> Verdict {
    let mut line = stand.claim(config)?;
    for level in [true, false, false, true, true, false] {
        works(line.set_state(level.into()), "set_state")?;
        holds(stand, &mut line, config, level, "set_state")?;
    }
    for level in [true, false] {
        works(line.toggle(), "toggle")?;
        holds(stand, &mut line, config, level, "toggle")?;
    }
    Ok(())
}

/// The output remembers this logical level, reads it back and shows it on the wire.
fn holds<H: Harness>(
    stand: &mut Stand<'_, H>,
    line: &mut super::stand::LineOf<H>,
    config: LineConfig,
    level: bool,
    when: &str,
) -> Verdict {
    is_set(line, level, when)?;
    reads(line, level, when)?;
    stand.wire(config.invert_if_active_low(level), when)
}

fn first_level<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    for level in [true, false, true] {
        for config in [LineConfig::output(level), LineConfig::output(level).active_low()] {
            let mut line = stand.claim(config)?;
            holds(stand, &mut line, config, level, &format!("claimed as {config:?}"))?;
        }
    }
    Ok(())
}

/// From a wire that is low, going high takes one change; what is high already takes none.
fn no_glitch<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    stand.needs(Need::History)?;
    drop(stand.claim(LineConfig::output(false))?);
    let before = stand.level()?;
    stand.changes()?;
    let line = stand.claim(LineConfig::output(true))?;
    let expected: &[bool] = if before == Some(true) { &[] } else { &[true] };
    let seen = stand.changes()?;
    check(seen == expected, format!("claimed as high from {before:?}, the wire went through {seen:?}"))?;
    drop(line);
    let before = stand.level()?;
    stand.changes()?;
    let _line = stand.claim(LineConfig::output(false).active_low())?;
    let expected: &[bool] = if before == Some(true) { &[] } else { &[true] };
    let seen = stand.changes()?;
    check(seen == expected, format!("claimed as high, active low, from {before:?}: {seen:?}"))
}

fn open_drain<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    shares(stand, LineConfig::output(true).with_drive(Drive::OpenDrain).with_bias(Bias::PullUp))
}

fn open_source<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    shares(stand, LineConfig::output(false).with_drive(Drive::OpenSource).with_bias(Bias::PullDown))
}

/// Claimed in the state in which it lets the wire go: its pull decides, then the outside, and it knows what it wrote.
fn shares<H: Harness>(stand: &mut Stand<'_, H>, config: LineConfig) -> Verdict {
    stand.needs(Need::SharedWire)?;
    stand.let_go()?;
    let idle = config.with_initial(true) == config;
    let mut line = stand.claim(config)?;
    holds(stand, &mut line, config, idle, "let go")?;
    stand.drive(!idle)?;
    reads(&mut line, !idle, "let go, and driven from outside")?;
    is_set(&mut line, idle, "let go, and driven from outside")?;
    stand.let_go()?;
    works(line.set_state((!idle).into()), "set_state")?;
    holds(stand, &mut line, config, !idle, "driven")?;
    works(line.set_state(idle.into()), "set_state")?;
    holds(stand, &mut line, config, idle, "let go again")
}

/// An open drain never drives high and an open source never low, also when they were something else
/// before; what is not driven is let go.
fn drives<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    stand.needs(Need::Driven)?;
    for drive in [Drive::PushPull, Drive::OpenDrain, Drive::OpenSource, Drive::OpenDrain] {
        for first in [true, false] {
            let config = LineConfig::output(first).with_drive(drive);
            let mut line = stand.claim(config)?;
            driven_as(stand, drive, first, "claimed")?;
            for raw in [!first, first] {
                works(line.set_state(raw.into()), "set_state")?;
                driven_as(stand, drive, raw, "written")?;
                is_set(&mut line, raw, &format!("written as {drive:?}"))?;
            }
            drop(line);
            let mut inverted = stand.claim(config.active_low())?;
            driven_as(stand, drive, !first, "claimed, active low")?;
            works(inverted.reconfigure(config), &format!("reconfigure to {config:?}"))?;
            driven_as(stand, drive, first, "reconfigured")?;
        }
    }
    Ok(())
}

/// Told to be at this raw level, the chip drives it or lets go, as its drive has it.
fn driven_as<H: Harness>(stand: &mut Stand<'_, H>, drive: Drive, raw: bool, when: &str) -> Result<(), Unmet> {
    let expected = match drive {
        Drive::PushPull => Some(raw),
        Drive::OpenDrain => (!raw).then_some(false),
        Drive::OpenSource => raw.then_some(true),
    };
    let seen = stand.driven()?;
    check(seen == expected, format!("{drive:?} {when} as {raw}: drives {seen:?}, expected {expected:?}"))
}

/// Who takes over a released output finds it as it was left, and it never showed another level.
fn outlives<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    stand.needs(Need::Persistence)?;
    for level in [true, false] {
        let line = stand.claim(LineConfig::output(level))?;
        stand.changes()?;
        drop(line);
        stand.wire(level, "released")?;
        let line = stand.claim(LineConfig::output(level))?;
        drop(line);
        let seen = stand.changes()?;
        check(seen.is_empty(), format!("released and claimed again as {level}: the wire went through {seen:?}"))?;
    }
    Ok(())
}
