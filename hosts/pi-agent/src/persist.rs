//! What becomes of released outputs on this machine, as a condition of its health. It says how the kernel is set up, not
//! that something is wrong: it never degrades.

use agent_lib::State;

/// Whether it holds, the reason for programs, and what it means for people.
pub(crate) fn condition(outputs_persist: Option<bool>) -> (State, &'static str, &'static str) {
    match outputs_persist {
        Some(true) => (
            State::True,
            "KeptByKernel",
            "the kernel goes on driving an output that was released or whose agent was killed: have the service manager \
             run `pi-agent outputs-off`, or set dtparam=strict_gpiod in config.txt to make it an input instead",
        ),
        Some(false) => (
            State::False,
            "DroppedByKernel",
            "the kernel makes an output an input once it is released or the agent ends, so the safe states low, high and \
             hold end there too: remove dtparam=strict_gpiod from config.txt, or have pull resistors on what matters",
        ),
        None => (
            State::Unknown,
            "NotTold",
            "the kernel does not say what becomes of an output that is released: have pull resistors on what matters",
        ),
    }
}

#[cfg(test)]
mod tests {
    use agent_lib::{ConditionKind, Health, Status};
    use hal_core::Instant;

    use super::*;

    #[test]
    fn it_is_told_and_never_degrades() {
        for (persist, expected) in [(Some(true), State::True), (Some(false), State::False), (None, State::Unknown)] {
            let (state, reason, message) = condition(persist);
            assert_eq!(state, expected);
            let mut health = Health::new();
            health.set(Instant::ZERO, ConditionKind::OutputsPersist, state, reason, message);
            assert_eq!(health.status(), Status::Ok, "{reason}");
        }
    }
}
