//! `pictl top`: the fleet, live.

mod fleet;
mod screen;
mod terminal;

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use proto::agent::v1::SystemMetrics;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;
use tonic::transport::Channel;

use crate::call::Caller;
use crate::exit::Failure;
use crate::node;
use crate::output::{Output, json_line, table};
use fleet::{Fleet, Row, Sort};
use terminal::{Key, Terminal};

/// Calls under way at once, for however many nodes: less than a connection's streams, so that none is refused.
const AT_ONCE: usize = 32;

#[derive(clap::Args)]
#[command(after_help = "Keys: q quits, c m t n sort by processor, memory, temperature, name; arrows scroll.

Examples:
  pictl top
  pictl top --once --output json | jq 'select(.temperature > 70) | .node_id'")]
pub(crate) struct Arguments {
    /// Seconds between two readings
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    interval: u32,
    /// What stands first
    #[arg(long, value_enum, default_value_t = Sort::Name)]
    sort: Sort,
    /// Print one table and end; so it is too where standard output is no terminal
    #[arg(long)]
    once: bool,
}

/// What one round of calls found, one entry a node.
type Round = Vec<(String, Result<SystemMetrics, Status>)>;

pub(crate) async fn run(
    caller: Caller,
    arguments: Arguments,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Arguments { interval, sort, once } = arguments;
    if caller.is_direct() {
        return Err(Failure::Usage("top asks every node through the controller: leave --direct out"));
    }
    let caller = Arc::new(caller);
    if once || output == Output::Json || !std::io::stdout().is_terminal() {
        let mut fleet = Fleet::new(sort);
        fleet.take(round(&caller, &caller.proxy()?).await?);
        return print(&fleet, output, out);
    }
    live(&caller, Duration::from_secs(interval.into()), sort).await
}

/// A line of JSON for each node that answered, or a table of all.
fn print(fleet: &Fleet, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    if output == Output::Json {
        for metrics in fleet.rows().into_iter().filter_map(|row| row.latest.as_ref().ok()) {
            writeln!(out, "{}", json_line(metrics)?)?;
        }
    } else {
        let rows = fleet.rows().into_iter().map(|row| row.cells().to_vec());
        writeln!(out, "{}", table(&Row::HEADER, rows))?;
    }
    Ok(())
}

async fn live(caller: &Arc<Caller>, period: Duration, sort: Sort) -> Result<(), Failure> {
    let stop = startup::stop_signal()?;
    tokio::pin!(stop);
    let client = caller.proxy()?;
    let mut fleet = Fleet::new(sort);
    // asked once before the screen is taken, so that a failure is a line and not a flicker
    fleet.take(round(caller, &client).await?);
    let mut terminal = Terminal::take()?;
    let (found, mut rounds) = mpsc::channel(1);
    let asking = tokio::spawn(ask_for_ever(caller.clone(), client, period, found));
    let ended = loop {
        terminal.draw(&fleet)?;
        tokio::select! {
            () = &mut stop => break Ok(()),
            key = terminal.key() => match key? {
                Key::Quit => break Ok(()),
                Key::Sort(sort) => fleet.sort = sort,
                Key::Scroll(rows) => fleet.scroll(rows),
                Key::Other => {}
            },
            round = rounds.recv() => match round {
                Some(Ok(round)) => fleet.take(round),
                Some(Err(failure)) => fleet.failed(failure.to_string()),
                None => break Err(Failure::Ended),
            },
        }
    };
    asking.abort();
    ended
}

async fn ask_for_ever(
    caller: Arc<Caller>,
    client: NodeAgentClient<Channel>,
    period: Duration,
    found: mpsc::Sender<Result<Round, Failure>>,
) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if found.send(round(&caller, &client).await).await.is_err() {
            return;
        }
    }
}

/// Asks every node of the fleet, a few at once.
async fn round(caller: &Arc<Caller>, client: &NodeAgentClient<Channel>) -> Result<Round, Failure> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut asked = JoinSet::new();
    for node in node::all(caller).await? {
        let (places, mut client) = (places.clone(), client.clone());
        let request = caller.request_to(&node.id, ())?;
        asked.spawn(async move {
            let _place = places.acquire_owned().await; // never closed
            let answer = client.get_system_metrics(request).await;
            (node.id, answer.map(tonic::Response::into_inner))
        });
    }
    Ok(asked.join_all().await)
}
