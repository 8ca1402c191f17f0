//! Whatever ends, lines are left safe: a lease, the process, an agent that stands still.

use std::os::unix::net::UnixDatagram;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use hal_core::LineId;
use hal_core::conformance::kernel::Act;
use proto::agent::v1::OnConflict;
use rustix::process::Signal;
use tests::claim;
use tokio::time::{sleep, timeout};
use tonic::Code;

use tests::kernel::{Agent, SAFE, World, assert_makes_safe, levels, pid, set};

/// A lease runs out: the kernel's line is safe, in time, and a late call does not arm it again.
pub(crate) async fn lease(world: &mut World) {
    const TTL: Duration = Duration::from_millis(300);
    /// A lease may last 100 ms longer; the rest is for an emulated processor.
    const SLACK: Duration = Duration::from_millis(400);
    let agent = world.agent().await;
    world.told();
    agent.call(claim(17, 300, OnConflict::Unspecified)).await.unwrap();
    assert!(world.wire(17));
    // not by the wire: gpio-sim sets the line to its pull as soon as the agent lets go of it
    let mut told = Vec::new();
    let until = Instant::now() + TTL * 10;
    while levels(&told, LineId(17)).len() < 2 && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
        told.extend(world.told());
    }
    assert_eq!(levels(&told, LineId(17)), [true, false]);
    let late = agent.call(set(17, true)).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "{late}");
    let sets: Vec<_> = told.iter().filter(|told| matches!(told.act, Act::Set(_))).collect();
    let lasted = sets[1].at.saturating_since(sets[0].at);
    assert!(TTL <= lasted + Duration::from_millis(20) && lasted <= TTL + SLACK, "{lasted:?}");
    println!("  a lease of {TTL:?} ran out: safe after {lasted:?}");
}

/// Drives every line with a declared safe state the other way.
async fn unsafe_lines(world: &mut World, agent: &Agent) {
    for (LineId(pin), safe) in SAFE {
        agent.set(pin, !safe).await;
        assert_eq!(world.wire(pin), !safe);
    }
}

/// SIGTERM: it ends in time and in good order, and the last that the driver hears of each line is its safe state.
pub(crate) async fn terminated(world: &mut World) {
    let mut agent = world.agent().await;
    unsafe_lines(world, &agent).await;
    world.told();
    agent.signal(Signal::TERM);
    let ended = timeout(Duration::from_secs(5), agent.process.wait()).await;
    assert!(ended.expect("it did not end").unwrap().success());
    let told = world.told();
    for (line, safe) in SAFE {
        assert_eq!(levels(&told, line), [safe], "{line}");
    }
    println!("  SIGTERM: every line is left safe");
}

/// `pi-agent outputs-off` makes safe what has a safe state, and touches nothing else.
pub(crate) async fn outputs_off(world: &mut World) {
    world.told();
    let mut off = world.command("outputs-off").spawn().unwrap();
    let by = pid(&off);
    assert!(off.wait().await.is_ok_and(|ended: ExitStatus| ended.success()));
    assert_makes_safe(&world.told(), by);
    println!("  outputs-off: every line with a safe state is driven to it, no other is touched");
}

/// F9: an agent that stands still is killed by the service manager's watchdog; the next one makes its lines safe before it
/// says that it is ready.
pub(crate) async fn stands_still(world: &mut World) {
    const GRANTED: Duration = Duration::from_secs(1);
    let path = world.file("notify");
    _ = std::fs::remove_file(&path);
    let manager = UnixDatagram::bind(&path).unwrap();
    let start = |world: &World| {
        let mut command = world.command("serve");
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", GRANTED.as_micros().to_string());
        Agent { process: command.spawn().unwrap(), client: world.client() }
    };
    let mut agent = start(world);
    assert!(hears(&manager, "READY=1", Duration::from_secs(20)));
    unsafe_lines(world, &agent).await;
    assert!(hears(&manager, "WATCHDOG=1", Duration::from_secs(20)));
    let since = Instant::now();
    agent.signal(Signal::STOP);
    while hears(&manager, "WATCHDOG=1", GRANTED) {} // as the service manager does
    agent.process.kill().await.unwrap();
    let fired = since.elapsed();
    assert!(fired <= GRANTED * 12 / 10, "{fired:?}");
    world.told();
    let successor = start(world);
    assert!(hears(&manager, "READY=1", Duration::from_secs(20)));
    assert_makes_safe(&world.told(), successor.pid());
    println!("  stands still: killed after {fired:?} of {GRANTED:?} granted; lines safe before the next one is ready");
}

/// Whether this word comes within the time.
fn hears(manager: &UnixDatagram, word: &str, within: Duration) -> bool {
    let until = Instant::now() + within;
    let mut buffer = [0; 256];
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        manager.set_read_timeout(Some(left)).unwrap();
        if manager.recv(&mut buffer).is_ok_and(|length| buffer[..length].starts_with(word.as_bytes())) {
            return true;
        }
    }
    false
}
