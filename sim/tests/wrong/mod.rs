//! Boards that break one promise each, to see that the test kit notices.

use std::task::{Context, Poll};

use embedded_hal::digital::{ErrorType, InputPin, OutputPin, StatefulOutputPin};
use hal_core::{Board, Caps, ChipInfo, EdgeEvent, Instant, Line, LineConfig, LineId, LineInfo, LineMode, Lost};
use sim::{SimBoard, SimError, SimLine};

/// One way of being wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Reads the raw level.
    ReadsRaw,
    /// Writes the raw level.
    WritesRaw,
    /// `is_set_high` says the raw level; gpiocdev-embedded-hal 0.1 does.
    RememberedRaw,
    /// An output starts low, then goes to its first level.
    Glitch,
    /// Ignores the pull.
    NoBias,
    /// An as-is claim turns the line into an input.
    AsIsIsInput,
    /// Tells every edge as rising.
    AlwaysRising,
    /// Tells no edge times.
    NoTimes,
    /// Says that nothing was lost, whatever was.
    NeverLost,
    /// Drops every second edge that waits.
    FetchesInBlocks,
    /// Says that a line is as it was asked to be, and leaves it as it is.
    IgnoresReconfigure,
    /// Reads the level when asked for what was written.
    ForgetsWritten,
    /// Drives both ways, whatever it was asked.
    AlwaysPushPull,
    /// Lets go of an output when it is released.
    LetsGo,
}

impl Flaw {
    /// Each flaw, and the cases that are about it.
    pub(crate) const ALL: [(Self, &'static [&'static str]); 14] = [
        (Self::ReadsRaw, &["read, active low", "write, active low", "bias", "first level"]),
        (Self::WritesRaw, &["write, active low"]),
        (Self::RememberedRaw, &["write, active low", "first level"]),
        (Self::Glitch, &["first level without a glitch"]),
        (Self::NoBias, &["bias", "open drain"]),
        (Self::AsIsIsInput, &["as is: a claim changes nothing"]),
        (Self::AlwaysRising, &["edges: order, times, numbers", "edges: only those asked for"]),
        (Self::NoTimes, &["edges: order, times, numbers"]),
        (Self::NeverLost, &["edges: overflow"]),
        (Self::FetchesInBlocks, &["edges: order, times, numbers"]),
        (Self::IgnoresReconfigure, &["reconfigure", "reconfigure keeps the level", "edges: polarity changed"]),
        (Self::ForgetsWritten, &["open drain", "open source"]),
        (Self::AlwaysPushPull, &["open drain", "open source", "what each drive drives"]),
        (Self::LetsGo, &["a released output stays driven"]),
    ];
}

/// A simulated board with a flaw.
pub(crate) struct Wrong {
    pub(crate) board: SimBoard,
    pub(crate) flaw: Flaw,
}

pub(crate) struct WrongLine {
    line: SimLine,
    flaw: Flaw,
    says: LineConfig,
}

impl Board for Wrong {
    type Error = SimError;
    type Line = WrongLine;

    fn caps(&self) -> Caps {
        self.board.caps()
    }

    fn chip(&self) -> ChipInfo {
        self.board.chip()
    }

    fn info(&self, id: LineId) -> Result<LineInfo, SimError> {
        self.board.info(id)
    }

    fn claim(&mut self, id: LineId, config: LineConfig, consumer: &str) -> Result<WrongLine, SimError> {
        let wrong = match self.flaw {
            Flaw::Glitch => config.with_initial(config.active_low),
            Flaw::AlwaysPushPull => config.with_drive(hal_core::Drive::PushPull),
            Flaw::NoBias => config.with_bias(hal_core::Bias::AsIs),
            Flaw::AsIsIsInput if config.mode == LineMode::AsIs => {
                LineConfig { mode: LineConfig::input().mode, ..config }
            }
            _ => config,
        };
        let mut line = self.board.claim(id, wrong, consumer)?;
        if self.flaw == Flaw::Glitch {
            line.reconfigure(config)?;
        }
        Ok(WrongLine { line, flaw: self.flaw, says: config })
    }

    fn now(&self) -> Instant {
        self.board.now()
    }
}

impl WrongLine {
    fn inverted(&self, flaw: Flaw) -> bool {
        self.flaw == flaw && self.line.config().active_low
    }
}

impl Drop for WrongLine {
    fn drop(&mut self) {
        if self.flaw == Flaw::LetsGo && self.line.config().is_output() {
            let released = LineConfig::input().with_bias(hal_core::Bias::PullDown);
            self.line.reconfigure(released).expect("an input");
        }
    }
}

impl ErrorType for WrongLine {
    type Error = SimError;
}

impl InputPin for WrongLine {
    fn is_high(&mut self) -> Result<bool, SimError> {
        Ok(self.line.is_high()? != self.inverted(Flaw::ReadsRaw))
    }

    fn is_low(&mut self) -> Result<bool, SimError> {
        self.is_high().map(|high| !high)
    }
}

impl OutputPin for WrongLine {
    fn set_low(&mut self) -> Result<(), SimError> {
        self.line.set_state(self.inverted(Flaw::WritesRaw).into())
    }

    fn set_high(&mut self) -> Result<(), SimError> {
        self.line.set_state((!self.inverted(Flaw::WritesRaw)).into())
    }
}

impl StatefulOutputPin for WrongLine {
    fn is_set_high(&mut self) -> Result<bool, SimError> {
        let written = self.line.is_set_high()?;
        if self.flaw == Flaw::ForgetsWritten {
            return self.line.is_high();
        }
        Ok(written != self.inverted(Flaw::RememberedRaw))
    }

    fn is_set_low(&mut self) -> Result<bool, SimError> {
        self.is_set_high().map(|high| !high)
    }
}

impl Line for WrongLine {
    fn id(&self) -> LineId {
        self.line.id()
    }

    fn config(&self) -> LineConfig {
        self.says
    }

    fn reconfigure(&mut self, config: LineConfig) -> Result<(), SimError> {
        if self.flaw != Flaw::IgnoresReconfigure {
            self.line.reconfigure(config)?;
        }
        self.says = config;
        Ok(())
    }

    fn poll_edge(&mut self, cx: &mut Context<'_>) -> Poll<Result<EdgeEvent, SimError>> {
        let answer = self.line.poll_edge(cx);
        if let Poll::Ready(Ok(edge)) = answer {
            if self.flaw == Flaw::FetchesInBlocks {
                _ = self.line.poll_edge(cx); // fetched along with the first, and forgotten
            }
            return Poll::Ready(Ok(self.told(edge)));
        }
        answer
    }
}

impl WrongLine {
    fn told(&self, edge: EdgeEvent) -> EdgeEvent {
        match self.flaw {
            Flaw::AlwaysRising => EdgeEvent { rising: true, ..edge },
            Flaw::NoTimes => EdgeEvent { at: Instant::ZERO, ..edge },
            Flaw::NeverLost => EdgeEvent { lost: Lost::None, ..edge },
            _ => edge,
        }
    }
}
