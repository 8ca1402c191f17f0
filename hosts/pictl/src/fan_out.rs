//! `pictl exec --nodes`: one command on many nodes.

use std::io::Write;

use proto::agent::v1::command_response::Outcome;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::agent::v1::{CommandOutput, CommandRequest, CommandResponse};
use proto::fleet::v1::Node;
use serde_json::json;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::call::Caller;
use crate::exec::sentence;
use crate::exit::{Exit, Failure};
use crate::node;
use crate::output::{Output, table};

/// Runs it on every node that the selector means, so many at once. All connections are one: the controller's.
pub(crate) async fn run(
    caller: &Caller,
    selector: &str,
    parallel: usize,
    command: CommandRequest,
    output: Output,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let wanted = Selector::parse(selector)?;
    let nodes = node::all(caller).await?.into_iter().filter(|node| wanted.means(node)).map(|node| node.id);
    let mut requests = Vec::new();
    for id in nodes {
        let mut request = caller.stream_to(&id, command.clone())?;
        // the command's own time, and then some for the way
        request.set_timeout(caller.timeout() + std::time::Duration::from_secs(4));
        requests.push((id, request));
    }
    if requests.is_empty() {
        return Err(Status::not_found(format!("no node has the labels {selector:?}")).into());
    }
    let client = caller.node("")?;
    let (mut running, mut results) = (JoinSet::new(), Vec::new());
    let mut requests = requests.into_iter();
    loop {
        while running.len() < parallel
            && let Some((id, request)) = requests.next()
        {
            running.spawn(one(client.clone(), id, request));
        }
        match running.join_next().await {
            Some(Ok(result)) => results.push(result),
            Some(Err(_)) => {} // it did not panic: it is ours
            None => break,
        }
    }
    results.sort_by(|a, b| a.node.cmp(&b.node));
    let text = match output {
        Output::Json => serde_json::to_string_pretty(&as_json(&results)).map_err(|e| Failure::Json(e.to_string()))?,
        Output::Table => as_table(&results),
    };
    writeln!(out, "{text}")?;
    Ok(if results.iter().all(|result| result.word() == "ok") { Exit::Done } else { Exit::Failed })
}

struct Done {
    node: String,
    answer: Result<CommandResponse, Failure>,
}

async fn one(mut client: NodeAgentClient<Channel>, node: String, request: Request<CommandRequest>) -> Done {
    let answer = client.execute_command(request).await;
    Done { node, answer: answer.map(tonic::Response::into_inner).map_err(Failure::from) }
}

/// `all`, or labels that a node must have.
#[derive(Debug, PartialEq, Eq)]
struct Selector(Vec<(String, String)>);

impl Selector {
    fn parse(text: &str) -> Result<Self, Failure> {
        if text == "all" {
            return Ok(Self(Vec::new()));
        }
        let labels = text.split(',').map(|part| {
            let (key, value) = part.split_once('=').filter(|(key, _)| !key.is_empty())?;
            Some((key.to_owned(), value.to_owned()))
        });
        let wrong =
            || Status::invalid_argument(format!("{text:?} selects nothing: write all, or label=value,label=value"));
        Ok(Self(labels.collect::<Option<_>>().ok_or_else(wrong)?))
    }

    fn means(&self, node: &Node) -> bool {
        self.0.iter().all(|(key, value)| node.labels.get(key) == Some(value))
    }
}

impl Done {
    fn word(&self) -> &'static str {
        match &self.answer {
            Ok(CommandResponse { outcome: Some(Outcome::Exited(exited)), .. }) if exited.code == 0 => "ok",
            Ok(_) => "failed",
            Err(failure) => match failure.exit() {
                Exit::Unreachable => "unreachable",
                Exit::Denied | Exit::Conflict => "denied",
                _ => "failed",
            },
        }
    }

    fn why(&self) -> String {
        match &self.answer {
            Ok(response) => sentence(response),
            Err(failure) => failure.to_string(),
        }
    }

    /// The last line of what it said: there the result stands, or the complaint.
    fn last_line(&self) -> String {
        let Ok(response) = &self.answer else { return String::new() };
        let line = |output: &Option<CommandOutput>| {
            let bytes = output.as_ref().map(whole).unwrap_or_default();
            String::from_utf8_lossy(&bytes).lines().rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
        };
        let out = line(&response.stdout);
        if out.is_empty() { line(&response.stderr) } else { out }
    }
}

fn whole(output: &CommandOutput) -> Vec<u8> {
    [output.head.as_slice(), &output.tail].concat()
}

fn totals(results: &[Done]) -> [(&'static str, usize); 4] {
    ["ok", "failed", "unreachable", "denied"]
        .map(|word| (word, results.iter().filter(|result| result.word() == word).count()))
}

fn as_table(results: &[Done]) -> String {
    let row = |result: &Done| {
        let why = if result.word() == "ok" { String::new() } else { result.why() };
        let said: Vec<String> = [why, result.last_line()].into_iter().filter(|part| !part.is_empty()).collect();
        vec![result.node.clone(), result.word().to_owned(), said.join(": ")]
    };
    let totals = totals(results).map(|(word, count)| format!("{count} {word}"));
    format!("{}\n{}", table(&["NODE", "RESULT", "SAID"], results.iter().map(row)), totals.join(", "))
}

fn as_json(results: &[Done]) -> serde_json::Value {
    let text = |output: &Option<CommandOutput>| {
        String::from_utf8_lossy(&output.as_ref().map(whole).unwrap_or_default()).into_owned()
    };
    let row = |result: &Done| {
        let response = result.answer.as_ref().ok();
        let code = response.and_then(|response| match &response.outcome {
            Some(Outcome::Exited(exited)) => Some(exited.code),
            _ => None,
        });
        json!({
            "node": result.node,
            "result": result.word(),
            "why": result.why(),
            "exit_code": code,
            "stdout": response.map(|response| text(&response.stdout)),
            "stderr": response.map(|response| text(&response.stderr)),
        })
    };
    let totals: serde_json::Map<String, serde_json::Value> =
        totals(results).into_iter().map(|(word, count)| (word.to_owned(), count.into())).collect();
    json!({ "nodes": results.iter().map(row).collect::<Vec<_>>(), "totals": totals })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_means_all_or_what_has_every_label() {
        let labels = [("room", "lab"), ("rack", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let node = Node { labels: labels.into(), ..Node::default() };
        let means = |text: &str| Selector::parse(text).unwrap().means(&node);
        assert!(means("all") && means("room=lab") && means("rack=2,room=lab"));
        assert!(!means("room=attic") && !means("room=lab,floor=1") && !means("room="));
        for wrong in ["", "room", "=x", "room=lab,"] {
            assert!(Selector::parse(wrong).is_err(), "{wrong}");
        }
    }
}
