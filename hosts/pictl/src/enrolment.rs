//! `pictl node approve`, `reject` and `label`.

use proto::fleet::v1::enrolment_client::EnrolmentClient;
use proto::fleet::v1::{ApproveNodeRequest, LabelNodeRequest, RejectNodeRequest};

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::{Output, inert, json};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  pictl node label pi-7 room=lab floor=2
  pictl node label pi-7 floor-

Rights can be limited by label, so only an admin assigns them.")]
pub(crate) struct Label {
    /// Name of the node
    node: String,
    /// Labels to assign, or a key and a hyphen to take one away
    #[arg(value_name = "KEY=VALUE | KEY-", required = true, value_parser = change)]
    changes: Vec<Change>,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Set(String, String),
    Remove(String),
}

fn change(text: &str) -> Result<Change, String> {
    match text.strip_suffix('-').filter(|key| !key.is_empty() && !key.contains('=')) {
        Some(key) => Ok(Change::Remove(key.to_owned())),
        None => crate::token::label(text).map(|(key, value)| Change::Set(key, value)),
    }
}

pub(crate) async fn approve(caller: &Caller, node: String, output: Output) -> Result<String, Failure> {
    let mut enrolment = EnrolmentClient::new(caller.channel()?);
    let answer = enrolment.approve_node(caller.request(ApproveNodeRequest { id: node })).await?.into_inner();
    match output {
        Output::Json => json(&answer),
        Output::Table => Ok(format!("{} takes part", answer.node.unwrap_or_default().id)),
    }
}

pub(crate) async fn reject(caller: &Caller, node: String, output: Output) -> Result<String, Failure> {
    let mut enrolment = EnrolmentClient::new(caller.channel()?);
    let answer = enrolment.reject_node(caller.request(RejectNodeRequest { id: node })).await?.into_inner();
    match output {
        Output::Json => json(&answer),
        Output::Table => {
            Ok(format!("{} is turned away; it can join again with a new token", answer.node.unwrap_or_default().id))
        }
    }
}

pub(crate) async fn label(caller: &Caller, label: Label, output: Output) -> Result<String, Failure> {
    let mut request = LabelNodeRequest { id: label.node, ..LabelNodeRequest::default() };
    for change in label.changes {
        match change {
            Change::Set(key, value) => drop(request.set.insert(key, value)),
            Change::Remove(key) => request.remove.push(key),
        }
    }
    let answer = EnrolmentClient::new(caller.channel()?).label_node(caller.request(request)).await?.into_inner();
    match output {
        Output::Json => json(&answer),
        Output::Table => {
            let node = answer.node.unwrap_or_default();
            Ok(inert(&format!("{} has the labels {}", node.id, crate::node::labels(&node.labels))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hyphen_takes_a_label_away() {
        assert_eq!(change("floor-"), Ok(Change::Remove("floor".to_owned())));
        assert_eq!(change("room=lab-"), Ok(Change::Set("room".to_owned(), "lab-".to_owned())));
        assert!(change("-").is_err() && change("room").is_err());
    }
}
