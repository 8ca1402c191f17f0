//! Where a node stands with the people who run the cluster.

use std::fmt;
use std::str::FromStr;

use crate::control::Control;
use crate::identity::{Identity, Name};
use crate::node::{Inventory, Node};

/// Whether a node may take part. Only an approved one may; the rest may at most ask again and renew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Takes part.
    Approved,
    /// Joined with a token that asks for approval: may ask again and renew until an operator has decided.
    Pending,
    /// Two boards have shown its key. May ask again and renew, from the board that it was enrolled on.
    Quarantined,
    /// Turned away by an operator: may do nothing. Its name is free for whoever joins with a token.
    Rejected,
}

impl Standing {
    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Approved => "approved",
            Standing::Pending => "pending",
            Standing::Quarantined => "quarantined",
            Standing::Rejected => "rejected",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Standing {
    type Err = UnknownStanding;

    fn from_str(word: &str) -> Result<Standing, UnknownStanding> {
        let all = [Standing::Approved, Standing::Pending, Standing::Quarantined, Standing::Rejected];
        all.into_iter().find(|standing| standing.as_str() == word).ok_or(UnknownStanding)
    }
}

/// The word is no [`Standing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write approved, pending, quarantined or rejected")]
pub struct UnknownStanding;

/// Why a node takes no part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    /// Nobody has approved it yet.
    #[error("node/{0} waits for approval: pictl node approve {0}")]
    Pending(Name),
    /// Two boards have shown its key.
    #[error("node/{0} is quarantined, two boards have shown its key: pictl node show {0} says more")]
    Quarantined(Name),
    /// An operator turned it away.
    #[error("node/{0} was rejected; join again with a new token and a new key")]
    Rejected(Name),
}

impl Node {
    /// Whether it takes part.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn check_approved(&self) -> Result<(), NotApproved> {
        match self.standing {
            Standing::Approved => Ok(()),
            Standing::Pending => Err(NotApproved::Pending(self.name.clone())),
            Standing::Quarantined => Err(NotApproved::Quarantined(self.name.clone())),
            Standing::Rejected => Err(NotApproved::Rejected(self.name.clone())),
        }
    }

    pub(crate) fn is_rejected(&self) -> bool {
        self.standing == Standing::Rejected
    }
}

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
        let is_out = |node: &Node| node.is_rejected() || self.is_revoked(&Identity::node(node.name.clone()));
        let mut others = self.nodes().filter(|node| node.name != *name && !is_out(node));
        others.find(|node| node.inventory.is_of_the_same_board(inventory))
    }
}
