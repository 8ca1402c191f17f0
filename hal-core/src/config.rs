//! How a line is set up.

/// The pull resistor inside the chip, some 50 kΩ on a Raspberry Pi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bias {
    /// Leave what is set now. The default.
    #[default]
    AsIs,
    /// No pull: an open line floats.
    Disabled,
    /// Pulled to the supply.
    PullUp,
    /// Pulled to ground.
    PullDown,
}

/// How an output drives its wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Drive {
    /// Drives high and low. The default.
    #[default]
    PushPull,
    /// Drives low, lets go for high: several outputs may share a wire (wired AND).
    OpenDrain,
    /// Drives high, lets go for low (wired OR).
    OpenSource,
}

/// Which changes of the logical level an input reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Edges {
    /// None; the line costs no interrupts. The default.
    #[default]
    None,
    /// From inactive to active.
    Rising,
    /// From active to inactive.
    Falling,
    /// Both.
    Both,
}

impl Edges {
    /// Whether an edge in this direction is asked for.
    pub const fn wants(self, rising: bool) -> bool {
        matches!((self, rising), (Self::Both, _) | (Self::Rising, true) | (Self::Falling, false))
    }
}

/// What a line is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LineMode {
    /// Read it without touching direction, bias or level: an output goes on driving. The default.
    #[default]
    AsIs,
    /// Let the outside decide the level.
    Input {
        /// The pull resistor.
        bias: Bias,
        /// The edges to report.
        edges: Edges,
        /// How long a level must be stable before it counts, in microseconds; 0 is no debouncing. Boards without
        /// [`Caps::kernel_debounce`](crate::Caps) refuse any other value as `Unsupported`.
        debounce_us: u32,
    },
    /// Drive it.
    Output {
        /// How to drive.
        drive: Drive,
        /// The pull resistor; matters for open drain and open source.
        bias: Bias,
        /// The logical level that is set in the same step as the direction, so that the wire never shows another.
        initial: bool,
    },
}

/// The whole configuration of a line.
///
/// Levels are plain `bool`s. A *logical* level is true when the line is active; a *raw* level is true when the wire is
/// high. They differ exactly on lines with `active_low`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LineConfig {
    /// What the line is used for.
    pub mode: LineMode,
    /// Whether the logical level is the inverse of the wire's.
    pub active_low: bool,
}

impl LineConfig {
    /// Read without touching anything.
    pub const fn as_is() -> Self {
        Self { mode: LineMode::AsIs, active_low: false }
    }

    /// An input with its bias left as it is and without edges.
    pub const fn input() -> Self {
        Self { mode: LineMode::Input { bias: Bias::AsIs, edges: Edges::None, debounce_us: 0 }, active_low: false }
    }

    /// A push-pull output that starts at the logical level `initial`.
    pub const fn output(initial: bool) -> Self {
        Self { mode: LineMode::Output { drive: Drive::PushPull, bias: Bias::AsIs, initial }, active_low: false }
    }

    /// The same with the logical level inverted against the wire.
    pub const fn active_low(self) -> Self {
        Self { active_low: true, ..self }
    }

    /// The same with this pull; as-is lines have none to set and stay as they are.
    pub const fn with_bias(mut self, wanted: Bias) -> Self {
        match &mut self.mode {
            LineMode::AsIs => {}
            LineMode::Input { bias, .. } | LineMode::Output { bias, .. } => *bias = wanted,
        }
        self
    }

    /// The same reporting these edges; only inputs report edges, others stay as they are.
    pub const fn with_edges(mut self, wanted: Edges) -> Self {
        if let LineMode::Input { edges, .. } = &mut self.mode {
            *edges = wanted;
        }
        self
    }

    /// The same driven in this way; only outputs drive, others stay as they are.
    pub const fn with_drive(mut self, wanted: Drive) -> Self {
        if let LineMode::Output { drive, .. } = &mut self.mode {
            *drive = wanted;
        }
        self
    }

    /// The same starting at this logical level; only outputs start at one, others stay as they are.
    pub const fn with_initial(mut self, level: bool) -> Self {
        if let LineMode::Output { initial, .. } = &mut self.mode {
            *initial = level;
        }
        self
    }

    /// Whether the line is driven.
    pub const fn is_output(&self) -> bool {
        matches!(self.mode, LineMode::Output { .. })
    }

    /// The raw level of a logical one, and the logical of a raw.
    pub const fn invert_if_active_low(&self, level: bool) -> bool {
        level != self.active_low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_wanted_in_their_direction() {
        let wants = |edges: Edges| (edges.wants(true), edges.wants(false));
        assert_eq!(wants(Edges::None), (false, false));
        assert_eq!(wants(Edges::Rising), (true, false));
        assert_eq!(wants(Edges::Falling), (false, true));
        assert_eq!(wants(Edges::Both), (true, true));
    }

    #[test]
    fn a_setting_that_a_mode_lacks_changes_nothing() {
        let as_is = LineConfig::as_is();
        assert_eq!(as_is.with_bias(Bias::PullUp).with_edges(Edges::Both), as_is);
        let input = LineConfig::input();
        assert_eq!(input.with_drive(Drive::OpenDrain).with_initial(true), input);
        let output = LineConfig::output(true);
        assert_eq!(output.with_edges(Edges::Both), output);
        assert_ne!(output.with_bias(Bias::PullUp), output);
        assert_eq!(output.with_initial(false), LineConfig::output(false));
    }

    #[test]
    fn active_low_inverts() {
        assert!(!LineConfig::input().active_low().invert_if_active_low(true));
        assert!(LineConfig::input().invert_if_active_low(true));
    }
}
