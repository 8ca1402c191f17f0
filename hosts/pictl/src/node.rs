//! `pictl node`.

use clap::Subcommand;
use proto::fleet::v1::{GetNodeRequest, ListNodesRequest, ListNodesResponse, Node, NodeState};

use crate::call::Caller;
use crate::exclusion;
use crate::exit::{Exit, Failure};
use crate::output::{Output, duration, json, or_dash, table};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// All nodes
    List,
    /// All that is known of one
    Show {
        /// Name of the node
        node: String,
    },
    /// Keep a node out for a time: no call goes to it and it gets no certificate, but it may report
    Lock {
        /// Name of the node
        node: String,
        /// Why, for other people; the node is not told
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a locked node in again
    Unlock {
        /// Name of the node
        node: String,
    },
    /// Keep a node out for good: its certificate is refused, its connections end within a second, and when it hears of it it
    /// makes its outputs safe and ends its commands
    Revoke {
        /// Name of the node
        node: String,
        /// Why, for other people; the node is not told
        #[arg(long, default_value = "")]
        reason: String,
        /// Yes, for good
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(caller: &Caller, command: Command, output: Output) -> Result<String, Failure> {
    match command {
        Command::List => {
            let list = ListNodesResponse { nodes: all(caller).await?, next_page_token: String::new() };
            match output {
                Output::Json => json(&list),
                Output::Table => Ok(list_table(&list.nodes)),
            }
        }
        Command::Show { node } => {
            let request = caller.request(GetNodeRequest { id: node });
            let node = caller.fleet()?.get_node(request).await?.into_inner().node.unwrap_or_default();
            match output {
                Output::Json => json(&node),
                Output::Table => Ok(one_table(&node)),
            }
        }
        Command::Lock { node, reason } => exclusion::lock(caller, &format!("node/{node}"), reason, output).await,
        Command::Unlock { node } => exclusion::unlock(caller, &format!("node/{node}"), output).await,
        Command::Revoke { node, reason: _, yes: false } => Err(Failure::Command(
            Exit::Usage,
            format!(
                "revoking {node} is for good: say so with --yes; to keep it out for a time: pictl node lock {node}"
            ),
        )),
        Command::Revoke { node, reason, yes: true } => {
            exclusion::revoke(caller, &format!("node/{node}"), reason, output).await
        }
    }
}

/// Every node of the fleet.
pub(crate) async fn all(caller: &Caller) -> Result<Vec<Node>, Failure> {
    let mut fleet = caller.fleet()?;
    let (mut nodes, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = caller.request(ListNodesRequest { page_size: 0, page_token });
        let page = fleet.list_nodes(request).await?.into_inner();
        nodes.extend(page.nodes);
        if page.next_page_token.is_empty() {
            return Ok(nodes);
        }
        page_token = page.next_page_token;
    }
}

fn state(node: &Node) -> &'static str {
    if let Some(exclusion) = &node.exclusion {
        return exclusion::word(exclusion);
    }
    match node.state() {
        NodeState::Unspecified | NodeState::Unknown => "unknown",
        NodeState::Ready => "ready",
        NodeState::Suspect => "suspect",
        NodeState::Offline => "offline",
    }
}

fn list_table(nodes: &[Node]) -> String {
    if nodes.is_empty() {
        return "no nodes yet; next: pi-controller token create, then pi-agent join on a Pi".to_owned();
    }
    let row = |node: &Node| {
        let inventory = node.inventory.clone().unwrap_or_default();
        vec![
            node.id.clone(),
            state(node).to_owned(),
            or_dash(node.health.clone()),
            duration(node.last_report_age.as_ref()),
            or_dash(inventory.model),
            or_dash(node.endpoints.first().cloned().unwrap_or_default()),
        ]
    };
    table(&["NODE", "STATE", "HEALTH", "HEARD", "MODEL", "ENDPOINT"], nodes.iter().map(row))
}

fn one_table(node: &Node) -> String {
    let inventory = node.inventory.clone().unwrap_or_default();
    let labels: Vec<String> = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let ram = inventory.ram_bytes.map(|bytes| format!("{} MiB", bytes >> 20)).unwrap_or_default();
    let rows = [
        ("node", node.id.clone()),
        ("state", state(node).to_owned()),
        ("kept out", node.exclusion.as_ref().map(exclusion::sentence).unwrap_or_default()),
        ("denied calls", if node.denied_calls == 0 { String::new() } else { node.denied_calls.to_string() }),
        ("health", node.health.clone()),
        ("last report", duration(node.last_report_age.as_ref())),
        ("endpoints", node.endpoints.join(", ")),
        ("labels", labels.join(", ")),
        ("model", inventory.model),
        ("serial", inventory.serial),
        ("revision", inventory.revision),
        ("architecture", inventory.architecture),
        ("memory", ram),
        ("kernel", inventory.kernel),
        ("system", inventory.os),
        ("lines", format!("{} by {}", inventory.gpio_lines, or_dash(inventory.gpio_backend))),
        ("joined", timestamp(node.registered_at)),
        ("certificate until", timestamp(node.certificate_expires)),
    ];
    table(&[], rows.map(|(name, value)| vec![name.to_owned(), or_dash(value)]))
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn timestamp(at: Option<prost_types::Timestamp>) -> String {
    let at = at.and_then(|at| jiff::Timestamp::from_second(at.seconds).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}
