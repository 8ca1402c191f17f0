//! Changing a line that one has.

use alloc::format;
use alloc::vec::Vec;

use embedded_hal::digital::OutputPin;

use super::stand::{LineOf, Stand, Unmet, Verdict, check, declared, is_set, reads, refused, works};
use super::{Case, Harness};
use crate::{Bias, Edges, FaultKind, Line, LineConfig, LineMode};

pub(super) fn cases<H: Harness>() -> Vec<Case<H>> {
    Vec::from([
        Case { name: "reconfigure", attempt: there_and_back },
        Case { name: "reconfigure keeps the level", attempt: level_kept },
        Case { name: "reconfigure, refused", attempt: refusal },
        Case { name: "reconfigure in place, no glitch", attempt: in_place },
    ])
}

fn change<H: Harness>(line: &mut LineOf<H>, config: LineConfig) -> Verdict {
    works(line.reconfigure(config), &format!("reconfigure to {config:?}"))?;
    check(line.config() == config, format!("config() says {:?} after {config:?}", line.config()))
}

fn there_and_back<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    let mut line = stand.claim(LineConfig::input())?;
    for level in [true, false] {
        change::<H>(&mut line, LineConfig::output(level))?;
        is_set(&mut line, level, "input to output")?;
        stand.wire(level, "input to output")?;
        change::<H>(&mut line, LineConfig::output(level).active_low())?;
        stand.wire(!level, "output to active-low output")?;
        change::<H>(&mut line, LineConfig::input())?;
        refused(line.set_high(), FaultKind::WrongMode, "set_high of what became an input")?;
        stand.drive(!level)?;
        reads(&mut line, !level, "output to input, driven from outside")?;
        change::<H>(&mut line, LineConfig::input().active_low())?;
        stand.drive(level)?;
        reads(&mut line, !level, "input to active-low input, driven from outside")?;
        stand.clear_outside();
    }
    Ok(())
}

/// The same wire in other words: the level stays.
fn level_kept<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    let mut line = stand.claim(LineConfig::output(false))?;
    works(line.set_high(), "set_high")?;
    for config in [LineConfig::output(true), LineConfig::output(false).active_low(), LineConfig::output(true)] {
        change::<H>(&mut line, config)?;
        stand.wire(true, &format!("high, then {config:?}"))?;
        reads(&mut line, config.invert_if_active_low(true), &format!("high, then {config:?}"))?;
    }
    change::<H>(&mut line, LineConfig::output(false))?;
    stand.wire(false, "the same output, starting low")
}

/// What this board is bound to refuse.
fn refusable<H: Harness>(stand: &mut Stand<'_, H>) -> Result<LineConfig, Unmet> {
    if stand.caps().kernel_debounce {
        return Err(Unmet::NotPossible("no configuration is known that this board is bound to refuse".into()));
    }
    let mode = LineMode::Input { bias: Bias::AsIs, edges: Edges::None, debounce_us: 1000 };
    Ok(LineConfig { mode, active_low: false })
}

/// The old configuration stays in force.
fn refusal<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    let impossible = refusable(stand)?;
    let config = LineConfig::output(false);
    let mut line = stand.claim(config)?;
    works(line.set_high(), "set_high")?;
    refused(line.reconfigure(impossible), FaultKind::Unsupported, "a debounce time that is not declared")?;
    check(line.config() == config, format!("config() says {:?} after a refusal", line.config()))?;
    stand.wire(true, "after a refusal")?;
    works(line.set_low(), "set_low after a refusal")?;
    stand.wire(false, "set_low after a refusal")
}

fn in_place<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    declared(stand.caps().reconfigure_in_place, "reconfiguration in place")?;
    let mut line = stand.claim(LineConfig::output(true))?;
    stand.changes()?;
    for config in [LineConfig::output(false).active_low(), LineConfig::as_is(), LineConfig::output(true)] {
        change::<H>(&mut line, config)?;
        let seen = stand.changes()?;
        check(seen.is_empty(), format!("high, then {config:?}: the wire went through {seen:?}"))?;
    }
    Ok(())
}
