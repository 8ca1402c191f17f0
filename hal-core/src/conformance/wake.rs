//! Whether a task that waits for an edge is woken.

use super::stand::{Stand, Verdict, declared};
use super::{Harness, Need};

#[cfg(target_has_atomic = "ptr")]
pub(super) fn wakes<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    use super::edges::watched;
    use super::stand::{PAUSE, check, next_edge};
    use crate::{Edges, Line, LineConfig};
    use alloc::sync::Arc;
    use core::sync::atomic::Ordering;
    use core::task::{Context, Waker};

    stand.needs(Need::Edges)?;
    declared(stand.caps().edge_wakeups, "edge wake-ups")?;
    let mut line = watched(stand, LineConfig::input().with_edges(Edges::Both))?;
    let alarm = Arc::new(Alarm::default());
    let pending = line.poll_edge(&mut Context::from_waker(&Waker::from(alarm.clone()))).is_pending();
    check(pending, "an edge waits that nobody made")?;
    stand.settle(PAUSE);
    check(!alarm.0.load(Ordering::SeqCst), "a task was woken without an edge")?;
    stand.drive(true)?;
    check(alarm.0.load(Ordering::SeqCst), "a task that waits was not woken by an edge")?;
    check(next_edge(&mut line)?.is_some(), "a task was woken and found no edge")
}

#[cfg(target_has_atomic = "ptr")]
#[derive(Default)]
struct Alarm(core::sync::atomic::AtomicBool);

#[cfg(target_has_atomic = "ptr")]
impl alloc::task::Wake for Alarm {
    fn wake(self: alloc::sync::Arc<Self>) {
        self.0.store(true, core::sync::atomic::Ordering::SeqCst);
    }
}

/// `alloc::task::Wake` is the only safe way to a waker, and not there without an atomic compare-and-swap.
#[cfg(not(target_has_atomic = "ptr"))]
pub(super) fn wakes<H: Harness>(stand: &mut Stand<'_, H>) -> Verdict {
    stand.needs(Need::Edges)?;
    declared(stand.caps().edge_wakeups, "edge wake-ups")?;
    Err(super::stand::Unmet::NotPossible("this processor has no compare-and-swap to make a waker with".into()))
}
