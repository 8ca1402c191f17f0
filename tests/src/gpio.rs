//! Lines, straight at a node.

use std::time::SystemTime;

use mtls::Expect;
use pi_agent::{Config, Operator, Right};
use pi_sim::Fleet;
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{ClaimLine, GpioRequest, GpioState, LineConfig, LineDirection, OnConflict, SafeState};
use tonic::transport::Channel;

use crate::Cluster;

/// A configuration that trusts these operators with lines, without a controller in between.
pub fn trusting(operators: &[&str]) -> Config {
    let operator = |name: &&str| Operator { name: (*name).to_owned(), roles: vec![Right::Gpio] };
    Config { operators: operators.iter().map(operator).collect(), ..Config::default() }
}

/// A connection of its own, straight to a node.
///
/// # Panics
///
/// If it cannot be set up; it connects at the first call.
pub fn direct(cluster: &Cluster, fleet: &Fleet, node: usize, operator: &str) -> NodeAgentClient<Channel> {
    let credentials = cluster.credentials(&cluster.issuer(), &format!("operator/{operator}"), SystemTime::now());
    let (name, address, _) = &fleet.nodes[node];
    let channel =
        cluster.dialer(&credentials).channel(&address.to_string(), Expect::Node(name.clone())).expect("a channel");
    NodeAgentClient::new(channel)
}

/// A claim of an output that starts high; a leased one goes low.
pub fn claim(pin: u32, lease_ms: u32, on_conflict: OnConflict) -> GpioRequest {
    let config = LineConfig {
        direction: LineDirection::Output.into(),
        initial: GpioState::High.into(),
        ..LineConfig::default()
    };
    let safe_state = if lease_ms == 0 { SafeState::Unspecified } else { SafeState::Low };
    let claim =
        ClaimLine { config: Some(config), lease_ms, safe_state: safe_state.into(), on_conflict: on_conflict.into() };
    GpioRequest { pin: Some(pin), operation: Some(Operation::Claim(claim)), ..GpioRequest::default() }
}
