//! The hardware fails twice: once in the write, once more while the write is taken back. A simulated line fails once and
//! is well again, so these boards are mocks.

use std::sync::{Arc, Mutex};

use agent_lib::{Agent, Claim, Policy, Refusal};
use embedded_hal::digital::PinState;
use hal_core::{FaultKind, Line, LineConfig, LineId};
use mockall::{Sequence, predicate::eq};

use crate::mocks::{Broken, MockChip, MockPin, chip};
use crate::{ALL_RIGHTS, T0, anna, ben, writes};

const FIRST: LineId = LineId(17);
const SECOND: LineId = LineId(18);
const THIRD: LineId = LineId(19);

/// An output at low, on which everything else is for the test to say.
fn output(id: LineId) -> MockPin {
    let mut pin = MockPin::new();
    pin.expect_id().return_const(id);
    pin.expect_config().return_const(LineConfig::output(false));
    pin.expect_is_set_high().returning(|| Ok(false));
    pin
}

/// An agent of which the caller holds these lines.
fn holding<const N: usize>(pins: [MockPin; N]) -> Agent<MockChip> {
    let mut chip = chip();
    let ids = pins.each_ref().map(|pin| pin.id());
    for (id, pin) in ids.into_iter().zip(pins) {
        chip.expect_claim().withf(move |claimed, _, _| *claimed == id).return_once(move |_, _, _| Ok(pin));
    }
    let mut agent = Agent::new(chip, Policy::default());
    for id in ids {
        agent.claim(T0, anna().caller(), id, Claim::permanent(LineConfig::output(false))).unwrap();
    }
    agent
}

#[test]
fn a_line_that_cannot_be_set_back_does_not_hide_the_first_fault() {
    let mut first = output(FIRST);
    first.expect_set_state().with(eq(PinState::High)).times(1).returning(|_| Ok(()));
    first.expect_set_state().with(eq(PinState::Low)).times(1).returning(|_| Err(Broken));
    first.expect_reconfigure().times(1).returning(|_| Ok(())); // the agent is dropped: its safe state
    let mut second = output(SECOND);
    second.expect_set_state().times(1).returning(|_| Err(Broken));
    second.expect_reconfigure().times(1).returning(|_| Ok(()));

    let mut agent = holding([first, second]);
    let refused = agent.write_all(T0, anna().caller(), &writes(&[(FIRST, true), (SECOND, true)]));
    assert!(matches!(refused, Err(Refusal::Hardware { line: SECOND, kind: FaultKind::Bus, .. })));
    assert_eq!(agent.held_count(), 2);
}

#[test]
fn writes_are_taken_back_last_first() {
    let mut order = Sequence::new();
    let mut pins = [FIRST, SECOND, THIRD].map(output);
    let mut expect = |pin: usize, state: PinState, answer: Result<(), Broken>| {
        let call = pins[pin].expect_set_state().with(eq(state)).times(1).in_sequence(&mut order);
        call.return_const(answer);
    };
    expect(0, PinState::High, Ok(()));
    expect(1, PinState::High, Ok(()));
    expect(2, PinState::High, Err(Broken));
    expect(1, PinState::Low, Ok(()));
    expect(0, PinState::Low, Ok(()));
    for pin in &mut pins {
        pin.expect_reconfigure().times(1).returning(|_| Ok(()));
    }
    let refused =
        holding(pins).write_all(T0, anna().caller(), &writes(&[(FIRST, true), (SECOND, true), (THIRD, true)]));
    assert_eq!(refused.unwrap_err().line(), Some(THIRD));
}

#[test]
fn a_claimed_line_that_cannot_be_made_safe_stays_the_caller_s() {
    let mut first = output(FIRST);
    first.expect_reconfigure().times(2).returning(|_| Err(Broken)); // taken back, and when the agent is dropped
    let mut second = output(SECOND);
    second.expect_set_state().times(1).returning(|_| Err(Broken));
    second.expect_reconfigure().times(1).returning(|_| Ok(()));

    let mut agent = holding([second]);
    agent.board_mut().expect_claim().return_once(|_, _, _| Ok(first));
    let refused = agent.write_all(T0, anna().caller(), &writes(&[(FIRST, true), (SECOND, true)]));
    assert!(matches!(refused, Err(Refusal::Hardware { line: SECOND, .. })));
    assert_eq!(agent.held_count(), 2);
}

#[test]
fn a_level_that_cannot_be_asked_for_is_not_written() {
    let mut pin = MockPin::new();
    pin.expect_id().return_const(FIRST);
    pin.expect_config().return_const(LineConfig::output(false));
    pin.expect_is_set_high().times(1).returning(|| Err(Broken));
    pin.expect_set_state().never();
    pin.expect_reconfigure().times(1).returning(|_| Ok(()));
    let refused = holding([pin]).write(T0, anna().caller(), FIRST, true, None).unwrap_err();
    assert_eq!(std::error::Error::source(&refused).unwrap().to_string(), "the wire is broken; solder it");
}

#[test]
fn a_half_stolen_line_is_safe_and_still_its_holder_s() {
    let config = Arc::new(Mutex::new(LineConfig::output(true)));
    let (told, set) = (config.clone(), config);
    let mut pin = MockPin::new();
    pin.expect_id().return_const(FIRST);
    pin.expect_config().returning(move || *told.lock().unwrap());
    let mut order = Sequence::new();
    pin.expect_reconfigure().times(1).in_sequence(&mut order).returning(move |config| {
        *set.lock().unwrap() = config;
        Ok(())
    });
    pin.expect_reconfigure().times(1).in_sequence(&mut order).returning(|_| Err(Broken));
    let mut agent = holding([pin]);
    let theft = Claim::permanent(LineConfig::output(true)).stealing();
    let refused = agent.claim(T0, ben().caller().with_rights(ALL_RIGHTS), FIRST, theft);
    assert!(matches!(refused, Err(Refusal::Hardware { line: FIRST, .. })));
    assert!(agent.grant(&anna(), FIRST).is_some());
    assert_eq!(agent.poll_event(), None);
    let written = agent.write(T0, anna().caller(), FIRST, true, None);
    assert!(matches!(written, Err(Refusal::WrongDirection { line: FIRST })), "nothing drives it again unasked");
}
