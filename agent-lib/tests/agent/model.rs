//! Whatever is asked in whatever order: the agent agrees with a table of who holds what.

use std::collections::BTreeMap;

use agent_lib::Refusal;
use hal_core::{Board, LineConfig, LineId};
use proptest::prelude::*;
use sim::Level;

use crate::*;

const LINES: [LineId; 5] = [RELAY, SENSE, LED, KEPT, LineId(28)];

#[derive(Clone, Copy, Debug)]
enum Ask {
    ClaimInput,
    ClaimOutput(bool),
    Configure(bool),
    Write(bool),
    WriteTwo(usize, bool),
    Toggle,
    Read,
    Release,
    ReleaseAll,
}

/// Holder and, for outputs, the level written.
type Table = BTreeMap<LineId, (Holder, Option<bool>)>;

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        Just(Ask::ClaimInput),
        any::<bool>().prop_map(Ask::ClaimOutput),
        any::<bool>().prop_map(Ask::Configure),
        any::<bool>().prop_map(Ask::Write),
        (0..LINES.len(), any::<bool>()).prop_map(|(other, level)| Ask::WriteTwo(other, level)),
        Just(Ask::Toggle),
        Just(Ask::Read),
        Just(Ask::Release),
        Just(Ask::ReleaseAll),
    ]
}

/// What the table says: may this holder write that line?
fn writable(table: &Table, who: &Holder, line: LineId) -> bool {
    usable(line) && table.get(&line).is_none_or(|(holder, output)| holder == who && output.is_some())
}

fn mine_or_free(table: &Table, who: &Holder, line: LineId) -> bool {
    usable(line) && table.get(&line).is_none_or(|(holder, _)| holder == who)
}

fn mine(table: &Table, who: &Holder, line: LineId) -> bool {
    table.get(&line).is_some_and(|(holder, _)| holder == who)
}

fn usable(line: LineId) -> bool {
    line != KEPT && line.0 < 28
}

/// Asks the agent, and takes down in the table what must have come of it.
fn act(agent: &mut Agent<SimBoard>, table: &mut Table, who: &Holder, line: LineId, ask: Ask) -> (bool, bool) {
    let ok = |result: Result<(), Refusal>| result.is_ok();
    match ask {
        Ask::ClaimInput => {
            let due = mine_or_free(table, who, line);
            due.then(|| table.insert(line, (who.clone(), None)));
            (due, ok(agent.claim(T0, who.caller(), line, Claim::permanent(LineConfig::input())).map(drop)))
        }
        Ask::ClaimOutput(level) => {
            let due = mine_or_free(table, who, line);
            due.then(|| table.insert(line, (who.clone(), Some(level))));
            (due, ok(agent.claim(T0, who.caller(), line, Claim::permanent(LineConfig::output(level))).map(drop)))
        }
        Ask::Configure(level) => {
            let due = mine(table, who, line);
            due.then(|| table.insert(line, (who.clone(), Some(level))));
            (due, ok(agent.configure(T0, who.caller(), line, LineConfig::output(level), None)))
        }
        Ask::Write(level) => {
            let due = writable(table, who, line);
            due.then(|| table.insert(line, (who.clone(), Some(level))));
            (due, ok(agent.write(T0, who.caller(), line, level, None)))
        }
        Ask::WriteTwo(other, level) => {
            let other = LINES[other];
            let due = line != other && writable(table, who, line) && writable(table, who, other);
            due.then(|| [line, other].map(|line| table.insert(line, (who.clone(), Some(level)))));
            (due, ok(agent.write_all(T0, who.caller(), &writes(&[(line, level), (other, level)]))))
        }
        Ask::Toggle => {
            let due = writable(table, who, line);
            let level = agent.toggle(T0, who.caller(), line, None).ok();
            due.then(|| table.insert(line, (who.clone(), level)));
            (due, level.is_some())
        }
        Ask::Read => (usable(line), agent.read(T0, line).is_ok()),
        Ask::Release => {
            let due = mine(table, who, line);
            due.then(|| table.remove(&line));
            (due, ok(agent.release(T0, who.caller(), line, None)))
        }
        Ask::ReleaseAll => {
            let released: Vec<_> = table.keys().copied().collect();
            table.clear();
            (true, agent.release_all(T0).released == released)
        }
    }
}

/// Holders, outputs and free lines are as the table says, in the agent's list, on the board and on the wires.
fn agrees(agent: &Agent<SimBoard>, bench: &Bench, table: &Table) -> Result<(), TestCaseError> {
    let held = agent.list(T0).into_iter().filter_map(|status| Some((status.line, status.held?)));
    let held: BTreeMap<_, _> = held.map(|(line, held)| (line, (held.holder, held.config.is_output()))).collect();
    let due: BTreeMap<_, _> = table.iter().map(|(line, (who, out))| (*line, (who.clone(), out.is_some()))).collect();
    prop_assert_eq!(held, due);
    for line in LINES.into_iter().filter(|line| line.0 < 28) {
        prop_assert_eq!(agent.board().info(line).unwrap().used, table.contains_key(&line));
    }
    if let Some((_, Some(level))) = table.get(&LED) {
        prop_assert_eq!(bench.level(LED), if *level { Level::High } else { Level::Low });
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_agent_agrees_with_a_table(asks in prop::collection::vec((any::<bool>(), 0..LINES.len(), ask()), 1..60)) {
        let (mut agent, bench) = agent();
        let mut table = Table::new();
        for (first, line, ask) in asks {
            let who = if first { anna() } else { ben() };
            let (due, done) = act(&mut agent, &mut table, &who, LINES[line], ask);
            prop_assert_eq!(due, done, "{:?} of {}", ask, LINES[line]);
            agrees(&agent, &bench, &table)?;
        }
    }
}
