//! What racers for lines did and were told, and whether that can be true of leases that exclude each other.
//!
//! A caller knows of an operation only that it happened between `began` and `ended`. So the judge uses what is certain:
//! from when to when a lease lived at least, and at most.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One operation as its caller saw it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Whose; the racers are numbered.
    pub racer: usize,
    /// Before the request was sent.
    pub began: Instant,
    /// After the answer had come.
    pub ended: Instant,
    /// What was asked and answered.
    pub what: What,
}

/// An operation and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A lease was granted for so long.
    Granted {
        /// Its token.
        token: u64,
        /// How long it lasts unless it is renewed.
        ttl: Duration,
    },
    /// No lease: this racer holds the line.
    Held {
        /// As the refusal names it.
        by: usize,
    },
    /// A write under this token was done.
    Written(u64),
    /// A write under this token was refused, as late.
    Late(u64),
    /// The lease of this token was given up.
    Released(u64),
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Two leases lived at the same moment.
    TwoLive(u64, u64),
    /// A lease was granted a token that is not above all that were granted before.
    TokenFell(u64),
    /// A write was done under a token that cannot have been the line's.
    StaleWrite(u64),
    /// A write was refused under a token that must have been the line's.
    WronglyLate(u64),
    /// A claim was refused in the name of somebody who cannot have held the line.
    WrongHolder(usize),
}

/// A lease, from its operations.
#[derive(Debug)]
struct Tenure {
    token: u64,
    racer: usize,
    ttl: Duration,
    granted: (Instant, Instant),
    /// Every operation that renewed it, the claim included.
    renewed: Vec<(Instant, Instant)>,
    /// When its holder gave it up, or claimed anew.
    released: Option<(Instant, Instant)>,
}

impl Tenure {
    fn end(&mut self, span: (Instant, Instant)) {
        self.released = Some(self.released.map_or(span, |earlier| earlier.min(span)));
    }

    /// The last moment at which it may have lived, as far as others than the operation that ended at `but` show.
    fn at_most(&self, but: Option<Instant>) -> Instant {
        let renewed = self.renewed.iter().filter(|(_, ended)| Some(*ended) != but);
        let last = renewed.map(|(_, ended)| *ended + self.ttl).max().unwrap_or(self.granted.1);
        self.released.map_or(last, |(_, ended)| ended.min(last))
    }

    /// The spans in which it certainly lived.
    fn at_least(&self) -> impl Iterator<Item = (Instant, Instant)> {
        let released = self.released.map(|(began, _)| began);
        let span = move |(began, ended): &(Instant, Instant)| {
            let until = released.map_or(*began + self.ttl, |released| released.min(*began + self.ttl));
            (*ended, until)
        };
        self.renewed.iter().map(span).filter(|(from, until)| from < until)
    }
}

/// Judges all that happened on one line.
pub fn judge(events: &[Event]) -> Vec<Violation> {
    let tenures = tenures(events);
    let mut found = tokens_that_fell(&tenures);
    for (at, one) in tenures.iter().enumerate() {
        let overlaps = |other: &&Tenure| {
            one.at_least().any(|(from, until)| other.at_least().any(|(begun, end)| from < end && begun < until))
        };
        found.extend(tenures[at + 1..].iter().filter(overlaps).map(|other| Violation::TwoLive(one.token, other.token)));
    }
    let by_token: BTreeMap<u64, &Tenure> = tenures.iter().map(|tenure| (tenure.token, tenure)).collect();
    for event in events {
        let Event { racer, began, ended, ref what } = *event;
        match *what {
            What::Written(token) => {
                let own = by_token.get(&token).filter(|own| own.racer == racer);
                let dead = own.is_none_or(|own| own.at_most(Some(ended)) < began);
                let fenced = tenures.iter().any(|newer| newer.token > token && newer.granted.1 < began);
                found.extend((dead || fenced).then_some(Violation::StaleWrite(token)));
            }
            What::Late(token) => {
                let lives = by_token
                    .get(&token)
                    .is_some_and(|own| own.at_least().any(|(from, to)| from <= began && ended < to));
                found.extend(lives.then_some(Violation::WronglyLate(token)));
            }
            What::Held { by } => {
                let may =
                    |other: &&Tenure| other.racer == by && other.granted.0 <= ended && began <= other.at_most(None);
                let known = by != racer && tenures.iter().any(|other| may(&other));
                found.extend((!known).then_some(Violation::WrongHolder(by)));
            }
            What::Granted { .. } | What::Released(_) => {}
        }
    }
    found
}

