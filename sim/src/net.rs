//! What level a wire has when several things drive it.

/// How hard something drives a wire; the hardest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// Not at all.
    HiZ,
    /// Through a resistor.
    Pull,
    /// Directly.
    Strong,
}

/// One thing that drives a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Driver {
    /// How hard.
    pub strength: Strength,
    /// To which level; without meaning for `HiZ`.
    pub high: bool,
}

impl Driver {
    /// Drives nothing.
    pub const OPEN: Self = Self { strength: Strength::HiZ, high: false };

    /// A pull resistor.
    pub const fn pull(high: bool) -> Self {
        Self { strength: Strength::Pull, high }
    }

    /// A direct connection.
    pub const fn strong(high: bool) -> Self {
        Self { strength: Strength::Strong, high }
    }
}

/// The level of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Ground.
    Low,
    /// The supply.
    High,
    /// Nothing decides: nothing drives, or resistors pull both ways.
    Floating,
    /// Strong drivers fight: a short circuit.
    Conflict,
}

impl Level {
    /// The level as a bit, where there is one.
    pub const fn bit(self) -> Option<bool> {
        match self {
            Self::Low => Some(false),
            Self::High => Some(true),
            Self::Floating | Self::Conflict => None,
        }
    }
}

/// The level of a wire with these drivers: the strongest decide, if they agree.
pub fn resolve(drivers: impl IntoIterator<Item = Driver> + Clone) -> Level {
    let strongest = drivers.clone().into_iter().map(|driver| driver.strength).max().unwrap_or(Strength::HiZ);
    let wants = |high| drivers.clone().into_iter().any(|driver| driver == Driver { strength: strongest, high });
    match (strongest, wants(false), wants(true)) {
        (Strength::HiZ, ..) | (Strength::Pull, true, true) => Level::Floating,
        (Strength::Strong, true, true) => Level::Conflict,
        (_, _, true) => Level::High,
        (_, _, false) => Level::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_DRAIN_OFF: Driver = Driver::OPEN;
    const OPEN_DRAIN_ON: Driver = Driver::strong(false);

    #[test]
    fn nothing_drives() {
        assert_eq!(resolve([]), Level::Floating);
        assert_eq!(resolve([Driver::OPEN, Driver::OPEN]), Level::Floating);
    }

    #[test]
    fn strong_beats_pull() {
        assert_eq!(resolve([Driver::pull(true)]), Level::High);
        assert_eq!(resolve([Driver::pull(true), Driver::strong(false)]), Level::Low);
        assert_eq!(resolve([Driver::pull(false), Driver::strong(true)]), Level::High);
    }

    #[test]
    fn open_drains_make_a_wired_and() {
        let pull = Driver::pull(true);
        assert_eq!(resolve([pull, OPEN_DRAIN_OFF, OPEN_DRAIN_OFF]), Level::High);
        assert_eq!(resolve([pull, OPEN_DRAIN_ON, OPEN_DRAIN_OFF]), Level::Low);
        assert_eq!(resolve([pull, OPEN_DRAIN_ON, OPEN_DRAIN_ON]), Level::Low);
    }

    #[test]
    fn opposite_drivers_of_one_strength_decide_nothing() {
        assert_eq!(resolve([Driver::pull(true), Driver::pull(false)]), Level::Floating);
        assert_eq!(resolve([Driver::strong(true), Driver::strong(false)]), Level::Conflict);
    }
}
