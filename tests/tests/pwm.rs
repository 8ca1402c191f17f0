//! PWM, whole: client → TLS → agent → simulated board, in real time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use hal_core::{LineId, PwmTiming};
use insta::assert_snapshot;
use pictl::Exit;
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::{ClaimLine, GpioRequest, GpioState, LineConfig, LineDirection, PwmLine, SafeState};
use sim::{Bench, Level};
use tests::{Cluster, direct, eventually, trusting};
use tonic::Code;
use tonic_types::StatusExt;

/// With hardware PWM; wired to GPIO23.
const FAN: LineId = LineId(18);
/// Without; pulled down when it is an input.
const LAMP: LineId = LineId(16);

fn pwm(pin: LineId, frequency_hz: f64, duty_ppm: u32) -> GpioRequest {
    let signal = Operation::Pwm(PwmLine { frequency_hz, duty_ppm });
    GpioRequest { pin: Some(pin.0.into()), operation: Some(signal), ..GpioRequest::default() }
}

/// Whether the oscilloscope shows about this share of about this period.
fn shows(bench: &Bench, line: LineId, period: Duration, duty: f64) -> bool {
    bench.pwm(line).is_some_and(|timing| {
        let measured = timing.period_ns() as f64;
        let share = timing.duty_ns() as f64 / measured;
        (measured / period.as_nanos() as f64 - 1.0).abs() < 0.1 && (share - duty).abs() < 0.1
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_command_line() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    let bench = &fleet.nodes[0].2;
    let said = async |line: &str| cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await;

    assert_snapshot!("hardware", said("gpio pwm sim-1 18 --frequency 25000 --duty 40").await.out);
    assert_eq!(bench.pwm(FAN), PwmTiming::new(40_000, 16_000));
    assert_snapshot!("as_json", said("gpio pwm sim-1 18 --frequency 50.5 --duty 12.5 -o json").await.out);
    assert_eq!(bench.pwm(FAN), PwmTiming::new(19_801_980, 2_475_248));
    assert_snapshot!("read", said("gpio get sim-1 18").await.out);
    let list = said("gpio list sim-1").await.out;
    assert!(list.lines().any(|line| line.contains("GPIO18") && line.contains("12.5 % active, by hardware")), "{list}");

    let conflict = said("gpio pwm sim-1 14 --frequency 25000 --duty 40").await;
    assert_eq!(conflict.exit, Exit::Conflict);
    assert!(conflict.err.contains("GPIO14 and GPIO18 share PWM2, which GPIO18 uses"), "{}", conflict.err);

    assert_snapshot!("software", said("gpio pwm sim-1 16 --frequency 20 --duty 25").await.out);
    eventually(async || shows(bench, LAMP, Duration::from_millis(50), 0.25)).await;
    assert_snapshot!("off", said("gpio pwm sim-1 16 --off").await.out);
    assert_snapshot!("off_hardware", said("gpio pwm sim-1 18 --off").await.out);
    assert_eq!([FAN, LAMP].map(|line| bench.level(line)), [Level::Low; 2]);
    assert!(bench.pwm(FAN).is_none_or(|timing| timing.duty_ns() == 0));
    let said = said("gpio release sim-1 --all").await;
    assert_eq!(said.out, "sim-1 released GPIO16, GPIO18\n", "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &trusting(&["anna"])).await;
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    let mut refused = async |line, frequency_hz, duty_ppm| {
        let status = anna.control_gpio(pwm(line, frequency_hz, duty_ppm)).await.unwrap_err();
        let field = status.get_details_error_info().unwrap().metadata.remove("field").unwrap_or_default();
        (status.code(), field, status.message().to_owned())
    };
    for hz in [0.0, -0.0, -50.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 200.1] {
        let (code, field, why) = refused(LAMP, hz, 0).await;
        assert_eq!((code, field.as_str()), (Code::InvalidArgument, "pwm.frequency_hz"), "{why}");
        assert!(why.contains("ask for 0.25 to 200 Hz"), "{why}");
    }
    for ppm in [1_000_001, u32::MAX] {
        let (code, field, why) = refused(FAN, 50.0, ppm).await;
        assert_eq!((code, field.as_str()), (Code::InvalidArgument, "pwm.duty_ppm"), "{why}");
    }
    assert_eq!(refused(LineId(28), 50.0, 0).await.0, Code::NotFound);
    let list = cluster.pictl(&["gpio", "list", "sim-1"]).await.out;
    assert!(!list.contains("operator/anna"), "nothing was taken: {list}");

    for line in ["--frequency 50 --duty 101", "--frequency 50", "--duty 5", "--off --duty 5", "--frequency x --duty 5"]
    {
        let line = format!("gpio pwm sim-1 18 {line}");
        let said = cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(said.exit, Exit::Usage, "{line}: {}", said.err);
    }
}

/// F8 for PWM: the link of a holder is cut and nothing is said; the line is safe when the lease is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_link_is_cut_leaves_no_signal() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &trusting(&["anna", "bob"])).await;
    let bench = &fleet.nodes[0].2;
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    for (line, direction) in [(FAN, LineDirection::Unspecified), (LAMP, LineDirection::Output)] {
        let config = LineConfig { direction: direction.into(), ..LineConfig::default() };
        let claim = Operation::Claim(ClaimLine {
            config: Some(config),
            lease_ms: 2_000,
            safe_state: SafeState::Low.into(),
            ..ClaimLine::default()
        });
        let pin = Some(line.0.into());
        anna.control_gpio(GpioRequest { pin, operation: Some(claim), ..GpioRequest::default() }).await.unwrap();
        let answer = anna.control_gpio(pwm(line, 20.0, 500_000)).await.unwrap().into_inner();
        let signal = answer.pwm.unwrap();
        assert_eq!((signal.hardware, signal.frequency_hz, signal.duty_ppm), (line == FAN, 20.0, 500_000));
        let token = answer.lease.unwrap().token;
        let stale = anna.control_gpio(GpioRequest { token: Some(token - 1), ..pwm(line, 1.0, 0) }).await.unwrap_err();
        assert_eq!(stale.get_details_error_info().unwrap().reason, "STALE_TOKEN");
    }
    eventually(async || [FAN, LAMP].iter().all(|line| shows(bench, *line, Duration::from_millis(50), 0.5))).await;
    drop(anna); // the link is cut
    let mut bob = direct(&cluster, &fleet, 0, "bob");
    let held = bob.control_gpio(pwm(FAN, 20.0, 1)).await.unwrap_err();
    assert_eq!(held.get_details_error_info().unwrap().reason, "LINE_HELD");
    eventually(async || {
        let safe = |line: &LineId| bench.level(*line) == Level::Low && bench.pwm(*line).is_none();
        [FAN, LAMP].iter().all(safe)
    })
    .await;
    // a late call of hers starts nothing; the line is free for others, in hardware again
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    let late = anna.control_gpio(pwm(FAN, 20.0, 1_000_000)).await.unwrap_err();
    assert_eq!(late.get_details_error_info().unwrap().reason, "LEASE_EXPIRED");
    let answer = bob.control_gpio(pwm(FAN, 25_000.0, 1_000)).await.unwrap().into_inner();
    assert!(answer.pwm.unwrap().hardware);
    let read = GpioRequest { pin: Some(FAN.0.into()), ..GpioRequest::default() };
    let read = anna.control_gpio(read).await.unwrap().into_inner();
    assert_eq!((read.state(), read.pwm.unwrap().frequency_hz), (GpioState::High, 25_000.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_leaves_no_signal() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &trusting(&["anna"])).await;
    let bench = fleet.nodes[0].2.clone();
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    for line in [FAN, LAMP] {
        anna.control_gpio(pwm(line, 20.0, 900_000)).await.unwrap();
    }
    fleet.stop().await;
    assert_eq!([FAN, LAMP].map(|line| bench.level(line)), [Level::Low; 2]);
    assert_eq!(bench.pwm(FAN), None);
}
