//! Lines, straight at a node.

use std::net::SocketAddr;
use std::time::SystemTime;

use mtls::Expect;
use pi_agent::{Config, Operator, Right, Scope};
use pi_sim::Fleet;
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{
    ClaimLine, GpioRequest, GpioState, KeepaliveLine, LineConfig, LineDirection, OnConflict, SafeState,
};
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::Cluster;

/// A configuration that trusts these operators with lines, without a controller in between.
pub fn trusting(operators: &[&str]) -> Config {
    let operator =
        |name: &&str| Operator { name: (*name).to_owned(), roles: vec![Right::Gpio], scope: Scope::UNLIMITED };
    Config { operators: operators.iter().map(operator).collect(), ..Config::default() }
}

/// A connection of its own, straight to a node.
///
/// # Panics
///
/// If it cannot be set up; it connects at the first call.
pub fn direct(cluster: &Cluster, fleet: &Fleet, node: usize, operator: &str) -> NodeAgentClient<Channel> {
    direct_at(cluster, fleet, node, operator, fleet.nodes[node].1)
}

/// The same by another address of the node, such as a proxy's.
///
/// # Panics
///
/// If it cannot be set up; it connects at the first call.
pub fn direct_at(
    cluster: &Cluster,
    fleet: &Fleet,
    node: usize,
    operator: &str,
    address: SocketAddr,
) -> NodeAgentClient<Channel> {
    let credentials = cluster.credentials(&cluster.issuer(), &format!("operator/{operator}"), SystemTime::now());
    let name = fleet.nodes[node].0.clone();
    let channel = cluster.dialer(&credentials).channel(&address.to_string(), Expect::Node(name)).expect("a channel");
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

/// A write under a fencing token.
pub fn write(pin: u32, high: bool, token: u64) -> GpioRequest {
    let state = if high { GpioState::High } else { GpioState::Low };
    GpioRequest { pin: Some(pin), state: state.into(), token: Some(token), ..GpioRequest::default() }
}

/// A renewal of the caller's lease.
pub fn keepalive(pin: u32) -> GpioRequest {
    let operation = Some(Operation::Keepalive(KeepaliveLine {}));
    GpioRequest { pin: Some(pin), operation, ..GpioRequest::default() }
}

/// Why a status says that it was refused, for programs; empty if it does not.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
