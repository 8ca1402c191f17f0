//! F10: the agent is killed while lines are on; its successor's first act is to make them safe.

use std::time::Duration;

use hal_core::LineId;
use proto::agent::v1::OnConflict;
use rustix::process::Signal;
use tests::claim;
use tokio::time::sleep;

use tests::kernel::{Agent, World, assert_makes_safe, set};

/// How long after its start a successor may take.
const LIMIT: Duration = Duration::from_millis(500);
/// Of so many kills, one is that of a process that stands still.
const STOPPED: u32 = 5;

/// Kills it so many times, each time at another moment of its work.
pub(crate) async fn kills(world: &mut World, times: u32, random: &mut fastrand::Rng) {
    let mut delays = Vec::new();
    let mut agent = world.agent().await;
    for number in 0..times {
        lines_on(world, &agent).await;
        let moment = Duration::from_micros(random.u64(..40_000));
        tokio::select! {
            () = busy(&agent) => {}
            () = sleep(moment) => {}
        }
        if number % STOPPED == 0 {
            agent.signal(Signal::STOP);
        }
        assert!(world.wire(17), "killed while the line is on");
        agent.process.kill().await.unwrap(); // SIGKILL, and waits for its end
        world.told();

        let start = world.now();
        agent = world.agent().await;
        let told = world.told();
        assert_makes_safe(&told, agent.pid());
        let delay = told.last().expect("acts").at.saturating_since(start);
        assert!(delay <= LIMIT, "kill {number}, after {moment:?}: safe {delay:?} after the successor's start");
        delays.push(delay);
    }
    delays.sort_unstable();
    let Some((middle, last)) = delays.get(delays.len() / 2).zip(delays.last()) else { return };
    println!(
        "figure: killed {times} times: the successor's first act was the safe values, {times} of {times}; {middle:?} after its \
         start at the median, {last:?} at most"
    );
}

/// One by a lease, one by a bare write.
async fn lines_on(world: &World, agent: &Agent) {
    agent.call(claim(17, 60_000, OnConflict::Unspecified)).await.unwrap();
    agent.set(18, false).await;
    assert!(world.sim.value(LineId(17)).unwrap());
}

/// Writes another line as fast as it goes, so that the moment may be in the middle of anything.
async fn busy(agent: &Agent) {
    for number in 0_u64.. {
        agent.call(set(22, number % 2 == 0)).await.unwrap();
    }
}
