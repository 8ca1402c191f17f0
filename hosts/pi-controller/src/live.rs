//! Which process speaks for each node: one at a time, and a second one is noticed.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use control_lib::Name;

/// Earlier processes of a node that are remembered.
const REMEMBERED: usize = 8;

/// The processes that have `WatchTrust` open, one a node.
#[derive(Default)]
pub(crate) struct LiveNodes(Mutex<HashMap<Name, Live>>);

struct Live {
    instance: String,
    address: SocketAddr,
    /// Those that others have taken over from.
    before: VecDeque<String>,
}

/// How a process comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nobody spoke for the node, or the same connection did.
    Alone,
    /// It takes over from another connection: its own from before a loss, or that of a process that is gone.
    TakesOver,
    /// It takes over from a process that had taken over from it: both live. A restart does not come back.
    Returns,
}

impl LiveNodes {
    /// `instance` (random; empty if it did not say) speaks for `node` now, from `address`.
    pub(crate) fn enter(&self, node: &Name, instance: &str, address: SocketAddr) -> Entry {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(live) = nodes.get_mut(node) else {
            let live = Live { instance: instance.to_owned(), address, before: VecDeque::new() };
            nodes.insert(node.clone(), live);
            return Entry::Alone;
        };
        let returns = live.instance != instance && live.before.iter().any(|before| before == instance);
        let entry = match (live.address == address, returns) {
            (true, _) => Entry::Alone,
            (false, false) => Entry::TakesOver,
            (false, true) => Entry::Returns,
        };
        if live.instance != instance {
            let before = std::mem::replace(&mut live.instance, instance.to_owned());
            if !before.is_empty() && !live.before.contains(&before) {
                live.before.truncate(REMEMBERED - 1);
                live.before.push_front(before);
            }
        }
        live.address = address;
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a row of (instance, port) comes in.
    fn entries(row: &[(&str, u16)]) -> Vec<Entry> {
        let (live, node) = (LiveNodes::default(), "pi-7".parse().unwrap());
        row.iter().map(|(instance, port)| live.enter(&node, instance, ([127, 0, 0, 1], *port).into())).collect()
    }

    #[test]
    fn one_machine_is_never_two() {
        use Entry::{Alone, TakesOver};
        // the stream again, a reconnection, restarts, an agent that says nothing of itself
        let row = [("a", 1), ("a", 1), ("a", 2), ("b", 3), ("c", 4), ("c", 5), ("", 6), ("", 7), ("d", 8)];
        let expected = [Alone, Alone, TakesOver, TakesOver, TakesOver, TakesOver, TakesOver, TakesOver, TakesOver];
        assert_eq!(entries(&row), expected);
    }

    #[test]
    fn two_machines_are_noticed_when_the_first_comes_back() {
        use Entry::{Alone, Returns, TakesOver};
        assert_eq!(entries(&[("a", 1), ("b", 2), ("a", 3), ("b", 4)]), [Alone, TakesOver, Returns, Returns]);
        // somebody who gives himself another name each time
        assert_eq!(entries(&[("a", 1), ("x", 2), ("a", 3)])[2], Returns);
        assert_eq!(entries(&[("a", 1), ("", 2), ("a", 3)])[2], Returns);
    }

    #[test]
    fn the_memory_is_bounded() {
        let names: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let mut row: Vec<(&str, u16)> = (0..).zip(&names).map(|(port, name)| (name.as_str(), port)).collect();
        row.push(("0", 99));
        assert_eq!(entries(&row)[40], Entry::TakesOver, "forgotten");
        row.push(("38", 100));
        assert_eq!(entries(&row)[41], Entry::Returns, "remembered");
    }
}
