//! F8: what becomes of a line whose holder is cut off. Alone in its file, so that no other test takes its processor.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use hal_core::LineId;
use pi_sim::Fleet;
use proto::agent::v1::OnConflict;
use sim::Level;
use tests::{
    Cluster, Proxy, Sorted, claim, direct, direct_at, eventually, figure, keepalive, seed, size, trusting, write,
};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

const TTL: Duration = Duration::from_secs(2);
const TTL_MS: u32 = 2000;
/// What a lease may last beyond its end.
const SLACK: Duration = Duration::from_millis(100);
/// How far from the end of the lease the median may be.
const MEDIAN: Duration = Duration::from_millis(50);
const NODES: usize = 2;
/// Held for good by somebody else.
const BOBS: u32 = 27;
/// Held by a lease of somebody else, who renews it.
const CAROLS: u32 = 26;

/// The lines whose holders are cut off; not 23: it is wired to 18.
fn lines() -> impl Iterator<Item = u32> {
    (0..CAROLS).filter(|pin| *pin != 23)
}

/// The link of a holder is cut; the line is safe when the lease is over, and nobody else's is touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_link_is_cut_leaves_its_line_safe_in_time() {
    let cuts = size(50, 500);
    let mut random = fastrand::Rng::with_seed(seed());
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(NODES, &trusting(&["anna", "bob", "carol"])).await;
    let mut others = JoinSet::new();
    for node in 0..NODES {
        direct(&cluster, &fleet, node, "bob").control_gpio(claim(BOBS, 0, OnConflict::Unspecified)).await.unwrap();
        let mut carol = direct(&cluster, &fleet, node, "carol");
        carol.control_gpio(claim(CAROLS, TTL_MS, OnConflict::Unspecified)).await.unwrap();
        others.spawn(async move {
            let mut ticks = interval(TTL / 8);
            loop {
                ticks.tick().await;
                carol.control_gpio(keepalive(CAROLS)).await.unwrap();
            }
        });
    }
    let (mut lasted, mut looks) = (Vec::new(), 0);
    while lasted.len() < cuts {
        let batch: Vec<_> = (0..NODES).flat_map(|node| lines().map(move |pin| (node, pin))).collect();
        let batch = &batch[..batch.len().min(cuts - lasted.len())];
        let mut cut = JoinSet::new();
        for (node, pin) in batch {
            let proxy = Proxy::to(fleet.nodes[*node].1).await;
            let anna = direct_at(&cluster, &fleet, *node, "anna", proxy.address);
            cut.spawn(hold_and_lose(anna, proxy, *pin, random.fork()));
        }
        // whoever pulls a cable does not know it: the links stay as they are until the lines are safe
        let _silent = cut.join_all().await;
        let level = |node: usize, pin: u32| fleet.nodes[node].2.level(id(pin));
        eventually(async || batch.iter().all(|(node, pin)| level(*node, *pin) == Level::Low)).await;
        for (node, pin) in batch {
            lasted.push(last_hold(&fleet, *node, *pin));
            for other in [BOBS, CAROLS] {
                assert_eq!(level(*node, other), Level::High, "another's line was touched");
                looks += 1;
            }
        }
    }
    for (_, _, bench) in &fleet.nodes {
        for other in [BOBS, CAROLS] {
            let levels: Vec<_> = bench.history(id(other)).into_iter().map(|(_, level)| level).collect();
            assert_eq!(levels, [Level::Low, Level::High], "it rose when it was claimed, and no more");
        }
    }
    assert!(others.try_join_next().is_none(), "another's lease was lost");
    let lasted = Sorted::new(lasted);
    figure(format!("{cuts} links cut, lease {TTL:?}; from its last renewal to its safe state a line took {lasted}"));
    figure(format!("others' lines untouched: {looks} looks, and their whole history on {NODES} nodes"));
    assert!(lasted.quantile(1.0) <= TTL + SLACK, "too late: {lasted}");
    assert!(lasted.quantile(0.5).abs_diff(TTL) <= MEDIAN, "{lasted}");
    assert!(lasted.quantile(0.0) + MEDIAN >= TTL, "too early: {lasted}");
}

fn id(pin: u32) -> LineId {
    LineId(u16::try_from(pin).unwrap())
}

type Client = proto::agent::v1::node_agent_client::NodeAgentClient<tonic::transport::Channel>;

/// Claims a line, uses it for a while, then is cut off: its connection is closed, or nothing passes any more. Answers
/// what has to be kept for nobody to be told.
async fn hold_and_lose(mut anna: Client, proxy: Proxy, pin: u32, mut random: fastrand::Rng) -> Option<(Client, Proxy)> {
    let granted = anna.control_gpio(claim(pin, TTL_MS, OnConflict::Unspecified)).await.unwrap().into_inner();
    let token = granted.lease.unwrap().token;
    for high in [false, true] {
        sleep(Duration::from_millis(random.u64(0..300))).await;
        anna.control_gpio(write(pin, high, token)).await.unwrap();
    }
    sleep(Duration::from_millis(random.u64(0..300))).await;
    random.bool().then(|| {
        proxy.hold();
        (anna, proxy)
    })
}

/// How long the line was driven after its last renewal, by the board's own clock: the holder's last write drove it high,
/// the end of the lease low.
fn last_hold(fleet: &Fleet, node: usize, pin: u32) -> Duration {
    let history = fleet.nodes[node].2.history(id(pin));
    let [.., (renewed, Level::High), (safe, Level::Low)] = history[..] else { panic!("{history:?}") };
    safe.saturating_since(renewed)
}
