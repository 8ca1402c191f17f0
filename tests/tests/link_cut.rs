//! F8: what becomes of a line whose holder is cut off. Alone in its file, so that no other test takes its processor.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use hal_core::LineId;
use proto::agent::v1::OnConflict;
use sim::Level;
use tests::{Cluster, claim, direct, eventually, trusting};

/// What a lease may last beyond its end.
const SLACK: Duration = Duration::from_millis(100);

/// F8 at a tenth: the link of a holder is cut and nothing is said; the line is safe when the lease is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_link_is_cut_leaves_its_line_safe_in_time() {
    const TTL: Duration = Duration::from_secs(2);
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(2, &trusting(&["anna", "bob"])).await;
    // bob holds a line for good on each node: nobody may touch it
    for node in 0..2 {
        direct(&cluster, &fleet, node, "bob").control_gpio(claim(27, 0, OnConflict::Unspecified)).await.unwrap();
    }
    let mut late = Vec::new();
    for (node, (_, _, bench)) in fleet.nodes.iter().enumerate() {
        // not 23: it is wired to 18
        for pin in (0..27).filter(|pin| *pin != 23) {
            let mut anna = direct(&cluster, &fleet, node, "anna");
            let ms = u32::try_from(TTL.as_millis()).unwrap();
            anna.control_gpio(claim(pin, ms, OnConflict::Unspecified)).await.unwrap();
            let held_at = bench.clock().now();
            drop(anna); // the link is cut
            late.push((node, LineId(u16::try_from(pin).unwrap()), held_at));
        }
    }
    let safe = |node: usize, line| fleet.nodes[node].2.level(line) == Level::Low;
    eventually(async || late.iter().all(|(node, line, _)| safe(*node, *line))).await;
    let mut over: Vec<Duration> = late
        .iter()
        .map(|(node, line, held_at)| {
            let history = fleet.nodes[*node].2.history(*line);
            let (at, level) = *history.last().unwrap();
            assert_eq!(level, Level::Low);
            at.saturating_since(*held_at)
        })
        .collect();
    over.sort_unstable();
    println!(
        "{} links cut: safe after {:?} at the median, {:?} at most",
        over.len(),
        over[over.len() / 2],
        over.last()
    );
    assert!(over.iter().all(|after| *after <= TTL + SLACK), "{:?}", over.last());
    for (_, _, bench) in &fleet.nodes {
        assert_eq!(bench.level(LineId(27)), Level::High, "bob's line was touched");
    }
}
