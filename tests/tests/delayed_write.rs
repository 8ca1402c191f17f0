//! F12: a write that is under way while its lease runs out is refused by its token when it arrives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use hal_core::LineId;
use pi_sim::Fleet;
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{GpioRequest, GpioResponse, OnConflict, ReleaseAllLines};
use sim::Level;
use tests::{Cluster, Proxy, claim, direct, direct_at, eventually, figure, reason, size, trusting, write};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Code, Status};

const NODES: usize = 4;
/// Long enough that all leases still run when the writes set out.
const LEASE_MS: u32 = 2000;

/// Not 23: it is wired to 18.
fn lines() -> impl Iterator<Item = u32> {
    (0..28).filter(|pin| *pin != 23)
}

type Client = NodeAgentClient<Channel>;

/// One node: an operator whose link is held up, and who holds the line after the lease.
struct Scene<'a> {
    fleet: &'a Fleet,
    node: usize,
    proxy: Proxy,
    late: Client,
    /// Somebody else, and the same operator by another link: the token alone tells the latter from the former self.
    next: [Client; 2],
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_arrives_after_its_lease_is_refused_by_its_token() {
    let (writes, delay) = size((100, Duration::from_millis(500)), (1000, Duration::from_secs(5)));
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(NODES, &trusting(&["anna", "bob"])).await;
    let mut scenes = Vec::new();
    for node in 0..NODES {
        let proxy = Proxy::to(fleet.nodes[node].1).await;
        let late = direct_at(&cluster, &fleet, node, "anna", proxy.address);
        let next = [direct(&cluster, &fleet, node, "bob"), direct(&cluster, &fleet, node, "anna")];
        scenes.push(Scene { fleet: &fleet, node, proxy, late, next });
    }
    let mut left = writes;
    while left > 0 {
        let shares: Vec<Vec<u32>> = scenes
            .iter()
            .map(|_| {
                let share: Vec<_> = lines().take(left).collect();
                left -= share.len();
                share
            })
            .collect();
        let refused = |scene, lines| Scene::refused(scene, lines, delay);
        let [a, b, c, d] = &mut scenes[..] else { panic!("{NODES} nodes") };
        tokio::join!(refused(a, &shares[0]), refused(b, &shares[1]), refused(c, &shares[2]), refused(d, &shares[3]));
    }
    figure(format!(
        "{writes}/{writes} writes that came {delay:?} after the line had another hold: STALE_TOKEN, line untouched"
    ));
    let through = scenes[0].without_token().await;
    figure(format!("control: without a token {through}/{through} of the same writes get through"));
}

impl Scene<'_> {
    /// Writes to these lines, late; all are refused and none has an effect.
    async fn refused(&mut self, lines: &[u32], delay: Duration) {
        let answers = self.write_late(lines, delay, true).await;
        assert_eq!(answers.len(), lines.len());
        for (pin, answer) in answers {
            let status = answer.expect_err("it was done");
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::FailedPrecondition, "STALE_TOKEN"),
                "{status}"
            );
            assert_eq!(self.level(pin), Level::High, "line {pin} was written");
        }
        self.give_up().await;
    }

    /// The control: the holder's name alone does not stop the write.
    async fn without_token(&mut self) -> usize {
        // of these the same operator is the next holder
        let lines: Vec<_> = lines().filter(|pin| pin % 2 == 1).take(5).collect();
        let answers = self.write_late(&lines, Duration::ZERO, false).await;
        for (pin, answer) in answers {
            answer.unwrap();
            assert_eq!(self.level(pin), Level::Low);
        }
        lines.len()
    }

    /// Claims these lines, drives them high, loses the link, and writes low. When the leases are over others drive the
    /// lines high, and `delay` later the writes arrive.
    async fn write_late(
        &mut self,
        lines: &[u32],
        delay: Duration,
        with_token: bool,
    ) -> Vec<(u32, Result<GpioResponse, Status>)> {
        let leases = each(&self.late, lines.iter().map(|pin| (*pin, claim(*pin, LEASE_MS, OnConflict::Unspecified))));
        let leases = leases.join_all().await;
        self.proxy.hold();
        let writes = leases.into_iter().map(|(pin, answer)| {
            let token = answer.unwrap().lease.unwrap().token;
            let request = write(pin, false, token);
            (pin, GpioRequest { token: request.token.filter(|_| with_token), ..request })
        });
        let mut under_way = each(&self.late, writes);
        eventually(async || lines.iter().all(|pin| self.level(*pin) == Level::Low)).await;
        for (who, next) in self.next.iter().enumerate() {
            let theirs = lines.iter().filter(|pin| **pin as usize % 2 == who);
            let claims = each(next, theirs.map(|pin| (*pin, claim(*pin, 0, OnConflict::Unspecified))));
            claims.join_all().await.into_iter().for_each(|(_, answer)| drop(answer.unwrap()));
        }
        sleep(delay).await;
        assert!(under_way.try_join_next().is_none(), "a write went past the proxy");
        self.proxy.let_go();
        under_way.join_all().await
    }

    fn level(&self, pin: u32) -> Level {
        self.fleet.nodes[self.node].2.level(LineId(u16::try_from(pin).unwrap()))
    }

    async fn give_up(&mut self) {
        let operation = Some(Operation::ReleaseAll(ReleaseAllLines {}));
        self.late.control_gpio(GpioRequest { operation, ..GpioRequest::default() }).await.unwrap();
    }
}

/// All of them at once, by one connection.
fn each(
    client: &Client,
    requests: impl Iterator<Item = (u32, GpioRequest)>,
) -> JoinSet<(u32, Result<GpioResponse, Status>)> {
    let mut calls = JoinSet::new();
    for (pin, request) in requests {
        let mut client = client.clone();
        calls.spawn(async move { (pin, client.control_gpio(request).await.map(tonic::Response::into_inner)) });
    }
    calls
}
