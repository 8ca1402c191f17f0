//! What changes of the level are told.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::stand::{LineOf, PAUSE, Stand, Unmet, Verdict, check, declared, next_edge, reads, refused, works};
use super::{Case, Harness, Need, wake};
use crate::{Bias, Board, EdgeEvent, Edges, FaultKind, Line, LineConfig, LineMode, Lost};

pub(super) fn cases<H: Harness>() -> Vec<Case<H>> {
    Vec::from([
        Case { name: "edges: order, times, numbers", attempt: order },
        Case { name: "edges: only those asked for", attempt: filter },
        Case { name: "edges: polarity changed", attempt: polarity },
        Case { name: "edges: overflow", attempt: overflow },
        Case { name: "edges: wake-up", attempt: wake::wakes },
        Case { name: "debounce", attempt: debounce },
    ])
}

/// A watched line whose wire is low, with nothing waiting.
pub(super) fn watched<H: Harness>(stand: &mut Stand<'_, H>, config: LineConfig) -> Result<LineOf<H>, Unmet> {
    stand.needs(Need::Edges)?;
    let input = stand.claim(LineConfig::input())?;
    stand.drive(false)?;
    drop(input);
    let line = stand.claim(config)?;
    stand.drive(false)?;
    Ok(line)
}

fn waiting<L: Line>(line: &mut L) -> Result<Vec<EdgeEvent>, Unmet> {
    let mut edges = Vec::new();
    while let Some(edge) = next_edge(line)? {
        edges.push(edge);
    }
    Ok(edges)
}

fn drive_all<H: Harness>(stand: &mut Stand<'_, H>, levels: impl IntoIterator<Item = bool>) -> Verdict {
    levels.into_iter().try_for_each(|level| stand.drive(level))
}

fn rising(edges: &[EdgeEvent]) -> Vec<bool> {
    edges.iter().map(|edge| edge.rising).collect()
}

fn order<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    let levels = [true, false, true, false, true];
    let mut line = watched(stand, LineConfig::input().with_edges(Edges::Both))?;
    check(next_edge(&mut line)?.is_none(), "an edge waits that nobody made")?;
    let start = stand.board().now();
    drive_all(stand, levels)?;
    let end = stand.board().now();
    let edges = waiting(&mut line)?; // all at once: a backend that fetches in blocks must not lose what it holds
    check(rising(&edges) == levels, format!("driven to {levels:?}, told {:?}", rising(&edges)))?;
    check(edges.is_sorted_by_key(|edge| edge.at), format!("the times go backwards: {edges:?}"))?;
    check(
        edges.iter().all(|edge| start <= edge.at && edge.at <= end),
        format!("{edges:?} outside {start:?}..{end:?}"),
    )?;
    let numbered = stand.caps().edge_seq;
    for (edge, number) in edges.iter().zip(1..) {
        let (seq, lost) = if numbered { (Some(number), Lost::None) } else { (None, Lost::Unknown) };
        check((edge.seq, edge.lost) == (seq, lost), format!("edge {number} is {:?}, {:?}", edge.seq, edge.lost))?;
        check(edge.line == line.id(), format!("an edge of {}", edge.line))?;
    }
    reads(&mut line, true, "a watched line")
}

fn filter<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    for edges in [Edges::Rising, Edges::Falling, Edges::Both] {
        for config in [LineConfig::input().with_edges(edges), LineConfig::input().with_edges(edges).active_low()] {
            let mut line = watched(stand, config)?;
            told(stand, &mut line, config)?;
        }
    }
    Ok(())
}

/// From a wire that is low: the line tells those edges that it was asked for. An odd number of changes, so that edges of
/// the wrong direction are told by their number.
fn told<H: Harness>(stand: &mut Stand<'_, H>, line: &mut LineOf<H>, config: LineConfig) -> Verdict {
    let raw = [true, false, true];
    drive_all(stand, raw)?;
    let logical = raw.map(|level| config.invert_if_active_low(level));
    let wanted = |rising: &bool| matches!(config.mode, LineMode::Input { edges, .. } if edges.wants(*rising));
    let expected: Vec<bool> = logical.into_iter().filter(wanted).collect();
    let seen = rising(&waiting(line)?);
    check(seen == expected, format!("{config:?}, driven to {raw:?}: told {seen:?}, expected {expected:?}"))?;
    stand.drive(false)?;
    waiting(line).map(drop)
}

