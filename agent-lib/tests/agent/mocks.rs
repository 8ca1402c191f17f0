//! Boards that do what a test says.

use std::fmt;
use std::task::{Context, Poll};

use embedded_hal::digital::{self, ErrorType, InputPin, OutputPin, PinState, StatefulOutputPin};
use hal_core::{
    Board, Caps, ChipInfo, EdgeEvent, Fault, FaultKind, Instant, Label, Line, LineConfig, LineId, LineInfo,
};
use mockall::mock;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the wire is broken; solder it")
    }
}

impl std::error::Error for Broken {}

impl digital::Error for Broken {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

impl Fault for Broken {
    fn fault(&self) -> FaultKind {
        FaultKind::Bus
    }
}

mock! {
    pub(crate) Pin {}
    impl ErrorType for Pin { type Error = Broken; }
    impl InputPin for Pin {
        fn is_high(&mut self) -> Result<bool, Broken>;
        fn is_low(&mut self) -> Result<bool, Broken>;
    }
    impl OutputPin for Pin {
        fn set_low(&mut self) -> Result<(), Broken>;
        fn set_high(&mut self) -> Result<(), Broken>;
        fn set_state(&mut self, state: PinState) -> Result<(), Broken>;
    }
    impl StatefulOutputPin for Pin {
        fn is_set_high(&mut self) -> Result<bool, Broken>;
        fn is_set_low(&mut self) -> Result<bool, Broken>;
    }
    impl Line for Pin {
        fn id(&self) -> LineId;
        fn config(&self) -> LineConfig;
        fn reconfigure(&mut self, config: LineConfig) -> Result<(), Broken>;
        fn poll_edge<'a>(&mut self, cx: &mut Context<'a>) -> Poll<Result<EdgeEvent, Broken>>;
    }
}

mock! {
    pub(crate) Chip {}
    impl Board for Chip {
        type Error = Broken;
        type Line = MockPin;
        fn caps(&self) -> Caps;
        fn chip(&self) -> ChipInfo;
        fn info(&self, id: LineId) -> Result<LineInfo, Broken>;
        fn claim(&mut self, id: LineId, config: LineConfig, consumer: &str) -> Result<MockPin, Broken>;
        fn now(&self) -> Instant;
    }
}

/// A chip of 28 lines.
pub(crate) fn chip() -> MockChip {
    let mut chip = MockChip::new();
    chip.expect_chip().return_const(ChipInfo { label: Label::new("mock"), lines: 28, backend: "mock" });
    chip
}
