//! Whatever is asked in whatever order and however late the host comes: the agent agrees with a table of leases.

use std::collections::BTreeMap;

use agent_lib::{Refusal, Token};
use hal_core::LineConfig;
use proptest::prelude::*;
use sim::Level;

use crate::*;

/// The first has a declared safe state, the second has none.
const LINES: [LineId; 2] = [RELAY, LED];

#[derive(Clone, Copy, Debug)]
enum Ask {
    Claim { millis: u64, safe: Option<SafeState>, steal: bool },
    Permanent,
    Write { level: bool, old_token: bool },
    Keepalive,
    Release,
    Wait { millis: u64, timer: bool },
}

#[derive(Clone, Debug)]
struct Lent {
    who: Holder,
    token: Token,
    ttl: Option<Duration>,
    expires: Option<Instant>,
    safe: Option<SafeState>,
    level: bool,
}

/// Who holds what, who was too late, and which levels were left behind.
#[derive(Default)]
struct Table {
    lent: BTreeMap<LineId, Lent>,
    late: BTreeMap<LineId, Holder>,
    left: BTreeMap<LineId, bool>,
    highest: u64,
}

/// What must come of a call.
#[derive(Debug, PartialEq)]
enum Due {
    Done,
    Late,
    Stale,
    Held,
    NotHeld,
    Terms,
}

fn ask() -> impl Strategy<Value = Ask> {
    let safe = prop_oneof![Just(None), Just(Some(SafeState::Low)), Just(Some(SafeState::High))];
    let claim = (prop_oneof![Just(50), 100..3_000_u64], safe, any::<bool>());
    prop_oneof![
        claim.prop_map(|(millis, safe, steal)| Ask::Claim { millis, safe, steal }),
        Just(Ask::Permanent),
        (any::<bool>(), any::<bool>()).prop_map(|(level, old_token)| Ask::Write { level, old_token }),
        Just(Ask::Keepalive),
        Just(Ask::Release),
        (0..2_500_u64, any::<bool>()).prop_map(|(millis, timer)| Ask::Wait { millis, timer }),
    ]
}

fn declared(line: LineId) -> bool {
    line == RELAY
}

impl Table {
    fn leave(&mut self, line: LineId) -> Option<Lent> {
        let lent = self.lent.remove(&line)?;
        let declared = if declared(line) { SafeState::Low } else { SafeState::Input };
        self.left.insert(line, lent.safe.unwrap_or(declared) == SafeState::High); // an input is pulled down
        Some(lent)
    }

    fn expire(&mut self, now: Instant, line: LineId) {
        if self.lent.get(&line).and_then(|lent| lent.expires).is_some_and(|expires| expires <= now) {
            let lent = self.leave(line);
            self.late.extend(lent.map(|lent| (line, lent.who)));
        }
    }

    fn lend(&mut self, now: Instant, line: LineId, who: &Holder, ttl: Option<Duration>, safe: Option<SafeState>) {
        let expires = ttl.map(|ttl| now.saturating_add(ttl));
        self.late.remove(&line);
        let lent = Lent { who: who.clone(), token: Token(0), ttl, expires, safe, level: true };
        self.lent.insert(line, lent);
    }

    /// What a call of a holder must come to, before it is carried out.
    fn due(&self, who: &Holder, line: LineId, old_token: bool) -> Due {
        match self.lent.get(&line) {
            _ if self.late.get(&line) == Some(who) => Due::Late,
            _ if old_token => Due::Stale,
            Some(lent) if lent.who != *who => Due::Held,
            Some(_) => Due::Done,
            None => Due::NotHeld,
        }
    }

    fn claim(&mut self, now: Instant, who: &Holder, line: LineId, claim: Claim) -> Due {
        let (ttl, safe) = match claim.lease {
            agent_lib::Lease::Permanent => (None, None),
            agent_lib::Lease::For { ttl, safe } => (Some(ttl), safe),
        };
        let allowed = match ttl {
            None => !declared(line),
            Some(ttl) => ttl >= Duration::from_millis(100) && (declared(line) || safe.is_some()),
        };
        self.expire(now, line);
        let theirs = self.lent.get(&line).is_some_and(|lent| lent.who != *who);
        match () {
            () if !allowed => Due::Terms,
            () if theirs && claim.on_conflict == agent_lib::OnConflict::Fail => Due::Held,
            () => {
                self.leave(line);
                self.lend(now, line, who, ttl, safe);
                Due::Done
            }
        }
    }

    fn renew(&mut self, now: Instant, line: LineId) {
        if let Some(lent) = self.lent.get_mut(&line) {
            lent.expires = lent.ttl.map(|ttl| now.saturating_add(ttl));
        }
    }
}

