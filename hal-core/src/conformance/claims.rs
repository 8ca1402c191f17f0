//! Who has a line.

use alloc::format;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};

use embedded_hal::digital::{InputPin, OutputPin, StatefulOutputPin};

use super::stand::{CONSUMER, Stand, Verdict, check, refused, works};
use super::{Case, Harness};
use crate::{Board, Direction, Edges, FaultKind, Line, LineConfig, LineId};

pub(super) fn cases<H: Harness>() -> Vec<Case<H>> {
    Vec::from([
        Case { name: "claim", attempt: claim },
        Case { name: "busy", attempt: busy },
        Case { name: "release", attempt: release },
        Case { name: "drop starts afresh", attempt: dropped },
        Case { name: "unknown line", attempt: unknown_line },
        Case { name: "wrong mode", attempt: wrong_mode },
    ])
}

fn claim<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    for (config, direction) in [
        (LineConfig::input(), Direction::Input),
        (LineConfig::output(true), Direction::Output),
        (LineConfig::output(false).active_low(), Direction::Output),
    ] {
        let line = stand.claim(config)?;
        check(line.id() == stand.line, format!("claimed {}, got {}", stand.line, line.id()))?;
        check(line.config() == config, format!("asked for {config:?}, got {:?}", line.config()))?;
        let info = stand.info()?;
        check(info.used, "a claimed line's info says that it is free")?;
        check(&*info.consumer == CONSUMER, format!("info names the consumer {:?}", info.consumer))?;
        check(info.direction == direction, format!("info says {:?} for {config:?}", info.direction))?;
        check(info.active_low == config.active_low, format!("info says active_low {}", info.active_low))?;
    }
    Ok(())
}

fn busy<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    let mut line = stand.claim(LineConfig::output(true))?;
    refused(stand.try_claim(LineConfig::input()), FaultKind::Busy, "a second claim")?;
    refused(stand.try_claim(LineConfig::as_is()), FaultKind::Busy, "a second claim as is")?;
    // Who has it does not notice.
    works(line.set_low(), "set_low after another's claim was refused")?;
    let info = stand.info()?;
    check(info.used && info.direction == Direction::Output, format!("after a refused claim info says {info:?}"))
}

fn release<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    for config in [LineConfig::input(), LineConfig::output(true)] {
        drop(stand.claim(config)?);
        check(!stand.info()?.used, format!("info says that a released line is used ({config:?})"))?;
        drop(stand.claim(config)?);
    }
    Ok(())
}

/// Nothing of the claim before is left but what the wire keeps.
fn dropped<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    drop(stand.claim(LineConfig::output(true).active_low())?);
    let mut line = stand.claim(LineConfig::input())?;
    check(!stand.info()?.active_low, "a new claim is active low like the one before")?;
    refused(line.is_set_high(), FaultKind::WrongMode, "is_set_high of an input that was an output")
}

fn unknown_line<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    let lines = stand.board().chip().lines;
    for id in [LineId(lines), LineId(u16::MAX)] {
        refused(stand.board().info(id), FaultKind::NoSuchLine, &format!("info of {id} of {lines} lines"))?;
        let claim = stand.board().claim(id, LineConfig::input(), CONSUMER);
        refused(claim, FaultKind::NoSuchLine, &format!("a claim of {id} of {lines} lines"))?;
    }
    Ok(())
}

fn wrong_mode<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    for config in [LineConfig::input(), LineConfig::as_is()] {
        let mut line = stand.claim(config)?;
        refused(line.set_high(), FaultKind::WrongMode, &format!("set_high of {config:?}"))?;
        refused(line.toggle(), FaultKind::WrongMode, &format!("toggle of {config:?}"))?;
        refused(line.is_set_low(), FaultKind::WrongMode, &format!("is_set_low of {config:?}"))?;
    }
    for config in [LineConfig::input(), LineConfig::as_is(), LineConfig::output(true).with_edges(Edges::Both)] {
        let mut line = stand.claim(config)?;
        works(line.is_high(), &format!("is_high of {config:?}"))?;
        let Poll::Ready(answer) = line.poll_edge(&mut Context::from_waker(Waker::noop())) else {
            return check(false, format!("poll_edge of {config:?} waits for an edge that cannot come"));
        };
        refused(answer, FaultKind::WrongMode, &format!("poll_edge of {config:?}"))?;
    }
    Ok(())
}
