//! Time and edges for the agent, which knows neither a timer nor a task.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use agent_lib::Event;
use hal_core::Board;

use crate::service::Node;
use crate::watchdog;

/// Does what is due, fetches edges, tells what happened; for ever. What it tells the service manager's watchdog is that
/// all of this still goes on.
pub(crate) async fn drive<B: Board>(node: Arc<Node<B>>) {
    let mut watchdog = watchdog::ticks();
    loop {
        let pause = {
            let mut agent = node.agent();
            let now = agent.board().now();
            agent.handle_timeout(now);
            let next = agent.poll_timeout();
            node.settled(&mut agent, next);
            next.map(|at| at.saturating_since(now))
        };
        let due = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let tick = async {
            match &mut watchdog {
                Some(ticks) => drop(ticks.tick().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tick => watchdog::alive(),
            () = due => {}
            () = node.earlier.notified() => {}
            () = edges(&node) => {}
        }
    }
}

/// Until edges have come in that change when the agent is due.
async fn edges<B: Board>(node: &Node<B>) {
    poll_fn(|cx| {
        let mut agent = node.agent();
        let before = agent.poll_timeout();
        agent.poll_edges(cx);
        node.records.notify_waiters();
        if agent.poll_timeout() == before { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// Says in the log what the agent did of its own accord; answers whether a line is free that was not.
pub(crate) fn tell(event: Event) -> bool {
    match event {
        Event::Expired { line, holder, safe } => {
            tracing::info!(%line, %holder, ?safe, "a lease ran out: the line is safe and free");
            true
        }
        Event::Freed { .. } => true,
        Event::SafeFailed { line, kind } => {
            tracing::error!(%line, ?kind, "a line cannot be made safe; trying again");
            false
        }
        Event::Stolen { line, from, by } => {
            tracing::warn!(%line, %from, %by, "a line was taken from its holder");
            false
        }
        Event::PulseDone { line, missed } if missed > 0 => {
            tracing::warn!(%line, missed, "pulses were missed: the agent came too late");
            false
        }
        Event::PwmMissed { line, missed } => {
            tracing::warn!(%line, missed, "edges of a software PWM were missed: the agent came too late");
            false
        }
        _ => false,
    }
}