/// In the order of their tokens.
fn tenures(events: &[Event]) -> Vec<Tenure> {
    let granted = |event: &Event| match event.what {
        What::Granted { token, ttl } => {
            let span = (event.began, event.ended);
            Some((token, Tenure { token, racer: event.racer, ttl, granted: span, renewed: vec![span], released: None }))
        }
        _ => None,
    };
    let mut tenures: BTreeMap<u64, Tenure> = events.iter().filter_map(granted).collect();
    for event in events {
        let span = (event.began, event.ended);
        match event.what {
            What::Written(token) => _ = tenures.get_mut(&token).map(|tenure| tenure.renewed.push(span)),
            What::Released(token) => _ = tenures.get_mut(&token).map(|tenure| tenure.end(span)),
            _ => {}
        }
    }
    let mut tenures: Vec<_> = tenures.into_values().collect();
    for at in 0..tenures.len() {
        let (one, later) = tenures[at..].split_first_mut().expect("it is within");
        if let Some(anew) = later.iter().find(|later| later.racer == one.racer) {
            one.end(anew.granted);
        }
    }
    tenures
}

fn tokens_that_fell(tenures: &[Tenure]) -> Vec<Violation> {
    let later = |at: usize| tenures[at + 1..].iter().any(|higher| higher.granted.1 < tenures[at].granted.0);
    (0..tenures.len()).filter(|at| later(*at)).map(|at| Violation::TokenFell(tenures[at].token)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_millis(100);

    /// Racer, from and to in milliseconds.
    fn history(events: &[(usize, u64, u64, What)]) -> Vec<Violation> {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let event = |(racer, began, ended, what): &(usize, u64, u64, What)| Event {
            racer: *racer,
            began: at(*began),
            ended: at(*ended),
            what: what.clone(),
        };
        judge(&events.iter().map(event).collect::<Vec<_>>())
    }

    fn granted(token: u64) -> What {
        What::Granted { token, ttl: TTL }
    }

    #[test]
    fn what_can_be_is_no_violation() {
        let told = history(&[
            (0, 0, 2, granted(1)),
            (1, 0, 2, What::Held { by: 0 }),
            (0, 60, 61, What::Written(1)),
            (1, 150, 152, What::Held { by: 0 }),
            // it ran out somewhere from 160 to 161
            (1, 158, 163, granted(2)),
            (0, 158, 160, What::Late(1)),
            (0, 170, 171, What::Late(1)),
            (1, 180, 182, What::Released(2)),
            (0, 181, 183, granted(3)),
            // who holds the line may claim it anew
            (0, 190, 191, granted(4)),
            (0, 192, 193, What::Late(3)),
        ]);
        assert_eq!(told, []);
    }

    #[test]
    fn each_violation_is_found() {
        let first = (0, 0, 2, granted(5));
        for (second, violation) in [
            ((1, 50, 51, granted(6)), Violation::TwoLive(5, 6)),
            ((1, 150, 151, granted(4)), Violation::TokenFell(4)),
            ((0, 103, 104, What::Written(5)), Violation::StaleWrite(5)),
            ((1, 50, 51, What::Written(5)), Violation::StaleWrite(5)),
            ((0, 50, 51, What::Late(5)), Violation::WronglyLate(5)),
            ((1, 150, 151, What::Held { by: 0 }), Violation::WrongHolder(0)),
            ((0, 50, 51, What::Held { by: 0 }), Violation::WrongHolder(0)),
        ] {
            assert_eq!(history(&[first.clone(), second]), [violation]);
        }
    }

    #[test]
    fn a_write_under_a_token_that_another_has_overtaken_is_found() {
        let told = history(&[
            (0, 0, 2, granted(1)),
            (0, 10, 11, What::Released(1)),
            (1, 12, 13, granted(2)),
            (0, 20, 21, What::Written(1)),
        ]);
        assert!(told.contains(&Violation::StaleWrite(1)), "{told:?}");
    }
}
