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

fn as_is<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    for before in [LineConfig::output(true), LineConfig::output(false), LineConfig::input()] {
        drop(stand.claim(before)?);
        let (direction, level) = (stand.info()?.direction, stand.level()?);
        let mut line = stand.claim(LineConfig::as_is())?;
        if let Some(level) = level {
            reads(&mut line, level, &format!("as is after {before:?}"))?;
        }
        check(stand.info()?.direction == direction, format!("an as-is claim changed the direction {direction:?}"))?;
        check(stand.level()? == level, format!("an as-is claim changed the level {level:?}"))?;
        drop(line);
        drop(stand.claim(LineConfig::as_is().active_low())?);
        check(stand.info()?.direction == direction, "an active-low as-is claim changed the direction")?;
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
