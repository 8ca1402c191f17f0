//! Which board a node is, as far as it can be told.

use crate::control::Control;
use crate::identity::{Identity, Name};
use crate::node::{Inventory, Node};
use crate::text::Text;

impl Inventory {
    /// The serial number, unless the board has none: some show zeros.
    pub(crate) fn known_serial(&self) -> Option<&str> {
        let serial = self.serial.as_str();
        (!serial.bytes().all(|digit| digit == b'0')).then_some(serial)
    }

    /// Whether `other` can only be another board: by the serial numbers if both are known, else by the machine ids.
    ///
    /// A card that is copied or moved keeps its machine id, so that this alone says nothing of the board.
    pub(crate) fn is_of_another_board(&self, other: &Inventory) -> bool {
        if let (Some(own), Some(theirs)) = (self.known_serial(), other.known_serial()) {
            return own != theirs;
        }
        let (own, theirs) = (&self.machine_id, &other.machine_id);
        !own.is_empty() && !theirs.is_empty() && own != theirs
    }

    pub(crate) fn is_of_the_same_board(&self, other: &Inventory) -> bool {
        self.known_serial().is_some_and(|serial| other.known_serial() == Some(serial))
    }
}

impl Control {
    /// The node that takes part under the name of this board, if it is another one than `name`.
    pub(crate) fn other_name_of_board(&self, name: &Name, inventory: &Inventory) -> Option<&Node> {
        let is_in = |node: &&Node| node.name != *name && !self.is_revoked(&Identity::node(node.name.clone()));
        self.nodes().filter(|node| node.inventory.is_of_the_same_board(inventory)).find(is_in)
    }
}

impl Node {
    /// The node, to be known by whichever board speaks next with its key; `None` if it is so already.
    pub(crate) fn of_any_board(&self) -> Option<Node> {
        if self.inventory.serial.is_empty() && self.inventory.machine_id.is_empty() {
            return None;
        }
        let inventory = Inventory { serial: Text::default(), machine_id: Text::default(), ..self.inventory.clone() };
        Some(Node { inventory, ..self.clone() })
    }

    /// Why two boards cannot be one node, for people.
    pub(crate) fn describe_other_board(&self, other: &Inventory) -> String {
        let board = |inventory: &Inventory| match inventory.known_serial() {
            Some(serial) => format!("serial number {serial:.32}"),
            None => format!("machine id {:.32}", inventory.machine_id.as_str()),
        };
        format!("the board with {} has the key of the board with {}", board(other), board(&self.inventory))
    }
}
