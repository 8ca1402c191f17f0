//! What an input reads, and what an as-is line leaves alone.

use alloc::format;
use alloc::vec::Vec;

use super::stand::{Stand, Verdict, check, declared, reads};
use super::{Case, Harness, Need};
use crate::{Bias, Direction, Line, LineConfig};

pub(super) fn cases<H: Harness>() -> Vec<Case<H>> {
    Vec::from([
        Case { name: "read", attempt: read },
        Case { name: "read, active low", attempt: read_active_low },
        Case { name: "bias", attempt: bias },
        Case { name: "as is: a claim changes nothing", attempt: as_is },
        Case { name: "as is: a held output stays", attempt: as_is_while_held },
    ])
}

fn read<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    follows(stand, LineConfig::input())
}

fn read_active_low<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    follows(stand, LineConfig::input().active_low())
}

fn follows<H: Harness>(stand: &mut Stand<'_, H>, config: LineConfig) -> Verdict {
    let mut line = stand.claim(config)?;
    for raw in [true, false, true] {
        stand.drive(raw)?;
        reads(&mut line, config.invert_if_active_low(raw), &format!("driven to the raw level {raw}"))?;
    }
    Ok(())
}

fn bias<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    declared(stand.caps().bias, "bias")?;
    stand.let_go()?;
    for (bias, raw) in [(Bias::PullUp, true), (Bias::PullDown, false), (Bias::PullUp, true)] {
        let config = LineConfig::input().with_bias(bias);
        reads(&mut stand.claim(config)?, raw, &format!("{bias:?}"))?;
        let mut inverted = stand.claim(config.active_low())?;
        reads(&mut inverted, !raw, &format!("{bias:?}, active low"))?;
    }
    Ok(())
}

/// What the claim finds is told by a claim as-is: of a line that nobody has, Linux tells the direction that its last user
/// left, whatever the driver did since.
fn as_is<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    for before in [LineConfig::output(true), LineConfig::output(false), LineConfig::input()] {
        drop(stand.claim(before)?);
        let level = stand.level()?;
        let mut found = None;
        for config in [LineConfig::as_is(), LineConfig::as_is().active_low(), LineConfig::as_is()] {
            let mut line = stand.claim(config)?;
            if let Some(level) = level {
                reads(&mut line, config.invert_if_active_low(level), &format!("{config:?} after {before:?}"))?;
            }
            let direction = stand.info()?.direction;
            let changed = *found.get_or_insert(direction) != direction;
            check(!changed, format!("{config:?} after {before:?} changed the direction to {direction:?}"))?;
            check(stand.level()? == level, format!("{config:?} after {before:?} changed the level {level:?}"))?;
        }
    }
    Ok(())
}

fn as_is_while_held<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    declared(stand.caps().reconfigure_in_place, "reconfiguration in place")?;
    stand.needs(Need::Level)?;
    for raw in [true, false] {
        let mut line = stand.claim(LineConfig::output(!raw).active_low())?;
        for config in [LineConfig::as_is(), LineConfig::as_is().active_low(), LineConfig::as_is()] {
            super::stand::works(line.reconfigure(config), &format!("reconfigure to {config:?}"))?;
            check(line.config() == config, "config() is not what was asked for")?;
            reads(&mut line, config.invert_if_active_low(raw), &format!("a held output, then {config:?}"))?;
            stand.wire(raw, &format!("a held output, then {config:?}"))?;
            check(stand.info()?.direction == Direction::Output, "a held output became an input by as-is")?;
        }
    }
    Ok(())
}
