//! How often a node whose certificate has expired may ask for the next one: each request is a commit and an audit row, and
//! the key may be in other hands by now.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use control_lib::Name;
use tonic::{Code, Status};

use crate::wire;

/// Of one node within [`WINDOW`]: enough for answers that are lost.
const REQUESTS: u32 = 6;
const WINDOW: Duration = Duration::from_secs(60);

/// The requests of each node within its current window. Nodes that are not enrolled do not get here.
#[derive(Default)]
pub(crate) struct Comebacks(Mutex<HashMap<Name, (Instant, u32)>>);

impl Comebacks {
    /// Counts one more request of `node`, or refuses it.
    pub(crate) fn admit(&self, node: &Name, now: Instant) -> Result<(), Status> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.retain(|_, (began, _)| now.duration_since(*began) < WINDOW);
        let (_, requests) = windows.entry(node.clone()).or_insert((now, 0));
        *requests += 1;
        if *requests <= REQUESTS {
            return Ok(());
        }
        let why = format!("node/{node} has come back {REQUESTS} times within a minute: wait a minute");
        Err(wire::status(Code::ResourceExhausted, "TOO_OFTEN", &why, [("node", node.to_string())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_ask_so_often_and_again_later_and_others_do_not_pay_for_it() {
        let (comebacks, start) = (Comebacks::default(), Instant::now());
        let (pi_7, pi_8): (Name, Name) = ("pi-7".parse().unwrap(), "pi-8".parse().unwrap());
        let admitted = |node, at| comebacks.admit(node, start + at).is_ok();
        assert!((0..REQUESTS).all(|_| admitted(&pi_7, Duration::ZERO)));
        assert!(!admitted(&pi_7, WINDOW / 2) && admitted(&pi_8, WINDOW / 2));
        assert!(admitted(&pi_7, WINDOW));
    }
}