fn came_to(result: Result<(), Refusal>) -> Due {
    match result {
        Ok(()) => Due::Done,
        Err(Refusal::LeaseExpired { .. }) => Due::Late,
        Err(Refusal::StaleToken { .. }) => Due::Stale,
        Err(Refusal::Held { .. }) => Due::Held,
        Err(Refusal::NotHeld { .. }) => Due::NotHeld,
        Err(Refusal::LeaseOutOfRange { .. } | Refusal::SafeStateRequired { .. }) => Due::Terms,
        Err(Refusal::PermanentNotAllowed { .. }) => Due::Terms,
        Err(other) => panic!("{other:?}"),
    }
}

fn claim(
    agent: &mut Agent<SimBoard>,
    table: &mut Table,
    now: Instant,
    who: &Holder,
    line: LineId,
    ask: Claim,
) -> (Due, Due) {
    let due = table.claim(now, who, line, ask);
    let caller = who.caller().with_rights(Rights { permanent: false, steal: true });
    let grant = agent.claim(now, caller, line, ask);
    if let (Ok(grant), Some(lent)) = (&grant, table.lent.get_mut(&line)) {
        assert!(grant.token.0 > table.highest, "tokens rise");
        assert_eq!(grant.expires, lent.expires);
        (table.highest, lent.token) = (grant.token.0, grant.token);
    }
    (due, came_to(grant.map(drop)))
}

fn act(
    agent: &mut Agent<SimBoard>,
    bench: &Bench,
    table: &mut Table,
    who: &Holder,
    line: LineId,
    ask: Ask,
) -> (Due, Due) {
    let now = bench.clock().now();
    match ask {
        Ask::Claim { millis, safe, steal } => {
            let ask = Claim::leased(LineConfig::output(true), Duration::from_millis(millis), safe);
            claim(agent, table, now, who, line, if steal { ask.stealing() } else { ask })
        }
        Ask::Permanent => claim(agent, table, now, who, line, Claim::permanent(LineConfig::output(true))),
        Ask::Write { level, old_token } => {
            table.expire(now, line);
            let token = old_token.then_some(Token(0));
            let mut due = table.due(who, line, old_token);
            if due == Due::NotHeld {
                let ttl = declared(line).then_some(Duration::from_secs(60));
                table.lend(now, line, who, ttl, None);
                due = Due::Done;
            }
            let done = came_to(agent.write(now, who.caller(), line, level, token));
            if due == Due::Done {
                table.renew(now, line);
                let token = agent.grant(who, line).unwrap().token;
                table.highest = table.highest.max(token.0);
                table.lent.entry(line).and_modify(|lent| (lent.token, lent.level) = (token, level));
            }
            (due, done)
        }
        Ask::Keepalive => {
            table.expire(now, line);
            let due = table.due(who, line, false);
            if due == Due::Done {
                table.renew(now, line);
            }
            (due, came_to(agent.keepalive(now, who.caller(), line, None).map(drop)))
        }
        Ask::Release => {
            table.expire(now, line);
            let due = table.due(who, line, false);
            if due == Due::Done {
                table.leave(line);
            }
            (due, came_to(agent.release(now, who.caller(), line, None)))
        }
        Ask::Wait { millis, timer } => {
            let later = now.saturating_add(Duration::from_millis(millis));
            if timer {
                pass(agent, bench, later);
                LINES.into_iter().for_each(|line| table.expire(later, line));
            } else {
                bench.clock().advance(Duration::from_millis(millis));
            }
            (Due::Done, Due::Done)
        }
    }
}

/// Holders, tokens, ends and wires are as the table says; leases that nobody has looked at since they ran out included.
fn agrees(agent: &Agent<SimBoard>, bench: &Bench, table: &Table) -> Result<(), TestCaseError> {
    for line in LINES {
        let lent = table.lent.get(&line);
        for who in [anna(), ben()] {
            let due = lent.filter(|lent| lent.who == who).map(|lent| (lent.token, lent.expires));
            prop_assert_eq!(agent.grant(&who, line).map(|grant| (grant.token, grant.expires)), due);
        }
        let level = lent.map(|lent| lent.level).or(table.left.get(&line).copied()).unwrap_or_default();
        prop_assert_eq!(bench.level(line), if level { Level::High } else { Level::Low });
    }
    let next = table.lent.values().filter_map(|lent| lent.expires).min();
    prop_assert_eq!(agent.poll_timeout(), next);
    Ok(())
}

proptest! {
    #[test]
    fn the_agent_agrees_with_a_table_of_leases(
        second in any::<bool>(),
        asks in prop::collection::vec((any::<bool>(), 0..LINES.len(), ask()), 1..80),
    ) {
        let (mut agent, bench) = agent_on(PROFILES[usize::from(second)], [(RELAY, SafeState::Low)]);
        let mut table = Table::default();
        for (first, line, ask) in asks {
            let who = if first { anna() } else { ben() };
            let (due, done) = act(&mut agent, &bench, &mut table, &who, LINES[line], ask);
            prop_assert_eq!(due, done, "{:?} of {}", ask, LINES[line]);
            agrees(&agent, &bench, &table)?;
        }
    }
}