/// Interrupts hang on raw edges: they have to follow when the polarity changes and nothing else.
fn polarity<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    for edges in [Edges::Rising, Edges::Falling] {
        let config = LineConfig::input().with_edges(edges);
        let mut line = watched(stand, config)?;
        for config in [config.active_low(), config, config.active_low()] {
            works(line.reconfigure(config), &format!("reconfigure to {config:?}"))?;
            told(stand, &mut line, config)?;
        }
        let quiet = LineConfig::input();
        works(line.reconfigure(quiet), "reconfigure to no edges")?;
        stand.drive(true)?;
        stand.drive(false)?;
        works(line.reconfigure(config), "reconfigure back to edges")?;
        check(next_edge(&mut line)?.is_none(), "an edge was kept that nobody asked for")?;
        told(stand, &mut line, config)?;
    }
    Ok(())
}

/// Nobody fetches: the board keeps some and says as much of the rest as it declares.
fn overflow<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    let made = stand.too_many_edges();
    let mut line = watched(stand, LineConfig::input().with_edges(Edges::Both))?;
    drive_all(stand, (0..made).map(|edge| edge % 2 == 0))?;
    let kept = waiting(&mut line)?;
    check(!kept.is_empty() && kept.len() < made as usize, format!("{} of {made} edges were kept", kept.len()))?;
    check(kept.is_sorted_by_key(|edge| edge.at), "the times go backwards")?;
    let level = !made.is_multiple_of(2);
    reads(&mut line, level, "after a burst")?;
    stand.drive(!level)?; // so that a loss at the end of the burst shows too
    let after = waiting(&mut line)?;
    check(after.len() == 1, format!("after a burst was fetched, one edge was told as {}", after.len()))?;
    let all: Vec<EdgeEvent> = kept.into_iter().chain(after).collect();
    if stand.caps().edge_seq { counted(&all, made + 1) } else { uncounted(&all) }
}

fn counted(edges: &[EdgeEvent], made: u32) -> Verdict {
    let lost = |edge: &EdgeEvent| if let Lost::Some(lost) = edge.lost { lost } else { 0 };
    let told = edges.len() as u32 + edges.iter().map(lost).sum::<u32>();
    check(told == made, format!("{made} edges were made, {told} are accounted for"))?;
    let known = edges.iter().all(|edge| edge.seq.is_some() && !matches!(edge.lost, Lost::Unknown | Lost::Some(0)));
    check(known, "an edge without a number, or a loss of nothing")
}

fn uncounted(edges: &[EdgeEvent]) -> Verdict {
    let honest = edges.iter().all(|edge| edge.seq.is_none() && edge.lost == Lost::Unknown);
    check(honest, "the board declares no edge numbers, yet claims to know what was lost")
}

fn debounce<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    let mode = LineMode::Input { bias: Bias::AsIs, edges: Edges::Both, debounce_us: 60_000 };
    let config = LineConfig { mode, active_low: false };
    if !stand.caps().kernel_debounce {
        refused(stand.try_claim(config), FaultKind::Unsupported, "a debounce time that is not declared")?;
    }
    declared(stand.caps().kernel_debounce, "kernel debounce")?;
    let mut line = watched(stand, config)?;
    stand.settle(Duration::from_millis(200));
    drive_all(stand, [true, false, true, false, true])?; // 10 ms of bouncing
    check(next_edge(&mut line)?.is_none(), "an edge was told while the contact bounced")?;
    stand.settle(Duration::from_millis(200) + PAUSE);
    let edges = waiting(&mut line)?;
    check(rising(&edges) == [true], format!("a contact bounced and closed, told {:?}", rising(&edges)))?;
    reads(&mut line, true, "a contact that has closed")
}
