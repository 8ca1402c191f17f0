//! A node that is stopped and started again on the same board.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use hal_core::LineId;
use pi_agent::{Config, Right};
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::{ConditionState, GpioRequest, GpioState, ReleaseLine};
use sim::{Bench, Clock, Level, SimBoard};
use tests::{Cluster, Lone, eventually, trusting};

const HEATER: u32 = 17;
const FAN: u32 = 27;

/// Both are restored as they were last; the heater is left low, the fan as it is driven.
fn config() -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "[gpio]\naliases = { heater = 17 }\nsafe = { heater = 'low', 27 = 'hold' }\n\
                restore = { heater = 'last', 27 = 'last', 22 = 'last' }\n";
    std::fs::write(file.path(), text).unwrap();
    let mut config = Config { policy: Config::load(file.path()).unwrap().policy, ..trusting(&["anna"]) };
    config.operators[0].roles.push(Right::Viewer);
    config
}

struct Stand {
    cluster: Cluster,
    board: SimBoard,
    bench: Bench,
}

impl Stand {
    async fn new() -> Self {
        let board = SimBoard::builder().clock(Clock::paced()).build();
        Self { cluster: Cluster::start().await, bench: board.bench(), board }
    }

    async fn start(&self) -> Lone {
        Lone::start(&self.cluster, &config(), &self.board).await
    }

    async fn set(&self, agent: &Lone, pin: u32, state: GpioState) {
        let request = GpioRequest { pin: Some(pin), state: state.into(), ..GpioRequest::default() };
        agent.client(&self.cluster, "anna").control_gpio(request).await.unwrap();
    }

    fn file(&self) -> PathBuf {
        self.cluster.folder("lone").join("last-levels")
    }

    fn is_high(&self, pin: u16) -> bool {
        self.bench.level(LineId(pin)) == Level::High
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn last_levels_come_back_before_the_first_call() {
    let stand = Stand::new().await;
    let agent = stand.start().await;
    assert!(!stand.is_high(17) && !stand.file().exists(), "nothing is known at first, and nothing written");
    stand.set(&agent, HEATER, GpioState::High).await;
    stand.set(&agent, FAN, GpioState::High).await;
    stand.set(&agent, 18, GpioState::High).await; // not asked for
    agent.stop().await;
    assert!(!stand.is_high(17) && stand.is_high(27), "an orderly end leaves the heater low and the fan on");
    let fan = stand.bench.history(LineId(27)).len();
    let agent = stand.start().await;
    // `start` answers when the listener is there: what a first call sees is what was restored before it
    let health = agent.client(&stand.cluster, "anna").health_check(()).await.unwrap().into_inner();
    assert!(stand.is_high(17) && stand.is_high(27) && !stand.is_high(18));
    assert_eq!(stand.bench.history(LineId(27)).len(), fan, "the fan saw no glitch");
    assert_eq!(health.status, "OK");
    let persist = health.conditions.iter().find(|condition| condition.r#type == "OutputsPersist").unwrap();
    assert_eq!((persist.state(), persist.reason.as_str()), (ConditionState::True, "KeptByKernel"));
    assert!(persist.message.contains("dtparam=strict_gpiod"), "{}", persist.message);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_switched_off_or_let_go_is_not_switched_on_again() {
    let stand = Stand::new().await;
    let agent = stand.start().await;
    for pin in [HEATER, FAN, 22] {
        stand.set(&agent, pin, GpioState::High).await;
    }
    // written while the agent runs, so that a crash finds it
    let written = async |text: &str| {
        eventually(async || std::fs::read_to_string(stand.file()).is_ok_and(|file| file.contains(text))).await;
    };
    written("GPIO17 high\nGPIO22 high\nGPIO27 high\n").await;
    stand.set(&agent, FAN, GpioState::Low).await;
    for pin in [HEATER, 22] {
        let release = Some(Operation::Release(ReleaseLine {}));
        let request = GpioRequest { pin: Some(pin), operation: release, ..GpioRequest::default() };
        agent.client(&stand.cluster, "anna").control_gpio(request).await.unwrap();
    }
    written("GPIO17 low\nGPIO27 low\n").await;
    agent.stop().await;
    let before = stand.bench.history(LineId(17)).len();
    let agent = stand.start().await;
    agent.client(&stand.cluster, "anna").health_check(()).await.unwrap();
    assert!(!stand.is_high(17) && !stand.is_high(22) && !stand.is_high(27));
    assert_eq!(stand.bench.history(LineId(17)).len(), before);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_never_read_as_levels() {
    let stand = Stand::new().await;
    let agent = stand.start().await;
    stand.set(&agent, HEATER, GpioState::High).await;
    stand.set(&agent, 22, GpioState::High).await;
    agent.stop().await;
    let whole = std::fs::read(stand.file()).unwrap();
    for damaged in [whole[..whole.len() / 2].to_vec(), Vec::new(), whole.to_ascii_uppercase()] {
        std::fs::write(stand.file(), damaged).unwrap();
        let requests = stand.bench.requests(LineId(22));
        let agent = stand.start().await;
        agent.client(&stand.cluster, "anna").health_check(()).await.unwrap();
        assert_eq!(stand.bench.requests(LineId(22)), requests, "not touched");
        assert!(!stand.is_high(17), "what matters is left in its safe state");
        agent.stop().await;
    }
    std::fs::write(stand.file(), whole).unwrap(); // the control
    let agent = stand.start().await;
    agent.client(&stand.cluster, "anna").health_check(()).await.unwrap();
    assert!(stand.is_high(17) && stand.is_high(22));
    agent.stop().await;
}
