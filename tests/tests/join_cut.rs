//! F3: the connection is cut while a node joins: before the commit, after it but before the answer, within the answer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use mtls::{Context, Credentials, Expect, JoinToken};
use pi_agent::{JoinError, Joined, join};
use proto::control::v1::control_plane_client::ControlPlaneClient;
use proto::control::v1::{Inventory, NodeRegistration};
use proto::fleet::v1::fleet_client::FleetClient;
use proto::fleet::v1::tokens_client::TokensClient;
use proto::fleet::v1::{CreateTokenRequest, GetNodeRequest, ListNodesRequest, ListTokensRequest};
use tests::{Cluster, Cut, Proxy, eventually, figure, seed, size};
use tonic::transport::Channel;

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    BeforeTheCommit,
    BeforeTheAnswer,
    WithinTheAnswer,
}

/// How many bytes a join takes.
struct Sizes {
    asked: u64,
    answered: u64,
}

struct Trial<'a> {
    cluster: &'a Cluster,
    fleet: FleetClient<Channel>,
    token: JoinToken,
    name: String,
    state: PathBuf,
}

impl Trial<'_> {
    async fn join(&self, address: &str) -> Result<Joined, JoinError> {
        let inventory = Inventory { serial: self.name.clone(), ..Inventory::default() };
        join(&self.token, address, &self.name, inventory, &self.state).await
    }

    async fn is_enrolled(&self) -> bool {
        self.fleet.clone().get_node(GetNodeRequest { id: self.name.clone() }).await.is_ok()
    }

    /// Joins with the connection cut there; whether it joined all the same.
    async fn cut(&self, when: When, sizes: &Sizes, random: &mut fastrand::Rng) -> bool {
        let nearly_all = sizes.asked * 7 / 10;
        let cut = match when {
            When::BeforeTheCommit => Cut { asked: random.u64(1..nearly_all), counted_from: 0, answered: u64::MAX },
            When::BeforeTheAnswer => Cut { asked: u64::MAX, counted_from: nearly_all, answered: 0 },
            When::WithinTheAnswer => {
                Cut { asked: u64::MAX, counted_from: nearly_all, answered: random.u64(1..sizes.answered * 9 / 10) }
            }
        };
        let proxy = Proxy::cutting(self.cluster.address, cut).await;
        let address = proxy.address.to_string();
        let cutting = async {
            if when != When::BeforeTheCommit {
                eventually(async || self.is_enrolled().await).await;
                drop(proxy);
            } else {
                std::future::pending::<()>().await;
            }
        };
        let joining = self.join(&address);
        tokio::pin!(cutting, joining);
        let joined = tokio::select! {
            joined = &mut joining => joined,
            () = &mut cutting => joining.await,
        };
        if when == When::BeforeTheCommit {
            assert!(!self.is_enrolled().await, "cut after {} bytes of {}, and it is enrolled", cut.asked, sizes.asked);
        }
        match joined {
            Ok(_) => true,
            Err(error) => {
                assert!(error.is_passing(), "a cut is not for good: {error:?}");
                false
            }
        }
    }
}

async fn trial<'a>(cluster: &'a Cluster, fleet: &FleetClient<Channel>, number: usize) -> Trial<'a> {
    let (token, _) = cluster.token_with(CreateTokenRequest::default()).await;
    let name = format!("pi-{number}");
    Trial { cluster, fleet: fleet.clone(), token, state: cluster.folder(&name), name }
}

/// What a join takes when nothing is cut.
async fn measure(cluster: &Cluster, fleet: &FleetClient<Channel>) -> Sizes {
    let mut sizes = Sizes { asked: 0, answered: 0 };
    for number in 0..2 {
        let trial = trial(cluster, fleet, number).await;
        let proxy = Proxy::cutting(cluster.address, Cut::counting_from(sizes.asked * 7 / 10)).await;
        trial.join(&proxy.address.to_string()).await.unwrap();
        sizes = Sizes { asked: proxy.asked(), answered: proxy.answered() };
    }
    sizes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_is_cut_is_finished_by_the_next_attempt() {
    let cluster = Cluster::start().await;
    let admin = Context::load(&cluster.admin()).unwrap();
    let channel = admin.dialer().unwrap().channel(&admin.controller, Expect::Controller).unwrap();
    let mut fleet = FleetClient::new(channel.clone());
    let sizes = measure(&cluster, &fleet).await;
    let mut random = fastrand::Rng::with_seed(seed());
    let trials = size(30, 300);
    let (mut lost, mut whole) = (0, 0);
    for number in 2..2 + trials {
        let trial = trial(&cluster, &fleet, number).await;
        let when = [When::BeforeTheCommit, When::BeforeTheAnswer, When::WithinTheAnswer][number % 3];
        match trial.cut(when, &sizes, &mut random).await {
            true => whole += 1,
            false => {
                lost += 1;
                let joined = trial.join(&cluster.address.to_string()).await.unwrap();
                assert_eq!(joined.node, trial.name, "the same id");
            }
        }
        // the certificate is good for a call
        let own = cluster.dialer(&Credentials::load(&trial.state).unwrap());
        let own = own.channel(&cluster.address.to_string(), Expect::Controller).unwrap();
        let said = NodeRegistration::default();
        let answer = ControlPlaneClient::new(own).register_node(said).await.unwrap().into_inner();
        assert_eq!(answer.node_id, trial.name);
    }
    let nodes = fleet.list_nodes(ListNodesRequest::default()).await.unwrap().into_inner().nodes;
    let tokens = TokensClient::new(channel).list_tokens(ListTokensRequest { all: true }).await.unwrap();
    let tokens = tokens.into_inner().tokens;
    let burned = tokens.iter().filter(|token| token.uses == 1 && token.uses_left == 0).count();
    figure(format!(
        "{trials} joins cut ({} bytes asked, {} answered): {lost} tried again, {whole} whole; {} nodes, {burned} tokens used once",
        sizes.asked,
        sizes.answered,
        nodes.len()
    ));
    assert_eq!((nodes.len(), burned, tokens.len()), (trials + 2, trials + 2, trials + 2), "one row and one use each");
    let joins = cluster.audit().iter().filter(|row| row.action == "join").count();
    assert_eq!(joins, trials + 2, "one join each in the audit");
    assert!(lost * 10 >= trials * 9, "nearly every cut was one");
}
