//! Leases, pulses and watches, whole: client → TLS → agent → simulated board, in real time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hal_core::LineId;
use pictl::Exit;
use proto::agent::v1::gpio_record::Record;
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::line_name::Name;
use proto::agent::v1::stream_gpio_response::Outcome;
use proto::agent::v1::{GpioRequest, GpioState, LineName, OnConflict, ReadLine, ReleaseLine, WatchGpioRequest};
use sim::Level;
use tests::{Cluster, claim, direct, eventually, trusting};
use tokio_stream::StreamExt;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_holder_is_told_and_a_late_call_never_re_arms() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &trusting(&["anna", "bob"])).await;
    let (mut anna, mut bob) = (direct(&cluster, &fleet, 0, "anna"), direct(&cluster, &fleet, 0, "bob"));
    let granted = anna.control_gpio(claim(17, 100, OnConflict::Unspecified)).await.unwrap().into_inner();
    let token = granted.lease.unwrap().token;
    eventually(async || fleet.nodes[0].2.level(LineId(17)) == Level::Low).await;
    let write = GpioRequest { pin: Some(17), state: GpioState::High.into(), ..GpioRequest::default() };
    let late = anna.control_gpio(write.clone()).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
    assert!(late.message().contains("ran out"), "{}", late.message());
    // F12: another holds the line now; a write that was under way is refused by its token
    bob.control_gpio(claim(17, 60_000, OnConflict::Unspecified)).await.unwrap();
    let stale = anna.control_gpio(GpioRequest { token: Some(token), ..write }).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition, "{}", stale.message());
    let list = cluster.pictl(&["gpio", "list", "sim-1"]).await.out;
    assert!(list.lines().any(|line| line.contains("GPIO17") && line.contains("operator/bob")), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_can_wait_for_its_line() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &trusting(&["anna", "bob"])).await;
    let (mut anna, mut bob) = (direct(&cluster, &fleet, 0, "anna"), direct(&cluster, &fleet, 0, "bob"));
    anna.control_gpio(claim(17, 60_000, OnConflict::Unspecified)).await.unwrap();
    let refused = bob.control_gpio(claim(17, 60_000, OnConflict::Unspecified)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().contains("lease"), "how long it lasts: {}", refused.message());
    let steal = bob.control_gpio(claim(17, 60_000, OnConflict::Steal)).await.unwrap_err();
    assert_eq!(steal.code(), Code::PermissionDenied, "only admins steal");
    let waiting = tokio::spawn(async move { bob.control_gpio(claim(17, 60_000, OnConflict::Wait)).await });
    let release = Some(Operation::Release(ReleaseLine {}));
    anna.control_gpio(GpioRequest { pin: Some(17), operation: release, ..Default::default() }).await.unwrap();
    waiting.await.unwrap().unwrap();
    // an admin, through the controller, may
    let said = cluster.pictl(&["gpio", "claim", "sim-1", "17", "--steal", "--lease", "60000", "--safe", "low"]).await;
    assert_eq!(said.exit, Exit::Done, "{}", said.err);
    assert!(said.out.starts_with("sim-1 GPIO17 is yours, lease "), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_needs_a_safe_state_and_sensible_terms() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    for (arguments, exit, why) in [
        ("gpio claim sim-1 17 --lease 2000", Exit::Usage, "has no declared safe state"),
        ("gpio claim sim-1 17 --lease 99 --safe low", Exit::Usage, "out of range"),
        ("gpio claim sim-1 17 --safe low", Exit::Usage, "lease_ms is required"),
        ("gpio keepalive sim-1 17", Exit::Conflict, "not held"),
        ("gpio pulse sim-1 17 3600000 --count 10000", Exit::Usage, "GPIO17"),
    ] {
        let said = cluster.pictl(&arguments.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(said.exit, exit, "{arguments}: {}", said.err);
        assert!(said.err.contains(why), "{arguments}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulse_ends_on_the_node_whoever_is_gone() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    let bench = &fleet.nodes[0].2;
    let said = cluster.pictl(&["gpio", "pulse", "sim-1", "18", "50", "--count", "3"]).await;
    assert_eq!(said.exit, Exit::Done, "{}", said.err);
    let rises = || {
        let history = bench.history(LineId(18));
        history.iter().filter(|(_, level)| *level == Level::High).count()
    };
    eventually(async || rises() == 3 && bench.level(LineId(18)) == Level::Low).await;
    let list = cluster.pictl(&["gpio", "list", "sim-1"]).await.out;
    assert!(!list.contains("operator/"), "what the pulse claimed is free again:\n{list}");
}

fn watch(pin: u32) -> WatchGpioRequest {
    WatchGpioRequest { lines: vec![LineName { name: Some(Name::Pin(pin)) }], ..WatchGpioRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_every_edge_and_another_that_stalls_costs_it_none() {
    const EDGES: usize = 400;
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &trusting(&["anna", "bob"])).await;
    let bench = &fleet.nodes[0].2;
    let mut reader = direct(&cluster, &fleet, 0, "anna").watch_gpio(watch(24)).await.unwrap().into_inner();
    let _stalled = direct(&cluster, &fleet, 0, "bob").watch_gpio(watch(24)).await.unwrap().into_inner();
    let first = reader.next().await.unwrap().unwrap();
    assert!(matches!(first.record, Some(Record::Snapshot(_))), "{first:?}");
    let (mut sequence, mut level) = (first.sequence, GpioState::Low);
    for edge in 0..EDGES {
        bench.drive(LineId(24), Some(edge % 2 == 0));
        let record = reader.next().await.unwrap().unwrap();
        let Some(Record::Edge(seen)) = &record.record else { panic!("edge {edge}: {record:?}") };
        assert_ne!(seen.state(), level, "edge {edge}");
        assert!(record.sequence > sequence, "numbers rise");
        (sequence, level) = (record.sequence, seen.state());
    }
    // it comes back after a loss of its link and misses nothing
    bench.drive(LineId(24), Some(true));
    let resume = WatchGpioRequest { resume_epoch: first.epoch, resume_sequence: sequence, ..watch(24) };
    let mut again = direct(&cluster, &fleet, 0, "anna").watch_gpio(resume).await.unwrap().into_inner();
    let missed = again.next().await.unwrap().unwrap();
    assert!(matches!(&missed.record, Some(Record::Edge(edge)) if edge.state() == GpioState::High), "{missed:?}");
}

/// The simulated board has the queue of the kernel's first interface: 16 edges, and no word of those that are dropped.
#[tokio::test(flavor = "multi_thread")]
async fn forty_edges_at_once_end_in_a_gap_and_never_in_silence() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &trusting(&["anna"])).await;
    let bench = fleet.nodes[0].2.clone();
    let mut records = direct(&cluster, &fleet, 0, "anna").watch_gpio(watch(24)).await.unwrap().into_inner();
    records.next().await.unwrap().unwrap();
    for edge in 0..40 {
        bench.drive(LineId(24), Some(edge % 2 == 0));
    }
    bench.drive(LineId(24), Some(true));
    let (mut edges, mut gaps) = (0, 0);
    loop {
        match records.next().await.unwrap().unwrap().record {
            Some(Record::Edge(_)) => edges += 1,
            Some(Record::Gap(gap)) => {
                assert_eq!(gap.missed, None, "nobody can know how many");
                gaps += 1;
            }
            Some(Record::Snapshot(snapshot)) if gaps > 0 => {
                assert_eq!(snapshot.state(), GpioState::High, "the level after the gap");
                break;
            }
            other => panic!("{other:?}"),
        }
        if edges == 41 {
            break; // the agent was fast enough to see them all
        }
    }
    println!("{edges} edges, {gaps} gaps");
    assert!(edges == 41 || gaps > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_each_request_in_order() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &trusting(&["anna"])).await;
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    let request = |pin, state: GpioState| GpioRequest { pin: Some(pin), state: state.into(), ..GpioRequest::default() };
    let read = GpioRequest { pin: Some(23), operation: Some(Operation::Read(ReadLine {})), ..GpioRequest::default() };
    let requests = vec![
        request(18, GpioState::High),
        read.clone(),
        request(99, GpioState::High),
        request(18, GpioState::Low),
        read,
    ];
    let answers = anna.stream_gpio(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().outcome.unwrap()).collect().await;
    let state = |at: usize| match &answers[at] {
        Outcome::Response(response) => response.state(),
        Outcome::Refusal(refusal) => panic!("{refusal:?}"),
    };
    assert_eq!(
        [state(0), state(1), state(3), state(4)],
        [GpioState::High, GpioState::High, GpioState::Low, GpioState::Low]
    );
    assert!(matches!(&answers[2], Outcome::Refusal(refusal) if refusal.reason == "UNKNOWN_LINE"), "{:?}", answers[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_on_the_command_line_is_a_line_a_record() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let said = cluster.pictl(&["gpio", "watch", "sim-1", "23", "--count", "1"]).await;
    assert_eq!((said.exit, said.out.as_str()), (Exit::Done, "sim-1 GPIO23 is low\n"), "{}", said.err);
    let said = cluster.pictl(&["gpio", "watch", "sim-1", "23", "--count", "1", "-o", "json"]).await;
    let record: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(record["snapshot"]["state"], "LOW");
    let said = cluster.pictl(&["gpio", "estop", "sim-1"]).await;
    assert_eq!((said.exit, said.out.as_str()), (Exit::Done, "sim-1 released nothing: no line was held\n"));
}
